"""A whole cluster with long-term storage at work under faults; and what is broken on purpose is seen."""

import asyncio

import pytest

from mimir_rw.bucket.blocks import delete_block, mark_deleted
from mimir_rw.bucket.index_updater import scan_tenant
from mimir_rw.bucket.layout import INDEX, block_key, bucket_index_key, marker_key, meta_key
from mimir_rw.bucket.shipper import Shipper
from mimir_rw.components.compactor.store import BucketBlockStore
from mimir_rw.formats.block_meta import BlockFile, BlockMeta, ThanosMeta
from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.formats.ulid import make_ulid
from mimir_rw.testing import storage_scenario
from mimir_rw.testing.object_store import WatchedBucket
from mimir_rw.testing.seeds import SCENARIOS, run_seed
from mimir_rw.testing.simulation import Simulation
from tests.sim.broken import seen
from tests.sim.test_cluster import trace_of

pytestmark = pytest.mark.timeout(600)

TENANT = "tenant-1"
ULID = make_ulid(1_700_000_000_000, bytes(10))
DELAY_S = 300


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(storage_scenario, "LASTS_S", 120.0)


@pytest.mark.parametrize("seed", [1])
def test_a_cluster_with_storage_keeps_its_promise(seed):
    assert run_seed(SCENARIOS["storage"], seed).complaints == ()


def test_a_shipper_that_only_says_so(short, monkeypatch):
    async def hopeful(self, meta):
        return 1

    monkeypatch.setattr(Shipper, "_one", hopeful)
    assert seen("storage", "lacks blocks")


def test_a_compactor_that_leaves_what_it_has_compacted(short, monkeypatch):
    async def forget(self, *args, **kwargs):
        pass

    monkeypatch.setattr(BucketBlockStore, "mark_deleted", forget)
    assert seen("storage", "blocks")


def test_equal_seeds_leave_equal_traces_with_storage():
    first = trace_of(5, hash_seed=1, scenario="storage")
    assert int(first.split()[0]) > 5_000
    assert trace_of(5, hash_seed=2, scenario="storage") == first


# -- what is watched from outside -------------------------------------------------------------------------------------


async def a_block(bucket):
    meta = BlockMeta(ulid=ULID, min_time=0, max_time=1, thanos=ThanosMeta(files=(BlockFile(INDEX, 3),)))
    await bucket.upload(block_key(TENANT, ULID, INDEX), b"abc")
    await bucket.upload(meta_key(TENANT, ULID), meta.encode())


def watched(script):
    """What is complained about in a bucket with one block."""
    with Simulation(1) as sim:
        bucket = WatchedBucket(sim=sim, deletion_delay_s=DELAY_S)

        async def whole():
            await a_block(bucket)
            await script(bucket, sim.clock)

        sim.run(whole())
    return bucket.complaints


async def in_order(bucket, clock):
    scan = await scan_tenant(bucket, TENANT, old=None, now_ms=clock.now_ms())
    await bucket.upload(bucket_index_key(TENANT), scan.index.encode())
    await mark_deleted(bucket, TENANT, ULID, now_ms=clock.now_ms())
    await asyncio.sleep(DELAY_S)
    await delete_block(bucket, TENANT, ULID)


async def without_a_mark(bucket, clock):
    await delete_block(bucket, TENANT, ULID)


async def too_soon(bucket, clock):
    await mark_deleted(bucket, TENANT, ULID, now_ms=clock.now_ms())
    await asyncio.sleep(DELAY_S / 2)
    await delete_block(bucket, TENANT, ULID)


async def the_mark_first(bucket, clock):
    await mark_deleted(bucket, TENANT, ULID, now_ms=clock.now_ms())
    await asyncio.sleep(DELAY_S)
    await bucket.delete(marker_key(TENANT, ULID, "deletion-mark.json"))
    await delete_block(bucket, TENANT, ULID)


async def in_the_wrong_order(bucket, clock):
    await mark_deleted(bucket, TENANT, ULID, now_ms=clock.now_ms())
    await asyncio.sleep(DELAY_S)
    await bucket.delete(block_key(TENANT, ULID, INDEX))


async def an_index_with_a_part_of_a_block(bucket, clock):
    scan = await scan_tenant(bucket, TENANT, old=None, now_ms=clock.now_ms())
    await bucket.upload(block_key(TENANT, ULID, INDEX), b"ab")
    await bucket.upload(bucket_index_key(TENANT), scan.index.encode())


async def an_index_with_a_block_that_is_gone(bucket, clock):
    scan = await scan_tenant(bucket, TENANT, old=None, now_ms=clock.now_ms())
    del bucket.objects[meta_key(TENANT, ULID)]
    await bucket.upload(bucket_index_key(TENANT), BucketIndex(scan.index.blocks, (), 1).encode())


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (without_a_mark, "is deleted without a mark"),
        (too_soon, f"meta.json of block {ULID} is deleted {DELAY_S // 2} s after its mark"),
        (the_mark_first, "is deleted without a mark"),
        (in_the_wrong_order, "is deleted before its meta.json"),
        (an_index_with_a_part_of_a_block, "its index is not whole"),
        (an_index_with_a_block_that_is_gone, "has no meta.json"),
    ],
)
def test_what_must_not_be_done_to_a_bucket_is_seen(script, complaint):
    assert any(complaint in text for text in watched(script))


def test_a_block_that_is_deleted_in_order_is_fine():
    assert watched(in_order) == []
