"""A server and a pool of peers in one loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import Service, ServiceState
from mimir_rw.rpc.connection import ConnectionSettings
from mimir_rw.rpc.handshake import Identity
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.peer import ClientTls, PeerSettings
from mimir_rw.rpc.pool import RpcPools
from mimir_rw.rpc.server import RpcServer, ServerSettings

CONNECTION = ConnectionSettings()
SERVER_ID = Identity(cluster="c", instance="server-1", epoch="e1", software="test")
CLIENT_ID = Identity(cluster="c", instance="client-1", epoch="k1", software="test")


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """The service lives during the block."""
    life = asyncio.create_task(service.live())
    assert await service.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING, service.failure
    try:
        yield
    finally:
        service.request_stop()
        await life
        assert service.failure is None, service.failure


class Ends:
    """Makes both ends; what they have in common may be set before."""

    def __init__(self) -> None:
        self.connection = CONNECTION
        self.server_settings = ServerSettings(graceful_s=1.0)
        self.peer_settings = PeerSettings(backoff_min_s=0.01, backoff_max_s=0.05)
        self.server_metrics = Metrics()
        self.client_metrics = Metrics()
        self.server_tls: ssl.SSLContext | None = None
        self.client_tls: ClientTls | None = None

    @asynccontextmanager
    async def server(
        self, register: Callable[[RpcServer], None], *, identity: Identity = SERVER_ID, port: int = 0
    ) -> AsyncIterator[RpcServer]:
        self.server_metrics = Metrics()
        server = RpcServer(
            host="127.0.0.1",
            port=port,
            identity=identity,
            settings=replace(self.server_settings, connection=self.connection),
            metrics=RpcMetrics(self.server_metrics),
            tls=self.server_tls,
        )
        register(server)
        async with running(server):
            yield server

    @asynccontextmanager
    async def pool(self, *, identity: Identity = CLIENT_ID) -> AsyncIterator[RpcPools]:
        self.client_metrics = Metrics()
        pool = RpcPools(
            identity=identity,
            settings=replace(self.peer_settings, connection=self.connection),
            rng=seeded_rng(1),
            metrics=RpcMetrics(self.client_metrics),
            tls=self.client_tls,
        )
        async with running(pool):
            yield pool


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


def value(metrics: Metrics, line: str) -> float:
    """Value of the exposition line that begins with `line`."""
    found = [text for text in metrics.render().decode().splitlines() if text.startswith(line + " ")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0
