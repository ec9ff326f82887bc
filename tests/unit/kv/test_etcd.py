"""What an etcd store does on bad days, with a real etcd; what it does on good ones is in the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kv import etcd
from mimir_rw.kv.etcd import EtcdStore
from mimir_rw.model.errors import Unavailable
from tests.etcd_server import Etcd
from tests.kv_values import ENTRIES, Entries

pytestmark = pytest.mark.e2e


@pytest.fixture
def server() -> Iterator[Etcd]:
    made = Etcd()
    made.start()
    yield made
    made.remove()


@contextlib.asynccontextmanager
async def connected(*addresses: str, **settings) -> AsyncIterator[EtcdStore]:
    given_settings = {"dial_timeout_s": 2, "max_retries": 10} | settings
    store = EtcdStore(endpoints=addresses, rng=seeded_rng(1), **given_settings)
    try:
        yield store
    finally:
        await store.close()


def ask(server: Etcd, path: str, **fields) -> None:
    """A call of etcd's own, past the store."""
    call = urllib.request.Request(f"http://{server.address}/v3/{path}", data=json.dumps(fields).encode())
    with urllib.request.urlopen(call, timeout=10):
        pass


async def test_a_watch_outlives_the_server(server: Etcd) -> None:
    async with connected(server.address) as store:
        kv = store.kv(ENTRIES)
        await kv.cas("key", lambda v: Entries().put("a", 1))
        watch = aiter(kv.watch("key"))
        async with asyncio.timeout(60):
            assert list((await anext(watch)).by_name) == ["a"]
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(0.05)
            server.stop()
            await asyncio.sleep(0.05)
            server.start()
            await kv.cas("key", lambda v: v.put("b", 1))
            assert list((await waiting).by_name) == ["a", "b"]
        await watch.aclose()


async def test_an_address_that_is_dead_is_passed_over(server: Etcd) -> None:
    async with connected("127.0.0.1:1", server.address) as store:
        kv = store.kv(ENTRIES)
        await kv.cas("key", lambda v: Entries().put("a", 1))
        assert await kv.get("key") == Entries().put("a", 1)


async def test_no_server() -> None:
    async with connected("127.0.0.1:1", max_retries=2) as store:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await store.kv(ENTRIES).get("key")


async def test_a_damaged_value_is_said_and_a_watch_waits_for_a_good_one(server: Etcd) -> None:
    async with connected(server.address) as store:
        kv = store.kv(ENTRIES)
        await store.replace("key", 0, b"damaged")
        with pytest.raises(Unavailable, match="damaged"):
            await kv.get("key")
        watch = aiter(kv.watch("key"))
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.05)
        revision = (await store.read("key")).version
        assert await store.replace("key", revision, ENTRIES.encode(Entries().put("a", 1)))
        async with asyncio.timeout(20):
            assert list((await waiting).by_name) == ["a"]
        await watch.aclose()


async def test_large_values(server: Etcd) -> None:
    large = Entries().put("a", 1, "x" * 300_000)
    async with connected(server.address) as store:
        kv = store.kv(ENTRIES)
        watch = aiter(kv.watch("key"))
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.05)
        await kv.cas("key", lambda v: large)
        async with asyncio.timeout(20):
            assert await waiting == large
        await watch.aclose()


async def test_a_user_and_a_token_that_is_forgotten(server: Etcd) -> None:
    ask(server, "auth/user/add", name="root", password="right")
    ask(server, "auth/role/add", name="root")
    ask(server, "auth/user/grant", user="root", role="root")
    ask(server, "auth/enable")
    async with connected(server.address) as store:
        with pytest.raises(Unavailable, match="refuses"):
            await store.kv(ENTRIES).get("key")
    async with connected(server.address, username="root", password="wrong") as store:
        with pytest.raises(Unavailable, match="refuses"):
            await store.kv(ENTRIES).get("key")
    async with connected(server.address, username="root", password="right") as store:
        kv = store.kv(ENTRIES)
        await kv.cas("key", lambda v: Entries().put("a", 1))
        server.stop()
        server.start()
        assert await kv.get("key") == Entries().put("a", 1)


@given(st.binary(max_size=200))
def test_answers_are_decoded_or_refused(data: bytes) -> None:
    with contextlib.suppress(Unavailable):
        etcd._events("key", data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["result", "events", "kv", "type", "value"]), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_events_or_refused(answer: object) -> None:
    with contextlib.suppress(Unavailable):
        for event in etcd._events("key", json.dumps(answer).encode()):
            etcd._bytes(event["kv"], "value")
            etcd._number(event["kv"], "mod_revision")
