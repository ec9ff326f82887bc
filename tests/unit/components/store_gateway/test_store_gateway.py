"""The store-gateway over blocks in memory."""

import asyncio

import pytest

from mimir_rw._native import decode_series_set
from mimir_rw.config.limits import TenantLimits
from mimir_rw.formats.bucket_index import IndexedMark
from mimir_rw.kit.clock import SystemClock
from mimir_rw.model.errors import BadRequest, LimitExceeded, Unavailable
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.rpc.contracts.hand_over import BlocksAsked
from mimir_rw.rpc.contracts.store_gateway import BlockEnd, BlockPart
from tests.store_gateway import (
    HOUR,
    MINUTE,
    TENANT,
    Gateway,
    decoded,
    flip,
    gateways_ring,
    matcher,
    put_block,
    put_index,
    ulid,
)

ALL = (-(1 << 62), 1 << 62)


def rows(*, start=0, series=40, samples=300):
    return {
        f'up{{instance="{n:03}", job="{"ab"[n % 2]}"}}': [(start + t * MINUTE, float(n * t)) for t in range(samples)]
        for n in range(series)
    }


@pytest.fixture
def bucket():
    return MemoryBucket(clock=SystemClock())


@pytest.fixture
async def gateway(bucket, tmp_path):
    async with Gateway(bucket, tmp_path) as service:
        yield service


async def select(gateway, numbers, *matchers, mint=ALL[0], maxt=ALL[1]):
    """Rows by block number; a reason for those that are not served."""
    parts, ends = {ulid(n): [] for n in numbers}, {}
    async for item in gateway.select(TENANT, list(parts), [matcher(m) for m in matchers], mint, maxt):
        if isinstance(item, BlockPart):
            assert item.block not in ends
            parts[item.block].append(bytes(item.data))
        else:
            ends[item.block] = item
    assert set(ends) == set(parts)
    return {
        n: decoded(decode_series_set(parts[ulid(n)])) if ends[ulid(n)].served else ends[ulid(n)].reason for n in numbers
    }


async def test_a_block_is_answered_whole(bucket, gateway):
    data = rows()
    await put_block(bucket, 1, data)
    assert await select(gateway, [1], "__name__=up") == {1: data}
    assert await select(gateway, [1], "__name__=up") == {1: data}, "from the caches"


