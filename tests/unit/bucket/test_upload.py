from __future__ import annotations

import pytest

from mimir_rw.bucket.blocks import download_block, fetch_meta, mark_deleted
from mimir_rw.formats.block_meta import BlockFile
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.model.errors import Conflict, DataDamaged, Unavailable
from mimir_rw.objstore.contract import ObjectNotFound
from mimir_rw.testing.faulty_bucket import Crashed, Faults, FaultyBucket
from tests.unit.bucket.bucket_world import TENANT, World, ulid

WHOLE = ["chunks/000001", "chunks/000002", "index", "meta.json"]


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


async def test_order_and_files(world):
    bucket = FaultyBucket(world.bucket)
    name = await world.upload(1, bucket)
    assert [key.removeprefix(f"{TENANT}/{name}/") for operation, key in bucket.log if operation == "upload"] == WHOLE
    meta = await fetch_meta(world.bucket, TENANT, name)
    assert meta.thanos is not None
    assert meta.thanos.segment_files == ("000001", "000002")
    assert meta.thanos.files == (
        BlockFile("chunks/000001", 60), BlockFile("chunks/000002", 60), BlockFile("index", 10), BlockFile("meta.json"),
    )  # fmt: skip
    assert world.names(1) == WHOLE


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_crash_between_any_two_steps_leaves_no_block_or_a_whole_one(world, resumable):
    for crash_after in range(100):
        bucket = FaultyBucket(world.bucket, crash_after=crash_after)
        try:
            await world.upload(1, bucket, resumable=resumable)
        except Crashed:
            assert "meta.json" not in world.names(1) or world.names(1) == WHOLE
            continue
        break
    assert crash_after == 4
    assert world.names(1) == WHOLE
    await world.whole(ulid(1))
    # Each try went on where the one before it had ended, so the last one had little left to do.
    assert [key for operation, key in bucket.log if operation == "upload"] == [f"{TENANT}/{ulid(1)}/meta.json"]


async def test_nothing_is_sent_twice(world):
    bucket = FaultyBucket(world.bucket, crash_after=3)
    with pytest.raises(Crashed):
        await world.upload(1, bucket)
    assert world.names(1) == WHOLE[:2]
    again = FaultyBucket(world.bucket)
    await world.upload(1, again)
    assert [key.rpartition("/")[2] for operation, key in again.log if operation == "upload"] == ["index", "meta.json"]


async def test_what_cannot_be_resumed_is_taken_back(world):
    for seed in range(40):
        bucket = FaultyBucket(world.bucket, rng=seeded_rng(seed), faults=Faults(fails=0.25, loses=0.1))
        try:
            await world.upload(1, bucket, resumable=False)
        except Unavailable:
            if ("upload", f"{TENANT}/{ulid(1)}/meta.json") in bucket.log:
                assert world.names(1) == WHOLE
            elif not any(operation == "delete" for operation, _ in bucket.log):
                continue
            world.bucket.objects.clear()
            continue
        assert world.names(1) == WHOLE
        world.bucket.objects.clear()


async def test_a_failure_takes_back_only_what_it_wrote(world):
    await world.bucket.upload(f"{TENANT}/{ulid(1)}/chunks/000001", b"1 of 1" * 10)

    class Full(FaultyBucket):
        async def upload_file(self, key, path):
            if key.endswith("index"):
                raise Unavailable("full")
            await super().upload_file(key, path)

    with pytest.raises(Unavailable):
        await world.upload(1, Full(world.bucket), resumable=False)
    assert world.names(1) == ["chunks/000001"]


async def test_a_partial_block_that_is_marked_is_not_completed(world):
    await world.bucket.upload(f"{TENANT}/{ulid(1)}/index", b"x")
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=world.clock.now_ms())
    with pytest.raises(Conflict, match="marked for deletion"):
        await world.upload(1)
    assert "meta.json" not in world.names(1)


async def test_files_that_went_while_an_upload_slept(world):
    """It was resumed, the cleaner removed what it had found there, and it wakes up with the index."""
    await world.bucket.upload(f"{TENANT}/{ulid(1)}/chunks/000001", b"1 of 1" * 10)

    class Slept(FaultyBucket):
        async def upload_file(self, key, path):
            await super().upload_file(key, path)
            if key.endswith("index"):
                world.bucket.objects.pop(f"{TENANT}/{ulid(1)}/chunks/000001")

    with pytest.raises(Conflict, match="is being removed"):
        await world.upload(1, Slept(world.bucket))
    assert "meta.json" not in world.names(1)
    await world.upload(1)
    await world.whole(ulid(1))


async def test_down_again(world, tmp_path):
    name = await world.upload(1)
    await world.bucket.upload(f"{TENANT}/{name}/sparse-index-header", b"x")
    await mark_deleted(world.bucket, TENANT, name, now_ms=world.clock.now_ms())
    back = tmp_path / "back"
    bucket = FaultyBucket(world.bucket, crash_after=3)
    with pytest.raises(Crashed):
        await download_block(bucket, TENANT, name, back, offload=InlineOffload())
    assert not (back / "meta.json").exists()
    again = FaultyBucket(world.bucket)
    meta = await download_block(again, TENANT, name, back, offload=InlineOffload())
    assert sum(operation == "download" for operation, _ in again.log) < 3
    files = sorted(str(path.relative_to(back)) for path in back.rglob("*") if path.is_file())
    assert files == WHOLE
    assert (back / "index").read_bytes() == (tmp_path / name / "index").read_bytes()
    assert meta == await fetch_meta(world.bucket, TENANT, name)


async def test_a_block_with_parts_missing_is_damaged(world, tmp_path):
    name = await world.upload(1)
    del world.bucket.objects[f"{TENANT}/{name}/chunks/000002"]
    with pytest.raises(DataDamaged, match="chunks/000002 has None bytes, not 60"):
        await download_block(world.bucket, TENANT, name, tmp_path / "back", offload=InlineOffload())
    with pytest.raises(ObjectNotFound):
        await download_block(world.bucket, TENANT, ulid(2), tmp_path / "back", offload=InlineOffload())


async def test_meta_of_another_block(world):
    name = await world.upload(1)
    world.bucket.objects[f"{TENANT}/{ulid(2)}/meta.json"] = world.bucket.objects[f"{TENANT}/{name}/meta.json"]
    with pytest.raises(DataDamaged, match="is of block"):
        await fetch_meta(world.bucket, TENANT, ulid(2))
