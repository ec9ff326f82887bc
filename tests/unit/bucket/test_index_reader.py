from __future__ import annotations

import asyncio

import pytest

from mimir_rw.bucket.cleaner import TenantPolicy
from mimir_rw.bucket.index_reader import (
    BucketIndexReader,
    Freshness,
    IndexReaderMetrics,
    IndexReaderSettings,
    freshness,
)
from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.model.errors import DataDamaged, Unavailable
from mimir_rw.testing.faulty_bucket import Faults, FaultyBucket
from tests.unit.bucket.bucket_world import TENANT, World, ulid


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def reader(world: World, bucket=None) -> tuple[BucketIndexReader, FaultyBucket]:
    faulty = bucket or FaultyBucket(world.bucket, rng=seeded_rng(1))
    made = BucketIndexReader(
        bucket=faulty, component="querier", settings=IndexReaderSettings(), clock=world.clock, rng=seeded_rng(2),
        metrics=IndexReaderMetrics(Metrics()),
    )  # fmt: skip
    return made, faulty


async def test_loaded_once_and_refreshed(world):
    await world.upload(1)
    await world.cleaner().clean(TENANT, TenantPolicy())
    made, bucket = reader(world)
    for _ in range(3):
        assert [block.ulid for block in (await made.get(TENANT)).blocks] == [ulid(1)]
    assert len(bucket.log) == 1
    await world.upload(2)
    await world.cleaner().clean(TENANT, TenantPolicy())
    await made.refresh()
    assert len((await made.get(TENANT)).blocks) == 1
    world.clock.pass_hours(0.25)
    await made.refresh()
    assert len((await made.get(TENANT)).blocks) == 2
    assert len(bucket.log) == 2


async def test_no_index_is_no_blocks_and_is_looked_for_again_soon(world):
    made, _ = reader(world)
    assert await made.get(TENANT) == BucketIndex()
    await world.upload(1)
    await world.cleaner().clean(TENANT, TenantPolicy())
    world.clock.pass_hours(0.02)
    await made.refresh()
    assert len((await made.get(TENANT)).blocks) == 1


async def test_errors(world):
    made, bucket = reader(world)
    bucket.faults = Faults(fails=1)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await made.get(TENANT)
    bucket.faults = Faults()
    with pytest.raises(Unavailable):
        await made.get(TENANT)  # not before a minute
    world.clock.pass_hours(0.02)
    assert await made.get(TENANT) == BucketIndex()
    await world.bucket.upload(f"{TENANT}/bucket-index.json.gz", b"damaged")
    with pytest.raises(DataDamaged):
        await made.reload(TENANT)
    assert await made.get(TENANT) == BucketIndex()  # the last one that was whole


async def test_tenants_without_an_index_are_not_kept(world):
    made, bucket = reader(world)
    for n in range(50):
        await made.get(f"nobody-{n}")
    await made.refresh()
    assert len(made.loaded()) == 50
    world.clock.pass_hours(0.02)
    asked = len(bucket.log)
    await made.refresh()
    assert made.loaded() == {}
    assert len(bucket.log) == asked


async def test_dropped_when_idle(world):
    for tenant in (TENANT, "other"):
        await world.bucket.upload(f"{tenant}/bucket-index.json.gz", BucketIndex(updated_at_s=1).encode())
    made, _ = reader(world)
    await made.get(TENANT)
    await made.get("other")
    world.clock.pass_hours(0.9)
    await made.get("other")
    world.clock.pass_hours(0.2)
    await made.refresh()
    assert list(made.loaded()) == ["other"]


async def test_one_load_for_all_who_wait(world):
    gate = asyncio.Event()

    class Slow(FaultyBucket):
        async def get(self, key, *, bytes_max=None):
            await gate.wait()
            return await super().get(key, bytes_max=bytes_max)

    made, bucket = reader(world, Slow(world.bucket))
    waiting = [asyncio.ensure_future(made.get(TENANT)) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.set()
    assert await asyncio.gather(*waiting[1:]) == [BucketIndex(), BucketIndex()]
    assert waiting[0].cancelled()
    assert len(bucket.log) == 1


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(0, Freshness.FRESH), (3600, Freshness.FRESH), (3601, Freshness.STALE), (42_000, Freshness.STALE),
     (42_301, Freshness.EXPIRED)],
)  # fmt: skip
def test_freshness(age_s, expected):
    index = BucketIndex(updated_at_s=1_000_000)
    assert freshness(index, now_ms=(1_000_000 + age_s) * 1000, stale_s=3600, expired_s=42_300) is expected
    assert freshness(BucketIndex(), now_ms=10**12, stale_s=3600, expired_s=42_300) is Freshness.FRESH
