from __future__ import annotations

import json

import pytest

from mimir_rw.bucket.blocks import fetch_meta
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.model.errors import MimirError
from mimir_rw.testing.faulty_bucket import Crashed, Faults, FaultyBucket
from tests.unit.bucket.bucket_world import START_MS, TENANT, World, local_block, meta_of, ulid


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


async def test_once_each_oldest_first(world):
    for number, hours in ((1, 0), (2, 4), (3, 2)):
        local_block(world.place, number, hours=hours)
    bucket = FaultyBucket(world.bucket)
    shipper = world.shipper(bucket)
    assert await shipper.ship() == 3
    sent = [key.split("/")[1] for operation, key in bucket.log if operation == "upload" and key.endswith("meta.json")]
    assert sent == [ulid(2), ulid(3), ulid(1)]
    bucket.log.clear()
    assert await shipper.ship() == 0
    assert await world.shipper(bucket).ship() == 0
    assert bucket.log == []
    meta = await fetch_meta(world.bucket, TENANT, ulid(1))
    assert meta.thanos is not None
    assert (meta.thanos.source, meta.thanos.labels, meta.thanos.version) == ("receive", {}, 1)
    assert (await shipper.shipped()) == {ulid(number): START_MS for number in (1, 2, 3)}
    assert json.loads((world.place / "mimir.shipper.json").read_text()) == {
        "version": 1,
        "shipped": {ulid(number): "2023-11-14T22:13:20.000Z" for number in (1, 2, 3)},
    }


async def test_what_is_not_shipped(world):
    local_block(world.place, 1, level=2)
    local_block(world.place, 2, samples=0)
    local_block(world.place, 3)
    (world.place / f"{ulid(4)}.tmp-for-creation").mkdir()
    (world.place / ulid(5)).mkdir()
    (world.place / ulid(6)).mkdir()
    (world.place / ulid(6) / "meta.json").write_bytes(b"{")
    (world.place / ulid(7)).mkdir()
    (world.place / ulid(7) / "meta.json").write_bytes(meta_of(1).encode())
    (world.place / ulid(8)).write_bytes(b"")
    (world.place / "wal").mkdir()
    assert await world.shipper().ship() == 1
    assert await world.bucket.list_dirs(f"{TENANT}/") == [ulid(3)]


async def test_no_directory_no_blocks(world):
    world.place = world.place / "none"
    assert await world.shipper().ship() == 0


async def test_a_block_that_is_there_already_counts(world):
    await world.upload(1)
    bucket = FaultyBucket(world.bucket)
    shipper = world.shipper(bucket)
    assert await shipper.ship() == 0
    assert ulid(1) in await shipper.shipped()
    assert {operation for operation, _ in bucket.log} == {"exists"}


async def test_blocks_that_are_gone_are_forgotten(world):
    local_block(world.place, 1)
    await world.shipper().ship()
    for path in (world.place / ulid(1)).rglob("*"):
        if path.is_file():
            path.unlink()
    local_block(world.place, 2)
    shipper = world.shipper()
    assert await shipper.ship() == 1
    assert list(await shipper.shipped()) == [ulid(2)]


@pytest.mark.parametrize(
    "note",
    [b"", b"{", b"[]", b'{"version":2}', b'{"version":1,"shipped":{"%s":"x"}}' % ulid(1).encode()],
)
async def test_a_damaged_note_costs_a_look(world, note):
    local_block(world.place, 1)
    await world.shipper().ship()
    (world.place / "mimir.shipper.json").write_bytes(note)
    bucket = FaultyBucket(world.bucket)
    assert await world.shipper(bucket).ship() == 0
    assert [operation for operation, _ in bucket.log] == ["exists"]


async def test_a_failing_block_does_not_hold_up_the_others(world):
    for number in (1, 2, 3):
        local_block(world.place, number, hours=number)
    (world.place / ulid(2) / "index").unlink()
    shipper = world.shipper()
    with pytest.raises(FileNotFoundError):
        await shipper.ship()
    assert sorted(await shipper.shipped()) == [ulid(1), ulid(3)]


async def test_a_crash_after_any_operation(world):
    for number in (1, 2):
        local_block(world.place, number)
    for crash_after in range(100):
        try:
            sent = await world.shipper(FaultyBucket(world.bucket, crash_after=crash_after)).ship()
        except Crashed:
            for name in await world.shipper().shipped():
                await world.whole(name)
            continue
        break
    assert sent == 1
    assert sorted(await world.shipper().shipped()) == [ulid(1), ulid(2)]


@pytest.mark.parametrize("seed", range(20))
async def test_a_bucket_that_fails_and_loses_answers(world, seed):
    for number in (1, 2, 3):
        local_block(world.place, number)
    bucket = FaultyBucket(world.bucket, rng=seeded_rng(seed), faults=Faults(fails=0.2, loses=0.2))
    shipper = world.shipper(bucket)
    for _ in range(200):
        try:
            await shipper.ship()
            break
        except MimirError:
            for name in await shipper.shipped():
                await world.whole(name)
    assert len(await shipper.shipped()) == 3
    for number in (1, 2, 3):
        await world.whole(ulid(number))
