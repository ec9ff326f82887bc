from __future__ import annotations

import dataclasses

import pytest

from mimir_rw.bucket.backfill import BackfillState, backfill_block, find_blocks
from mimir_rw.bucket.blocks import fetch_meta
from mimir_rw.formats.block_meta import ThanosMeta
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import Unavailable
from mimir_rw.testing.faulty_bucket import Faults, FaultyBucket
from tests.unit.bucket.bucket_world import TENANT, World, local_block, promtool_blocks, ulid

V2 = bytes.fromhex("baaad70002") + b"rest"


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def block(world: World, number: int, *, index: bytes = V2, thanos: ThanosMeta | None = None, **more: int) -> None:
    meta = local_block(world.place, number, **more).replaced(thanos=thanos)
    (world.place / meta.ulid / "index").write_bytes(index)
    (world.place / meta.ulid / "meta.json").write_bytes(meta.encode())


async def run(world: World, bucket=None, **more):
    found = find_blocks(world.place)
    more = {"problems": None, **more}
    return [
        await backfill_block(bucket or world.bucket, TENANT, each, offload=InlineOffload(), **more) for each in found
    ]


async def states(world: World, **more) -> list[BackfillState]:
    return [result.state for result in await run(world, **more)]


async def test_uploads_once_oldest_first(world):
    block(world, 1, hours=0, level=3)
    block(world, 2, hours=8)
    (world.place / "wal").mkdir()
    (world.place / "not-a-block").write_bytes(b"")
    results = await run(world)
    assert [(result.ulid, result.state) for result in results] == [
        (ulid(2), BackfillState.UPLOADED), (ulid(1), BackfillState.UPLOADED),
    ]  # fmt: skip
    assert await states(world) == [BackfillState.THERE] * 2
    meta = await fetch_meta(world.bucket, TENANT, ulid(1))
    assert meta.thanos is not None
    assert (meta.thanos.source, meta.compaction.level, meta.compaction.sources) == ("upload", 3, (ulid(1),))
    await world.whole(ulid(1))


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({"index": bytes.fromhex("baaad70001") + b"rest"}, "index version 1"),
        ({"index": b"nothing like it"}, "no index"),
        ({"thanos": ThanosMeta(resolution=300_000)}, "downsampled to 300000 ms"),
        ({"thanos": ThanosMeta(labels={"replica": "a"})}, "external labels replica"),
    ],
)
async def test_what_is_refused(world, more, detail):
    block(world, 1, **more)
    block(world, 2)
    results = await run(world)
    assert [result.state for result in results] == [BackfillState.REFUSED, BackfillState.UPLOADED]
    assert detail in results[0].detail
    assert await world.bucket.list_dirs(f"{TENANT}/") == [ulid(2)]


async def test_deletions_that_are_not_carried_out(world):
    """Tombstones stay behind: what was deleted would be there again."""
    meta = local_block(world.place, 1)
    deleted = meta.replaced(stats=dataclasses.replace(meta.stats, tombstones=3))
    (world.place / meta.ulid / "index").write_bytes(V2)
    (world.place / meta.ulid / "meta.json").write_bytes(deleted.encode())
    (result,) = await run(world)
    assert result.state is BackfillState.REFUSED
    assert "3 deletions" in result.detail


async def test_labels_of_mimir_are_kept_or_dropped(world):
    block(world, 1, thanos=ThanosMeta(labels={"__org_id__": "x", "__compactor_shard_id__": "1_of_2"}))
    await run(world)
    assert (await fetch_meta(world.bucket, TENANT, ulid(1))).shard_id == "1_of_2"


async def test_damage_and_emptiness(world):
    block(world, 1, samples=0)
    block(world, 2)
    (world.place / ulid(3)).mkdir()
    results = await run(world, problems=lambda directory: ["index: bad checksum", "more"])
    assert {result.ulid: result.state for result in results} == {
        ulid(1): BackfillState.EMPTY, ulid(2): BackfillState.REFUSED, ulid(3): BackfillState.REFUSED,
    }  # fmt: skip
    assert "index: bad checksum" in [result.detail for result in results]
    assert world.bucket.objects == {}


async def test_a_dry_run_sends_nothing(world):
    block(world, 1)
    assert await states(world, dry_run=True) == [BackfillState.UPLOADED]
    assert world.bucket.objects == {}


async def test_a_failure_is_told_and_the_next_run_goes_on(world):
    block(world, 1)
    bucket = FaultyBucket(world.bucket)

    class Once(FaultyBucket):
        async def upload(self, key, data):
            raise Unavailable("not now")

    assert [result.detail for result in await run(world, bucket=Once(world.bucket))] == ["not now"]
    assert [result.state for result in await run(world, bucket=bucket)] == [BackfillState.UPLOADED]
    assert [key for operation, key in bucket.log if operation == "upload"] == [f"{TENANT}/{ulid(1)}/meta.json"]
    assert bucket.faults == Faults()


async def test_blocks_of_promtool(world, tmp_path):
    made = world.place = promtool_blocks(tmp_path)
    found = find_blocks(made)
    assert len(found) > 1
    assert {each.problem for each in found} == {""}
    assert await states(world) == [BackfillState.UPLOADED] * len(found)
    for each in found:
        await world.whole(each.directory.name)
