"""Ingesters and store-gateways as the querier asks them."""

import pytest

from mimir_rw._native import LabelFrame
from mimir_rw.components.querier.both_sources import STALE
from mimir_rw.components.querier.sources import SourceSettings
from mimir_rw.config.limits import TenantLimits
from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.kit.clock import SystemClock
from mimir_rw.model.errors import BadRequest, DataDamaged, LimitExceeded, Unavailable
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.storage.contract import SelectHints
from tests.contract.test_store_gateway import Nobody, querier, rows
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

UP = [matcher("__name__=up")]
NOW = 1_700_000_000_000
PAST = NOW - 100 * HOUR
HINTS = SelectHints(PAST, PAST + 50 * HOUR)


class Indexes:
    def __init__(self, index):
        self.index = index
        self.asked = []

    async def at_least(self, tenant, version):
        self.asked.append(version)
        if isinstance(self.index, Exception):
            raise self.index
        return self.index


class Fails:
    """A gateway that answers nothing, or a part and then nothing."""

    def __init__(self, error=None, *, gateway=None):
        self.error = error or Unavailable("connection refused")
        self.gateway = gateway
        self.calls = 0

    async def select(self, tenant, blocks, matchers, mint, maxt):
        self.calls += 1
        if self.gateway is not None:
            async for item in self.gateway.select(tenant, blocks, matchers, mint, maxt):
                yield item
                break
        raise self.error

    async def label_names(self, tenant, blocks, matchers, mint, maxt):
        self.calls += 1
        raise self.error


class Forgets:
    """A gateway that answers for some blocks only."""

    def __init__(self, gateway, *forgotten):
        self.gateway = gateway
        self.forgotten = forgotten

    async def select(self, tenant, blocks, matchers, mint, maxt):
        kept = [block for block in blocks if block not in self.forgotten]
        async for item in self.gateway.select(tenant, kept, matchers, mint, maxt):
            yield item

    async def label_names(self, tenant, blocks, matchers, mint, maxt):
        kept = [block for block in blocks if block not in self.forgotten]
        return await self.gateway.label_names(tenant, kept, matchers, mint, maxt)


@pytest.fixture
def bucket():
    return MemoryBucket(clock=SystemClock())


@pytest.fixture
async def gateway(bucket, tmp_path):
    made = Gateway(bucket, tmp_path)
    async with made as service:
        service.indexes = made.indexes
        yield service


