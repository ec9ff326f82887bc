"""One process that can be called, through whichever connection there is to it: an `rpc.transport.RpcPeer`.

                        ┌────────────── lost, not silent ──────────────┐
                        ▼                                              │
    dormant ──use──► trying ──greeted──► connected ──goaway, silent──► failed ──backoff──► trying again
       ▲                └────────────── fails ─────────────────────────▲│                       │
       └──────────────── unused for idle_s ─────────────────────────────┴───────────────────────┘

Callers wait while it is `trying`; they fail at once while it is `failed`, also during its further tries.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from mimir_rw.kit.rng import Rng
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.kit.trace import current_trace
from mimir_rw.model.errors import MimirError, Unavailable
from mimir_rw.rpc.client import ClientConnection
from mimir_rw.rpc.connection import ConnectionSettings
from mimir_rw.rpc.handshake import Identity
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.transport import Message

STABLE_S = 5.0
"""A connection that lived shorter than this counts as one more failure."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """server_name: the name in the certificate when it is not the address."""

    context: ssl.SSLContext
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """idle_s: a connection without any call for that long is closed."""

    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    backoff_min_s: float = 0.1
    backoff_max_s: float = 1.0
    idle_s: float = 300.0


def backoff_s(failures: int, settings: PeerSettings, rng: Rng) -> float:
    """Pause after so many failures in a row: doubles up to the bound, the upper half of it by chance."""
    full = min(settings.backoff_max_s, settings.backoff_min_s * 2.0 ** min(failures, 32))
    return full * (0.5 + rng.random() / 2)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`. Raises Unavailable when it is neither."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Unavailable(f"{address!r} is not an address of a process: host:port is wanted")
    return host.removeprefix("[").removesuffix("]"), int(port)


class ReconnectingPeer:
    def __init__(
        self,
        address: str,
        *,
        identity: Identity,
        settings: PeerSettings,
        tasks: TaskSupervisor,
        rng: Rng,
        metrics: RpcMetrics,
        tls: ClientTls | None = None,
    ) -> None:
        self._address = address
        self._identity, self._settings, self._tls = identity, settings, tls
        self._tasks, self._rng, self._metrics = tasks, rng, metrics
        self._connection: ClientConnection | None = None
        self._failure: str | None = None
        """Why the last try failed; None unless it did."""
        self._tried = asyncio.Event()
        """Set when the try under way has ended, either way."""
        self._keeper: asyncio.Task[None] | None = None
        self._used_s = 0.0
        self._epoch = ""
        self._protocol = 0

    @property
    def address(self) -> str:
        return self._address

    @property
    def healthy(self) -> bool:
        """See `RpcPeer`."""
        return self._failure is None and (self._connection is None or not self._connection.ended.done())

    @property
    def protocol(self) -> int:
        """See `RpcPeer`."""
        return self._protocol

    @property
    def epoch(self) -> str:
        """See `RpcPeer`. Of the last connection, until there is another."""
        return self._epoch

    @property
    def dormant(self) -> bool:
        """Not connected and not trying to be."""
        return self._keeper is None

    async def connect(self) -> None:
        """See `RpcPeer`. Fails at once while the last attempt failed."""
        self._used_s = asyncio.get_running_loop().time()
        while self._connection is None:
            if self._failure is not None:
                raise Unavailable(self._failure)
            if self._keeper is None:
                self._tried.clear()
                self._keeper = self._tasks.spawn(self._keep(), name=f"rpc to {self._address}", traced=False)
            await self._tried.wait()

    async def call(
        self,
        method: str,
        message: Message,
        *,
        tenant: str = "",
        timeout_s: float,
        protocol_min: int = 1,
    ) -> Message:
        """See `RpcPeer`."""
        if timeout_s <= 0:
            raise Unavailable(f"no time is left for {method} on {self._address}")
        connection = self._connection
        if connection is None:
            connection, timeout_s = await self._connected(timeout_s)
        self._used_s = asyncio.get_running_loop().time()
        return await connection.call(
            method, message, tenant=tenant, trace_id=current_trace(), timeout_s=timeout_s, protocol_min=protocol_min
        )

    async def stream(
        self,
        method: str,
        message: Message,
        *,
        tenant: str = "",
        timeout_s: float,
        protocol_min: int = 1,
    ) -> AsyncIterator[Message]:
        """See `RpcPeer`."""
        connection = self._connection
        if connection is None:
            connection, timeout_s = await self._connected(timeout_s)
        stream = await connection.open_stream(
            method, message, tenant=tenant, trace_id=current_trace(), timeout_s=timeout_s, protocol_min=protocol_min
        )
        try:
            while (item := await stream.next()) is not None:
                yield item
        finally:
            stream.leave()
            self._used_s = asyncio.get_running_loop().time()

    def close(self) -> None:
        """Close the connection, failing what goes on; a later call opens it again."""
        if self._keeper is not None:
            self._keeper.cancel()
        if self._connection is not None:
            self._connection.abort("closed on this side")
            self._connection = None
        self._tried.clear()

    async def _connected(self, timeout_s: float) -> tuple[ClientConnection, float]:
        """A connection, and what is left of the timeout (0: none)."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        try:
            async with asyncio.timeout(timeout_s or None):
                await self.connect()
        except TimeoutError:
            raise Unavailable(f"{self._address} was not connected within {timeout_s:g} s") from None
        assert self._connection is not None
        return self._connection, max(timeout_s - (loop.time() - start_s), 0.001) if timeout_s else 0.0

    # -- the task that keeps the connection -------------------------------------------------------------------------

    async def _keep(self) -> None:
        try:
            failures = 0
            while True:
                failures = await self._try(failures)
                if failures:
                    await asyncio.sleep(backoff_s(failures - 1, self._settings, self._rng))
                if self._unused():
                    return
        finally:
            self._connection, self._failure, self._keeper = None, None, None
            self._tried.set()

    async def _try(self, failures: int) -> int:
        """Connect and stay so. The number of failures in a row that this makes; 0: another try may follow at once."""
        loop = asyncio.get_running_loop()
        try:
            connection = await self._dial()
        except MimirError as error:
            self._metrics.client.handshake_failed("unreachable")
            self._fail(str(error))
            return failures + 1
        since_s = loop.time()
        assert connection.agreement is not None
        self._protocol, self._epoch = connection.agreement.protocol, connection.agreement.epoch
        self._connection, self._failure = connection, None
        self._tried.set()
        try:
            while not connection.ended.done():
                await asyncio.wait((connection.ended,), timeout=self._settings.idle_s)
                if not connection.ended.done() and not connection.busy and self._unused():
                    connection.close()
                    return 0
        except asyncio.CancelledError:
            connection.abort("closed on this side")
            raise
        self._connection = None
        self._tried.clear()
        if loop.time() - since_s >= STABLE_S and not (connection.silent or connection.leaving):
            return 0
        self._fail(connection.ended.result())
        return 1 if loop.time() - since_s >= STABLE_S else failures + 1

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self._tried.set()

    def _unused(self) -> bool:
        return asyncio.get_running_loop().time() - self._used_s >= self._settings.idle_s

    async def _dial(self) -> ClientConnection:
        """A connection that has been greeted. Raises Unavailable."""
        host, port = split_address(self._address)
        loop = asyncio.get_running_loop()
        settings = self._settings.connection
        made = ClientConnection(
            address=self._address, identity=self._identity, settings=settings, traffic=self._metrics.client
        )
        context = self._tls.context if self._tls is not None else None
        server_name = self._tls.server_name or host if self._tls is not None else None
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                await loop.create_connection(lambda: made, host, port, ssl=context, server_hostname=server_name)
                await made.greeted
        except TimeoutError:
            made.abort("closed on this side")
            raise Unavailable(f"{self._address} did not answer within {settings.connect_timeout_s:g} s") from None
        except (OSError, ValueError) as error:
            made.abort("closed on this side")
            raise Unavailable(f"cannot connect to {self._address}: {error}") from error
        except asyncio.CancelledError:
            made.abort("closed on this side")
            raise
        return made
