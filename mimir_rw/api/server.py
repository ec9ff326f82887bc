"""The HTTP server: Hypercorn in our own event loop, on listeners that are bound before anything else starts.

It starts before the components and stops after them (`traffic.py` has the gate between). Stopping: new connections are
refused, idle ones close, requests in flight get `graceful_s` to end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any, cast

from hypercorn.asyncio import serve
from hypercorn.config import Config as HypercornConfig

from mimir_rw.api.application import Application
from mimir_rw.kit.logging import Logger
from mimir_rw.kit.service import Service
from mimir_rw.kit.tls import TlsSettings

HTTP_ALPN = ("h2", "http/1.1")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    tls: TlsSettings = field(default_factory=TlsSettings)
    graceful_s: float = 30.0
    idle_s: float = 120.0
    """How long a connection may wait for its next request: longer than nginx keeps its upstream connections (60 s),
    or nginx would send requests into closing connections."""
    backlog: int = 1024
    request_head_bytes_max: int = 256 * 1024
    """Request line and headers: queries arrive in the query string."""


class _QuietLogger:
    """Hypercorn's log: only what went wrong in the server itself, in our format."""

    def __init__(self, log: Logger) -> None:
        self._log = log

    async def access(self, *_: object) -> None: ...

    async def debug(self, *_: object) -> None: ...

    async def info(self, *_: object) -> None: ...

    async def warning(self, message: str, *_: object) -> None:
        self._log.warning("http server", detail=message)

    async def error(self, message: str, *_: object) -> None:
        self._log.error("http server", detail=message)

    critical = error

    async def exception(self, message: str, *_: object) -> None:
        self._log.exception("http server", detail=message)


class _Config(HypercornConfig):
    """Hypercorn's settings with a TLS context of ours."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls

    @property
    def ssl_enabled(self) -> bool:
        return self._tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self._tls


class HttpServer(Service):
    """Serves the application while Running. Takes over `listener`."""

    def __init__(
        self,
        *,
        listener: socket.socket,
        settings: ServerSettings,
        tls: ssl.SSLContext | None,
        log: Logger,
    ) -> None:
        super().__init__("server")
        self._application: Application | None = None
        self._listener = listener
        self._settings = settings
        self._log = log
        self._closing = asyncio.Event()
        self._tls = tls
        self._server: asyncio.Task[None] | None = None
        self.port: int = listener.getsockname()[1]

    def serve(self, application: Application) -> None:
        """What to serve; told before the start. The application knows the services, and this is one of them."""
        self._application = application

    async def start_up(self) -> None:
        assert self._application is not None, "nothing to serve"
        # Listening at once, so that whoever waits for /ready can connect; Hypercorn accepts a moment later.
        self._listener.listen(self._settings.backlog)
        self._server = self.tasks.spawn(
            serve(cast("Any", self._application), self._config(), shutdown_trigger=self._closing.wait),
            name="http-server",
        )

    async def shut_down(self) -> None:
        self._closing.set()
        if self._server is not None:
            await asyncio.wait([self._server], timeout=self._settings.graceful_s + 1)

    def _config(self) -> _Config:
        config = _Config(self._tls)
        config.bind = [f"fd://{self._listener.detach()}"]
        config.backlog = self._settings.backlog
        config.keep_alive_timeout = self._settings.idle_s
        config.keep_alive_max_requests = 1 << 62
        config.h11_max_incomplete_size = self._settings.request_head_bytes_max
        config.h2_max_header_list_size = self._settings.request_head_bytes_max
        config.graceful_timeout = self._settings.graceful_s
        config.include_server_header = False
        config._log = cast("Any", _QuietLogger(self._log))
        return config
