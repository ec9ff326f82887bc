"""One suite over every key-value store: what `kv/contract.py` promises, whoever keeps the values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mimir_rw.kv.contract import KV
from mimir_rw.kv.prefix import PrefixKV
from tests.contract.kv_stores import STORES
from tests.kv_values import Entries, Entry


@pytest.fixture(params=STORES, ids=lambda make: make.__name__)
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[tuple[KV[Entries], KV[Entries]]]:
    """Two clients of one store, two processes as it were."""
    async with request.param() as clients:
        yield clients


async def seen(kv: KV[Entries], key: str, *names: str) -> Entries:
    """The first value in which exactly `names` are."""
    async with asyncio.timeout(20):
        async for value in kv.watch(key):
            if sorted(value.by_name) == sorted(names):
                return value
    raise AssertionError


def putting(name: str, at_s: int, text: str = ""):
    return lambda value: (value or Entries()).put(name, at_s, text)


async def test_a_key_that_is_not_there(stores) -> None:
    kv, _ = stores
    assert await kv.get("none") is None
    assert await kv.list("") == []
    await kv.delete("none")


async def test_a_change_is_read_by_the_writer_at_once_and_seen_by_others(stores) -> None:
    one, two = stores
    await one.cas("key", putting("a", 1, "first"))
    assert await one.get("key") == Entries({"a": Entry(1, "first")})
    assert await seen(two, "key", "a") == Entries({"a": Entry(1, "first")})


async def test_what_the_change_is_given(stores) -> None:
    kv, _ = stores
    given = []

    def change(value: Entries | None) -> Entries:
        given.append(value)
        return (value or Entries()).put("a", len(given))

    await kv.cas("key", change)
    await kv.cas("key", change)
    assert given == [None, Entries({"a": Entry(1)})]


async def test_none_leaves_the_value(stores) -> None:
    kv, _ = stores
    await kv.cas("key", lambda value: None)
    assert await kv.get("key") is None
    await kv.cas("key", putting("a", 1))
    await kv.cas("key", lambda value: None)
    assert await kv.get("key") == Entries({"a": Entry(1)})


async def test_changes_of_both_are_kept(stores) -> None:
    one, two = stores
    for at_s in range(1, 6):
        await asyncio.gather(one.cas("key", putting("a", at_s)), two.cas("key", putting("b", at_s)))
    for kv in stores:
        value = await seen(kv, "key", "a", "b")
        while value.by_name["a"].at_s < 5 or value.by_name["b"].at_s < 5:
            await asyncio.sleep(0.01)
            value = await kv.get("key")


async def test_many_writers_in_one_process(stores) -> None:
    kv, _ = stores
    await asyncio.gather(*(kv.cas("key", putting(f"w{i}", 1)) for i in range(8)))
    assert sorted((await kv.get("key")).by_name) == [f"w{i}" for i in range(8)]


async def test_an_entry_that_is_removed_is_gone_for_all(stores) -> None:
    one, two = stores
    await one.cas("key", putting("a", 1))
    await one.cas("key", putting("b", 1))
    await seen(two, "key", "a", "b")
    await two.cas("key", lambda value: value.drop("a"))
    assert sorted((await two.get("key")).by_name) == ["b"]
    await seen(one, "key", "b")


async def test_a_change_that_raises_changes_nothing(stores) -> None:
    kv, _ = stores

    def change(value: Entries | None) -> Entries:
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError, match="not now"):
        await kv.cas("key", change)
    assert await kv.get("key") is None


async def test_a_watch_gives_what_is_there_and_then_what_comes(stores) -> None:
    one, two = stores
    await one.cas("key", putting("a", 1))
    await seen(two, "key", "a")
    watched: asyncio.Queue[Entries] = asyncio.Queue()

    async def follow() -> None:
        async for value in two.watch("key"):
            watched.put_nowait(value)

    following = asyncio.ensure_future(follow())
    async with asyncio.timeout(20):
        assert sorted((await watched.get()).by_name) == ["a"]
        await one.cas("key", putting("b", 1))
        while sorted((await watched.get()).by_name) != ["a", "b"]:
            pass
        await one.cas("other", putting("c", 1))
        await one.cas("key", putting("d", 1))
        while sorted((await watched.get()).by_name) != ["a", "b", "d"]:
            pass
    following.cancel()
    await asyncio.wait([following])


async def test_a_watch_of_a_key_that_comes_later(stores) -> None:
    one, two = stores
    waiting = asyncio.ensure_future(seen(two, "key", "a"))
    await asyncio.sleep(0.02)
    await one.cas("key", putting("a", 1))
    assert (await waiting).by_name["a"].at_s == 1


async def test_a_slow_watcher_gets_the_newest(stores) -> None:
    kv, _ = stores
    await kv.cas("key", putting("a", 1))
    watch = aiter(kv.watch("key"))
    assert (await anext(watch)).by_name["a"].at_s == 1
    for at_s in range(2, 10):
        await kv.cas("key", putting("a", at_s))
    async with asyncio.timeout(20):
        while (await anext(watch)).by_name["a"].at_s != 9:
            pass
    await watch.aclose()


async def test_keys_by_prefix(stores) -> None:
    kv, _ = stores
    for key in ("rings/b", "rings/a", "ring", "other"):
        await kv.cas(key, putting("a", 1))
    assert await kv.list("rings/") == ["rings/a", "rings/b"]
    assert await kv.list("") == ["other", "ring", "rings/a", "rings/b"]


async def test_a_deleted_key_is_gone_and_may_come_back(stores) -> None:
    one, _ = stores
    await one.cas("key", putting("a", 1))
    await one.delete("key")
    assert await one.get("key") is None
    assert await one.list("") == []
    await one.cas("key", putting("b", 2))
    assert sorted((await one.get("key")).by_name) == ["b"]


async def test_a_prefix_is_put_before_keys_and_taken_off(stores) -> None:
    kv, _ = stores
    part: KV[Entries] = PrefixKV(kv, "collectors/")
    await part.cas("ring", putting("a", 1))
    assert await kv.list("") == ["collectors/ring"]
    assert await part.list("") == ["ring"]
    assert await part.get("ring") == await kv.get("collectors/ring")
    assert (await seen(part, "ring", "a")).by_name["a"].at_s == 1
    await part.delete("ring")
    assert await kv.list("") == []
