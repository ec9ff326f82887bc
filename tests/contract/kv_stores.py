"""The stores that the suite runs over: each a context manager with two clients of one store."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from aiohttp.test_utils import TestServer

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import ServiceState
from mimir_rw.kv.consul import ConsulStore
from mimir_rw.kv.contract import KV
from mimir_rw.kv.etcd import EtcdStore
from mimir_rw.kv.http_store import HttpStore
from mimir_rw.kv.memberlist.service import MemberlistService
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memory import MemoryStore
from mimir_rw.kv.multi import MultiKV, MultiMetrics, MultiRoles, Roles
from mimir_rw.kv.prefix import PrefixKV
from tests.consul_server import ConsulServer
from tests.e2e.processes import free_port
from tests.etcd_server import start_etcd
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


@contextlib.asynccontextmanager
async def serving(*stores: HttpStore) -> AsyncIterator[None]:
    """Close the stores' connections in the end."""
    try:
        yield
    finally:
        for store in stores:
            await store.close()


@contextlib.asynccontextmanager
async def etcd() -> AsyncIterator[Clients]:
    address = start_etcd()
    stores = [EtcdStore(endpoints=[address], dial_timeout_s=5, max_retries=10, rng=seeded_rng(i)) for i in range(2)]
    prefix = f"{next(_NUMBERS)}/"
    async with serving(*stores):
        one, two = (PrefixKV(store.kv(ENTRIES), prefix) for store in stores)
        yield one, two


@contextlib.asynccontextmanager
async def consul() -> AsyncIterator[Clients]:
    server = ConsulServer(token="secret")
    async with TestServer(server.application()) as running:
        stores = [
            ConsulStore(
                host=f"{running.host}:{running.port}", clock=SystemClock(), rng=seeded_rng(i), acl_token="secret",
                watch_rate=0, cas_retry_delay_s=0.1,
            )
            for i in range(2)
        ]  # fmt: skip
        async with serving(*stores):
            yield stores[0].kv(ENTRIES), stores[1].kv(ENTRIES)


@contextlib.asynccontextmanager
async def multi() -> AsyncIterator[Clients]:
    old, new = MemoryStore(), MemoryStore()
    clients = [
        MultiKV(
            {"old": old.kv(ENTRIES), "new": new.kv(ENTRIES)},
            MultiRoles(
                "rings",
                ("old", "new"),
                Roles("old", mirroring=True),
                mirror_timeout_s=1,
                metrics=MultiMetrics(Metrics()),
            ),
        )
        for _ in range(2)
    ]
    yield clients[0], clients[1]


STORES = [memory, memberlist, memberlist_on_the_callers_loop, etcd, consul, multi]
_NUMBERS = itertools.count()
