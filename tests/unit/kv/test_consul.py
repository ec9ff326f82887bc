"""What a Consul store does on bad days; what it does on good ones is in the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestServer

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kv.consul import ConsulStore
from mimir_rw.model.errors import Unavailable
from tests.consul_server import ConsulServer
from tests.kv_values import ENTRIES, Entries


@contextlib.asynccontextmanager
async def consul(server: ConsulServer, **settings) -> AsyncIterator[ConsulStore]:
    async with TestServer(server.application()) as running:
        given = {"watch_rate": 0, "cas_retry_delay_s": 0.01} | settings
        host = f"{running.host}:{running.port}"
        store = ConsulStore(host=host, clock=SystemClock(), rng=seeded_rng(1), **given)
        try:
            yield store
        finally:
            await store.close()


async def test_a_failing_server_is_asked_again() -> None:
    server = ConsulServer()
    async with consul(server) as store:
        kv = store.kv(ENTRIES)
        await kv.cas("key", lambda v: Entries().put("a", 1))
        server.failing = 2
        assert await kv.get("key") == Entries().put("a", 1)
        server.failing = 3
        with pytest.raises(Unavailable, match="No cluster leader"):
            await kv.get("key")


async def test_a_wrong_token_is_said() -> None:
    async with consul(ConsulServer(token="right"), acl_token="wrong") as store:
        with pytest.raises(Unavailable, match="Permission denied"):
            await store.kv(ENTRIES).get("key")


async def test_a_server_that_is_not_there() -> None:
    store = ConsulStore(host="127.0.0.1:1", clock=SystemClock(), rng=seeded_rng(1))
    with pytest.raises(Unavailable, match="cannot be reached"):
        await store.kv(ENTRIES).get("key")
    await store.close()


async def test_a_lost_race_is_run_again() -> None:
    server = ConsulServer()
    async with consul(server) as store:
        kv = store.kv(ENTRIES)
        seen = []

        def change(value: Entries | None) -> Entries:
            seen.append(value)
            if len(seen) < 3:
                server.put_bytes("key", ENTRIES.encode(Entries().put("other", len(seen))))
            return (value or Entries()).put("mine", 1)

        await kv.cas("key", change)
        assert seen[-1] == Entries().put("other", 2)
        assert sorted((await kv.get("key")).by_name) == ["mine", "other"]


async def test_ten_lost_races_are_enough() -> None:
    server = ConsulServer()
    async with consul(server) as store:

        def change(value: Entries | None) -> Entries:
            server.put_bytes("key", ENTRIES.encode((value or Entries()).put("other", 1)))
            return Entries()

        with pytest.raises(Unavailable, match="others were faster"):
            await store.kv(ENTRIES).cas("key", change)


async def test_a_watch_outlives_errors_damage_and_a_server_that_starts_anew() -> None:
    server = ConsulServer()
    async with consul(server) as store:
        kv = store.kv(ENTRIES)
        server.put_bytes("key", ENTRIES.encode(Entries().put("a", 1)))
        watch = aiter(kv.watch("key"))
        async with asyncio.timeout(20):
            assert list((await anext(watch)).by_name) == ["a"]
            server.failing = 4
            server.put_bytes("key", b"damaged")
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(0.01)
            server.start_anew()
            server.put_bytes("key", ENTRIES.encode(Entries().put("b", 1)))
            assert list((await waiting).by_name) == ["b"]
        await watch.aclose()


async def test_reads_say_how_fresh_they_must_be() -> None:
    for consistent, word in ((True, "consistent"), (False, "stale")):
        server = ConsulServer()
        async with consul(server, consistent_reads=consistent) as store:
            kv = store.kv(ENTRIES)
            await kv.get("key")
            await kv.cas("key", lambda v: Entries())
        assert [("GET", f"/v1/kv/key?{word}="), ("GET", "/v1/kv/key"), ("PUT", "/v1/kv/key?cas=0")] == server.requests


async def test_a_watch_is_paced() -> None:
    server = ConsulServer()
    async with consul(server, watch_rate=1, watch_burst=2) as store:
        server.put_bytes("key", ENTRIES.encode(Entries()))
        watch = aiter(store.kv(ENTRIES).watch("key"))
        await anext(watch)
        for _ in range(2):
            server.put_bytes("key", ENTRIES.encode(Entries()))
        await anext(watch)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.1)
        assert len(server.requests) == 2
        waiting.cancel()
        await asyncio.wait([waiting])