@pytest.mark.parametrize(
    ("matchers", "wanted"),
    [
        (["job=a"], lambda series: 'job="a"' in series),
        (["job!=a"], lambda series: 'job="a"' not in series),
        (["job=~a|b", "instance=~00[0-5]"], lambda series: series[13:16] in ("000", "001", "002", "003", "004", "005")),
        (["instance!~0[0-3].", "__name__=up"], lambda series: False),
        (["none="], lambda series: True),
        (["none!="], lambda series: False),
        (["job=c"], lambda series: False),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)
async def test_matchers(bucket, gateway, matchers, wanted):
    data = rows(samples=3)
    await put_block(bucket, 1, data)
    assert await select(gateway, [1], *matchers) == {1: {key: value for key, value in data.items() if wanted(key)}}


async def test_only_chunks_of_the_range_are_read(bucket, gateway):
    data = rows(samples=1000, series=2)
    await put_block(bucket, 1, data)
    found = await select(gateway, [1], "__name__=up", mint=400 * MINUTE, maxt=410 * MINUTE)
    for series, samples in found[1].items():
        assert 11 <= len(samples) <= 240
        assert {t for t, _ in samples} >= {t * MINUTE for t in range(400, 411)}
        assert set(samples) <= set(data[series])
    assert await select(gateway, [1], "__name__=up", mint=2000 * MINUTE) == {1: {}}


async def test_several_blocks_and_segments(bucket, gateway):
    data = {n: rows(start=n * 300 * MINUTE, series=5 + n) for n in range(5)}
    for n, each in data.items():
        await put_block(bucket, n, each, segment_bytes=2000)
    assert len([key for key in bucket.objects if "/chunks/" in key]) > 5
    assert await select(gateway, list(data), "__name__=up") == data


async def test_a_block_that_is_not_there_is_said_to_be_missing(bucket, gateway):
    await put_block(bucket, 1, rows(series=1))
    found = await select(gateway, [1, 2], "__name__=up")
    assert len(found[1]) == 1
    assert "does not exist" in found[2]


async def test_no_block_and_no_regex(bucket, gateway):
    await put_block(bucket, 1, rows(series=1))
    with pytest.raises(BadRequest, match="is no block"):
        await anext(gateway.select(TENANT, ["../../etc"], [], *ALL))
    with pytest.raises(BadRequest):
        await select(gateway, [1], "job=~(")


async def test_labels_names_and_values(bucket, gateway):
    await put_block(bucket, 1, {'up{job="a"}': [(0, 1.0)], 'down{job="b"}': [(0, 1.0)]})
    await put_block(bucket, 2, {'up{job="c", zone="z"}': [(HOUR, 1.0)], 'up{job="a"}': [(HOUR, 1.0)]})
    both = [ulid(1), ulid(2)]
    found = await gateway.series(TENANT, both, [[matcher("__name__=up")], [matcher("job=b")]], *ALL)
    assert [found.labels.format_row(row) for row in range(len(found.labels))] == [
        'down{job="b"}', 'up{job="a"}', 'up{job="c", zone="z"}',
    ]  # fmt: skip
    assert sorted(found.blocks) == both
    assert (await gateway.label_names(TENANT, both, [], *ALL)).names == ["__name__", "job", "zone"]
    assert (await gateway.label_names(TENANT, both, [matcher("job=a")], *ALL)).names == ["__name__", "job"]
    assert (await gateway.label_values(TENANT, "job", both, [], *ALL)).names == ["a", "b", "c"]
    assert (await gateway.label_values(TENANT, "job", both, [matcher("__name__=up")], *ALL)).names == ["a", "c"]
    assert (await gateway.label_values(TENANT, "job", both, [matcher("__name__=up")], 0, 5)).names == ["a"]
    assert (await gateway.label_values(TENANT, "none", both, [matcher("__name__=up")], *ALL)).names == []
    missing = await gateway.label_values(TENANT, "job", [*both, ulid(3)], [], *ALL)
    assert sorted(missing.blocks) == both


@pytest.mark.parametrize(
    ("limits", "error_id"),
    [
        (TenantLimits(max_fetched_series_per_query=10), "max-series-per-query"),
        (TenantLimits(max_fetched_chunk_bytes_per_query=500), "max-chunks-bytes-per-query"),
        (
            TenantLimits(max_estimated_memory_consumption_per_query=500),
            "max-estimated-memory-consumption-per-query",
        ),
    ],
    ids=["series", "bytes", "memory"],
)
async def test_limits_end_a_query(bucket, tmp_path, limits, error_id):
    await put_block(bucket, 1, rows(series=11))
    async with Gateway(bucket, tmp_path, limits=limits) as gateway:
        with pytest.raises(LimitExceeded) as raised:
            await select(gateway, [1], "__name__=up")
        assert raised.value.error_id == error_id


async def test_a_limit_of_series_counts_those_of_one_block(bucket, tmp_path):
    for n in range(3):
        await put_block(bucket, n, rows(series=10))
    async with Gateway(bucket, tmp_path, limits=TenantLimits(max_fetched_series_per_query=10)) as gateway:
        assert len((await select(gateway, [0, 1, 2], "__name__=up"))[2]) == 10


async def test_who_leaves_ends_what_goes_on(bucket, gateway):
    """What has been asked for until then is bounded by the queue."""
    await put_block(bucket, 1, rows(series=400, samples=200))
    reads = []
    whole = bucket.get_range

    async def counted(key, offset, length):
        reads.append(key)
        await asyncio.sleep(0)
        return await whole(key, offset, length)

    bucket.get_range = counted
    before = len(asyncio.all_tasks())
    items = gateway.select(TENANT, [ulid(1)], [matcher("__name__=up")], *ALL)
    assert isinstance(await anext(items), BlockPart)
    await items.aclose()
    count = len(reads)
    await asyncio.sleep(0.01)
    assert len(reads) == count
    assert len(asyncio.all_tasks()) == before


async def test_damaged_indexes_are_set_aside_and_named_and_others_served(bucket, gateway):
    good, bad = rows(series=3), rows(series=3)
    await put_block(bucket, 1, good)
    await put_block(bucket, 2, bad)
    index = f"{TENANT}/{ulid(2)}/index"
    flip(bucket, index, 20)  # in the symbols
    found = await select(gateway, [1, 2], "__name__=up")
    assert found[1] == good
    assert ulid(2) in found[2]
    assert [block for block, _ in gateway.damaged(TENANT)] == [ulid(2)]
    flip(bucket, index, 20)
    assert isinstance((await select(gateway, [2], "__name__=up"))[2], str), "it is left alone for a while"
    gateway._aside._damaged.clear()
    assert await select(gateway, [2], "__name__=up") == {2: bad}


async def test_every_byte_of_an_index_that_flips_is_found_or_does_not_matter(bucket, tmp_path):
    data = rows(series=3, samples=2)
    await put_block(bucket, 1, data)
    index = f"{TENANT}/{ulid(1)}/index"
    outcomes = set()
    for at in range(len(bucket.objects[index][0])):
        flip(bucket, index, at)
        async with Gateway(bucket, tmp_path / str(at), batch=100) as gateway:
            found = (await select(gateway, [1], "job=~a|b"))[1]
            assert found == data or ulid(1) in found
            outcomes.add(isinstance(found, str))
        flip(bucket, index, at)
    assert outcomes == {True, False}


async def test_a_damaged_chunk_is_named_and_the_others_served(bucket, gateway):
    data = rows(series=4, samples=50)
    await put_block(bucket, 1, data)
    flip(bucket, f"{TENANT}/{ulid(1)}/chunks/000001", 40)
    assert "checksum" in (await select(gateway, [1], "__name__=up"))[1]
    assert [block for block, _ in gateway.damaged(TENANT)] == [ulid(1)]
    assert await select(gateway, [1], "instance=003") == {
        1: {key: value for key, value in data.items() if "003" in key}
    }


async def test_a_cache_that_spoils_what_it_has_does_not_matter(bucket, tmp_path):
    data = rows(series=4, samples=50)
    await put_block(bucket, 1, data)
    made = Gateway(bucket, tmp_path)
    async with made as gateway:
        assert await select(gateway, [1], "__name__=up") == {1: data}
        for reader in (gateway._reader._indexes, gateway._reader._segments):
            items = reader._cache._items
            for key, (value, until_s) in list(items.items()):
                items[key] = (bytes(len(value)), until_s)
        assert await select(gateway, [1], "__name__=up") == {1: data}
        assert gateway.damaged(TENANT) == ()


async def test_headers_are_kept_over_a_restart_and_made_anew_when_damaged(bucket, tmp_path):
    data = rows(series=3, samples=3)
    await put_index(bucket, await put_block(bucket, 1, data))
    path = tmp_path / TENANT / ulid(1) / "index-header"
    built = []
    for spoil in (None, None, b"nonsense", b""):
        if spoil is not None:
            path.write_bytes(spoil)
        made = Gateway(bucket, tmp_path)
        async with made as gateway:
            assert await select(gateway, [1], "__name__=up") == {1: data}
            built.append(made.headers._metrics.built.value)
    assert built == [1, 0, 1, 1]


async def test_headers_are_made_once_for_all_who_ask(bucket, tmp_path):
    await put_block(bucket, 1, rows(series=3, samples=3))
    made = Gateway(bucket, tmp_path)
    async with made as gateway:
        await asyncio.gather(*(select(gateway, [1], "__name__=up") for _ in range(4)))
        assert made.headers._metrics.built.value == 1
        assert made.headers._metrics.loads.value == 1


async def test_idle_headers_are_let_go_of(bucket, tmp_path):
    class Clock(SystemClock):
        ahead_s = 0.0

        def monotonic(self):
            return super().monotonic() + Clock.ahead_s

    await put_block(bucket, 1, rows(series=3, samples=3))
    made = Gateway(bucket, tmp_path, clock=Clock())
    async with made as gateway:
        await select(gateway, [1], "__name__=up")
        made.headers.close_idle()
        assert made.headers.in_use((TENANT, ulid(1)))
        Clock.ahead_s = 3601
        made.headers.close_idle()
        assert not made.headers.in_use((TENANT, ulid(1)))
        assert len((await select(gateway, [1], "__name__=up"))[1]) == 3
        assert made.headers._metrics.built.value == 1


async def until(holds):
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it does not come")


async def test_what_is_its_own_is_at_hand_and_others_are_let_go_of(bucket, tmp_path):
    blocks = [await put_block(bucket, n, rows(series=1, samples=1)) for n in range(12)]
    await put_index(bucket, *blocks)
    view = gateways_ring("a", "b", factor=1)
    first, second = Gateway(bucket, tmp_path / "a", view=view), Gateway(bucket, tmp_path / "b", id="b", view=view)
    async with first as a, second as b:
        await until(lambda: a.readiness() is None and b.readiness() is None)
        own = {name: (await each.served(TENANT)).blocks for name, each in (("a", a), ("b", b))}
        assert sorted(own["a"] + own["b"]) == [block.ulid for block in blocks]
        assert own["a"]
        assert own["b"]
        await until(lambda: {path.name for path in (tmp_path / "a" / TENANT).glob("*")} == set(own["a"]))
        other = blocks.index(next(block for block in blocks if block.ulid in own["b"]))
        assert len((await select(a, [other], "__name__=up"))[other]) == 1, "it answers for others' blocks too"
        first.headers._open.clear()
        await a.blocks.make_headers()
        assert {path.name for path in (tmp_path / "a" / TENANT).glob("*")} == set(own["a"])


async def test_young_and_dead_blocks_are_not_kept_at_hand_but_answered(bucket, tmp_path):
    now = SystemClock().now_ms()
    old = await put_block(bucket, 1, rows(start=now - 20 * HOUR, series=1, samples=1))
    young = await put_block(bucket, 2, rows(start=now - HOUR, series=1, samples=1))
    dead = await put_block(bucket, 3, rows(start=now - 20 * HOUR, series=1, samples=1))
    marked = await put_block(bucket, 4, rows(start=now - 20 * HOUR, series=1, samples=1))
    marks = [IndexedMark(dead.ulid, now // 1000 - 7200), IndexedMark(marked.ulid, now // 1000 - 60)]
    await put_index(bucket, old, young, dead, marked, updated_at_s=77, marks=marks)
    handed = []
    made = Gateway(bucket, tmp_path, ignore_within_ms=10 * HOUR, handed_over=lambda tenant: handed)
    async with made as gateway:
        served = await gateway.served(TENANT)
        assert (served.index_updated_at_s, served.blocks) == (77, (old.ulid, marked.ulid))
        assert len((await select(gateway, [2], "__name__=up"))[2]) == 1
        handed.append(StoredRange(TENANT, now - 2 * HOUR, now, 77))
        assert young.ulid in (await gateway.served(TENANT)).blocks
        asked = BlocksAsked(handed[0], (old.ulid, young.ulid, dead.ulid, ulid(9)))
        (answer,) = await gateway.load_blocks([asked])
        assert answer.index_version == 77
        assert answer.served == (old.ulid, young.ulid)
        assert answer.gone == (dead.ulid, ulid(9))


async def test_it_is_not_ready_while_the_bucket_cannot_be_read(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr("mimir_rw.components.store_gateway.service.RETRY_S", 0.001)
    whole, failing = bucket.list_dirs, [True]

    async def list_dirs(prefix=""):
        if failing:
            raise Unavailable("gone")
        return await whole(prefix)

    bucket.list_dirs = list_dirs
    async with Gateway(bucket, tmp_path) as gateway:
        await until(lambda: "the bucket cannot be read: gone" in (gateway.readiness() or ""))
        failing.clear()
        await until(lambda: gateway.readiness() is None)


async def test_a_bucket_that_fails_is_said_block_by_block(bucket, gateway):
    await put_block(bucket, 1, rows(series=1))
    assert len((await select(gateway, [1], "__name__=up"))[1]) == 1

    async def gone(key, offset, length):
        raise Unavailable("the store is gone")

    whole, bucket.get_range = bucket.get_range, gone
    await put_block(bucket, 2, rows(series=1))
    assert "the store is gone" in (await select(gateway, [2], "__name__=up"))[2]
    assert gateway.damaged(TENANT) == ()
    bucket.get_range = whole
    assert len((await select(gateway, [2], "__name__=up"))[2]) == 1


async def test_a_sync_directory_that_cannot_be_used_ends_nothing(bucket, tmp_path):
    (tmp_path / "sync").write_text("a file")
    await put_index(bucket, await put_block(bucket, 1, rows(series=1)))
    async with Gateway(bucket, tmp_path / "sync") as gateway:
        await until(lambda: gateway.readiness() is None)
        await gateway.blocks.make_headers()
        assert "index-header" in (await select(gateway, [1], "__name__=up"))[1]
        assert gateway.damaged(TENANT) == ()


async def test_prepare_shutdown_is_remembered(bucket, tmp_path):
    for wanted, after in ((None, False), (True, True), (None, True), (False, False), (None, False)):
        made = Gateway(bucket, tmp_path)
        async with made as gateway:
            assert await gateway.prepare_shutdown(wanted) is after


async def test_it_refuses_before_it_runs(bucket, tmp_path):
    made = Gateway(bucket, tmp_path)
    with pytest.raises(Unavailable, match="not running"):
        await made.service.label_names(TENANT, [ulid(1)], [], *ALL)


def test_an_end_says_why():
    assert BlockEnd("b", served=True).reason == ""
