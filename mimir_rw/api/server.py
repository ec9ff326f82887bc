"""The HTTP server: Hypercorn in our own event loop, on listeners that are bound before anything else starts.

It starts before the components and stops after them (`traffic.py` has the gate between). Stopping: new connections are
refused, idle ones close, requests in flight get `graceful_s` to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import tempfile
from dataclasses import dataclass, field
from typing import Any, cast

from hypercorn.asyncio import serve
from hypercorn.config import Config as HypercornConfig

from mimir_rw.api.application import Application
from mimir_rw.kit.logging import Logger
from mimir_rw.kit.service import Service

_TLS_VERSIONS = {
    "VersionTLS10": ssl.TLSVersion.TLSv1,
    "VersionTLS11": ssl.TLSVersion.TLSv1_1,
    "VersionTLS12": ssl.TLSVersion.TLSv1_2,
    "VersionTLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENT_AUTH = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class ListenError(Exception):
    """A port cannot be listened on, or TLS cannot be set up; the text says which flag to change."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """PEM texts win over files. client_auth is one of Go's names."""

    cert: str = ""
    key: str = field(default="", repr=False)
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_auth: str = ""
    client_ca_file: str = ""
    min_version: str = ""
    cipher_suites: tuple[str, ...] = ()

    @property
    def enabled(self) -> bool:
        return bool((self.cert or self.cert_file) and (self.key or self.key_file))


@dataclass(frozen=True, slots=True)
class ServerSettings:
    address: str = ""
    """"" means all addresses, of both IP versions where the machine has them."""
    port: int = 8080
    tls: TlsSettings = field(default_factory=TlsSettings)
    graceful_s: float = 30.0
    idle_s: float = 120.0
    """How long a connection may wait for its next request: longer than nginx keeps its upstream connections (60 s),
    or nginx would send requests into closing connections."""
    backlog: int = 1024
    request_head_bytes_max: int = 256 * 1024
    """Request line and headers: queries arrive in the query string."""


def bind_listener(settings: ServerSettings) -> socket.socket:
    """A bound socket, not yet listening. Raises ListenError naming the port and its flag."""
    wanted = (settings.address, settings.port)
    try:
        if settings.address == "":
            return _bind_all(settings.port)
        family, _, _, _, where = socket.getaddrinfo(*wanted, type=socket.SOCK_STREAM)[0]
        return _bind(family, where)
    except OSError as error:
        shown = f"{settings.address or '*'}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise ListenError(
                f"port {settings.port} is taken by another process (listening on {shown}); "
                "choose another one with -server.http-listen-port"
            ) from None
        raise ListenError(
            f"cannot listen on {shown}: {error.strerror or error}; "
            "see -server.http-listen-address and -server.http-listen-port"
        ) from None


def _bind_all(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return _bind(socket.AF_INET6, ("::", port), both=True)
    return _bind(socket.AF_INET, ("0.0.0.0", port))


def _bind(family: int, where: Any, *, both: bool = False) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if both:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setblocking(False)
        listener.bind(where)
    except BaseException:
        listener.close()
        raise
    return listener


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """A server context by Mimir's settings. Raises ListenError naming what is wrong."""
    verify = _CLIENT_AUTH.get(settings.client_auth)
    if verify is None:
        raise ListenError(
            f"-server.http-tls-client-auth={settings.client_auth} is not available: a client certificate is either "
            "verified or not asked for (VerifyClientCertIfGiven, RequireAndVerifyClientCert, NoClientCert)"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _TLS_VERSIONS.get(settings.min_version, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["h2", "http/1.1"])
    if settings.cipher_suites:
        _set_ciphers(context, settings.cipher_suites)
    try:
        _load_certificate(context, settings)
        if verify is not ssl.CERT_NONE:
            if not settings.client_ca and not settings.client_ca_file:
                raise ListenError("client certificates are to be verified, but -server.http-tls-ca-path is not set")
            context.load_verify_locations(
                cafile=None if settings.client_ca else settings.client_ca_file, cadata=settings.client_ca or None
            )
    except (OSError, ssl.SSLError) as error:
        raise ListenError(
            f"cannot set up TLS for the HTTP server: {error}; see -server.http-tls-cert-path, "
            "-server.http-tls-key-path and -server.http-tls-ca-path"
        ) from None
    context.verify_mode = verify
    return context


def _load_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if not settings.cert and not settings.key:
        context.load_cert_chain(settings.cert_file, settings.key_file)
        return
    with tempfile.TemporaryDirectory(prefix="mimir-rw-tls-") as private:
        context.load_cert_chain(
            _pem_file(private, "cert", settings.cert, settings.cert_file),
            _pem_file(private, "key", settings.key, settings.key_file),
        )


def _pem_file(directory: str, name: str, pem: str, path: str) -> str:
    """The ssl module reads files only; the directory is this user's alone."""
    if not pem:
        return path
    target = os.path.join(directory, name)
    with open(target, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(pem)
    return target


def _set_ciphers(context: ssl.SSLContext, suites: tuple[str, ...]) -> None:
    """suites are IANA names as in Go; OpenSSL has names of its own for those before TLS 1.3, whose set is fixed."""
    known = {_iana_name(cipher["name"]): cipher["name"] for cipher in ssl.create_default_context().get_ciphers()}
    unknown = [suite for suite in suites if suite not in known and not suite.startswith(("TLS_AES", "TLS_CHACHA20"))]
    if unknown:
        raise ListenError(f"unknown cipher suite {unknown[0]} in -server.tls-cipher-suites")
    chosen = [known[suite] for suite in suites if suite in known and not known[suite].startswith("TLS_")]
    if chosen:
        context.set_ciphers(":".join(chosen))


def _iana_name(openssl_name: str) -> str:
    """ECDHE-RSA-AES128-GCM-SHA256 → TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256."""
    if openssl_name.startswith("TLS_"):
        return openssl_name
    name = openssl_name.replace("AES128", "WITH-AES-128").replace("AES256", "WITH-AES-256")
    name = name.replace("CHACHA20-POLY1305", "WITH-CHACHA20-POLY1305-SHA256")
    if "GCM" not in name and "POLY1305" not in name:
        name = name.replace("AES-128-", "AES-128-CBC-").replace("AES-256-", "AES-256-CBC-")
    return "TLS_" + name.replace("-", "_")


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
