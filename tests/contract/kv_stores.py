"""The stores that the suite runs over: each a context manager with two clients of one store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import ServiceState
from mimir_rw.kv.contract import KV
from mimir_rw.kv.memberlist.service import MemberlistService
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memory import MemoryStore
from tests.e2e.processes import free_port
from tests.kv_values import ENTRIES, Entries

Clients = tuple[KV[Entries], KV[Entries]]


@contextlib.asynccontextmanager
async def memory() -> AsyncIterator[Clients]:
    store = MemoryStore()
    yield store.kv(ENTRIES), store.kv(ENTRIES)


@contextlib.asynccontextmanager
async def memberlist(*, inline: bool = False) -> AsyncIterator[Clients]:
    ports = free_port(), free_port()
    services = [
        MemberlistService(
            settings=MemberlistSettings(
                bind_addr=("127.0.0.1",),
                bind_port=port,
                join_members=(f"127.0.0.1:{ports[0]}",),
                gossip_interval_s=0.01,
            ),
            codecs=[ENTRIES],
            clock=SystemClock(),
            rng=seeded_rng(port),
            metrics=Metrics(),
            hostname="host",
            inline=inline,
        )
        for port in ports
    ]
    lives = []
    try:
        for service in services:
            lives.append(asyncio.ensure_future(service.live()))
            assert await service.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING, service.failure
        yield services[0].kv(ENTRIES), services[1].kv(ENTRIES)
    finally:
        for service in services:
            service.request_stop()
        await asyncio.gather(*lives)
    assert [service.failure for service in services] == [None, None]


@contextlib.asynccontextmanager
async def memberlist_on_the_callers_loop() -> AsyncIterator[Clients]:
    async with memberlist(inline=True) as clients:
        yield clients


STORES = [memory, memberlist, memberlist_on_the_callers_loop]