async def filled(bucket, count=6, **index):
    data = {n: rows(4, start=PAST + n * 200 * MINUTE) for n in range(count)}
    blocks = [await put_block(bucket, n, each) for n, each in data.items()]
    await put_index(bucket, *blocks, updated_at_s=NOW // 1000 - 60, **index)
    return {series: [s for each in data.values() for s in each[series]] for series in data[0]}


def three(gateway, **others):
    return {"a": gateway, "b": gateway, "c": gateway, **others}


def reading(clients, indexes, ingesters=None, **more):
    view = gateways_ring(*clients)
    settings = SourceSettings(12 * HOUR, 3 * HOUR, HOUR, 11 * HOUR, HOUR)
    more = {"settings": settings, "limits": TenantLimits(), "now_ms": NOW, **more}
    return querier(clients, view, indexes, ingesters or Nobody(), **more)


async def test_what_one_gateway_does_not_answer_another_one_is_asked_for(bucket, gateway):
    whole = await filled(bucket)
    for broken in (
        Fails(),
        Fails(gateway=gateway),
        Forgets(gateway, *(ulid(n) for n in range(6))),
        Fails(RuntimeError("a bug")),
        Fails(DataDamaged("odd")),
    ):
        reads = reading(three(gateway, b=broken), gateway.indexes)
        assert decoded(await reads.select(TENANT, UP, HINTS)) == whole
    reads = reading(three(gateway, a=Fails(), b=Fails()), gateway.indexes)
    assert decoded(await reads.select(TENANT, UP, HINTS)) == whole


async def test_a_block_that_nobody_answers_fails_the_query(bucket, gateway):
    await filled(bucket)
    lost = Forgets(gateway, ulid(3))
    reads = reading({"a": lost, "b": lost, "c": lost}, gateway.indexes)
    with pytest.raises(Unavailable, match=ulid(3)) as raised:
        await reads.select(TENANT, UP, HINTS)
    assert raised.value.error_id == "store-consistency-check-failed"
    with pytest.raises(Unavailable) as raised:
        await reads.label_names(TENANT, UP, HINTS.mint, HINTS.maxt)
    assert raised.value.error_id == "store-consistency-check-failed"
    outside = SelectHints(PAST, PAST + 100 * MINUTE)
    assert len((await reads.select(TENANT, UP, outside)).labels) == 4, "others are served"


async def test_a_damaged_block_fails_what_needs_it_and_names_it(bucket, gateway):
    await filled(bucket)
    flip(bucket, f"{TENANT}/{ulid(2)}/index", 20)
    reads = reading(three(gateway), gateway.indexes)
    with pytest.raises(Unavailable, match=ulid(2)):
        await reads.select(TENANT, UP, HINTS)
    assert len((await reads.select(TENANT, UP, SelectHints(PAST, PAST + 100 * MINUTE))).labels) == 4


async def test_what_the_client_did_wrong_is_not_asked_again(bucket, gateway):
    await filled(bucket)
    broken = Fails(LimitExceeded("too much"))
    reads = reading({"a": broken, "b": broken, "c": broken}, gateway.indexes)
    with pytest.raises(LimitExceeded):
        await reads.select(TENANT, UP, HINTS)
    assert broken.calls <= 3
    reads = reading(three(gateway), gateway.indexes)
    with pytest.raises(BadRequest):
        await reads.select(TENANT, [matcher("job=~[")], HINTS)


async def test_no_gateway_is_an_error_only_where_there_are_blocks(bucket, gateway):
    await filled(bucket)
    reads = reading({}, gateway.indexes)
    with pytest.raises(Unavailable, match="empty ring"):
        await reads.select(TENANT, UP, HINTS)
    assert len((await reads.select("nobody", UP, HINTS)).labels) == 0
    assert await reads.label_names("nobody", UP, HINTS.mint, HINTS.maxt) == []


async def test_blocks_are_spread_and_always_in_the_same_way(bucket, gateway):
    await filled(bucket, count=30)
    seen = {}

    class Watched:
        def __init__(self, name):
            self.name = name

        async def select(self, tenant, blocks, matchers, mint, maxt):
            seen.setdefault(self.name, []).append(list(blocks))
            async for item in gateway.select(tenant, blocks, matchers, mint, maxt):
                yield item

    reads = reading({name: Watched(name) for name in "abc"}, gateway.indexes)
    for _ in range(2):
        await reads.select(TENANT, UP, SelectHints(PAST, NOW - 20 * HOUR))
    assert set(seen) == {"a", "b", "c"}
    assert all(first == second for first, second in seen.values())


class Ingesters:
    def __init__(self):
        self.asked = 0

    async def label_names(self, tenant, matchers, mint, maxt):
        self.asked += 1
        return ["__name__", "only_new"]

    async def label_values(self, tenant, name, matchers, mint, maxt):
        return ["a", "new"]

    async def series(self, tenant, matcher_sets, mint, maxt):
        return LabelFrame.from_rows([{"__name__": "up", "new": "1"}])


async def test_answers_of_both_are_one(bucket, gateway):
    await filled(bucket)
    ingesters = Ingesters()
    reads = reading(three(gateway), gateway.indexes, ingesters)
    assert await reads.label_names(TENANT, [], PAST, NOW) == ["__name__", "instance", "job", "only_new"]
    assert await reads.label_values(TENANT, "job", [], PAST, NOW) == ["a", "b", "c", "new"]
    found = await reads.series(TENANT, [UP], PAST, NOW)
    assert len(found) == 5
    assert {"__name__": "up", "new": "1"} in found.rows()
    assert await reads.label_names(TENANT, [], PAST, PAST + HOUR) == ["__name__", "instance", "job"]
    assert ingesters.asked == 1


async def test_ingesters_are_asked_for_what_only_they_have_however_old(bucket, gateway):
    await filled(bucket)
    ingesters = Ingesters()
    reads = reading(three(gateway), gateway.indexes, ingesters, unshipped_from_ms=PAST + HOUR)
    assert "only_new" in await reads.label_names(TENANT, [], PAST, PAST + 2 * HOUR)
    assert "only_new" not in await reads.label_names(TENANT, [], PAST, PAST + HOUR // 2)


async def test_series_are_charged_once_and_bytes_as_they_come(bucket, gateway):
    await filled(bucket)
    charged = []
    reads = reading(three(gateway), gateway.indexes)
    await reads.select(TENANT, UP, HINTS, lambda series, size: charged.append((series, size)))
    assert sum(series for series, _ in charged) == 4
    assert sum(size for _, size in charged) > 6 * 4 * 200

    def refuse(series, size):
        raise LimitExceeded("enough")

    with pytest.raises(LimitExceeded, match="enough"):
        await reads.select(TENANT, UP, HINTS, refuse)


async def test_an_index_that_cannot_be_had_fails_what_needs_it():
    for error in (Unavailable("gone"), DataDamaged("bucket index: cut short")):
        reads = reading({}, Indexes(error))
        with pytest.raises(Unavailable):
            await reads.select(TENANT, UP, HINTS)


async def test_a_stale_index_is_told_to_who_asks_for_what_is_in_it(bucket, gateway):
    await filled(bucket)
    index = (await gateway.indexes.get(TENANT)).blocks
    old, new = (BucketIndex(index, (), NOW // 1000 - age_s) for age_s in (2 * 3600, 60))
    indexes = Indexes(old)
    reads = reading(three(gateway), indexes)
    assert reads.warning(TENANT, PAST) is None
    assert len((await reads.select(TENANT, UP, HINTS)).labels) == 4
    assert reads.warning(TENANT, PAST) == STALE
    assert reads.warning(TENANT, NOW - HOUR) is None
    assert reads.warning("other", PAST) is None
    indexes.index = new
    await reads.select(TENANT, UP, HINTS)
    assert reads.warning(TENANT, PAST) is None
