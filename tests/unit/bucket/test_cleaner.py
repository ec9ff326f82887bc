from __future__ import annotations

import contextlib
import itertools

import pytest

from mimir_rw.bucket.blocks import (
    PARTIAL_DETAILS,
    delete_block,
    mark_deleted,
    mark_no_compact,
    read_deletion_mark,
    unmark,
)
from mimir_rw.bucket.cleaner import TenantPolicy
from mimir_rw.bucket.index_updater import read_index, scan_tenant
from mimir_rw.bucket.layout import DELETION_MARK, NO_COMPACT_MARK
from mimir_rw.bucket.tenants import list_tenants, mark_tenant_deleted, read_tenant_mark
from mimir_rw.formats.bucket_index import BucketIndex, IndexedMark
from mimir_rw.formats.markers import DeletionMark, NoCompactMark
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.model.errors import MimirError
from mimir_rw.testing.faulty_bucket import Crashed, Faults, FaultyBucket
from tests.unit.bucket.bucket_world import START_MS, TENANT, World, ulid

KEEP = TenantPolicy()


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


async def marked(world: World) -> set[str]:
    index = await read_index(world.bucket, TENANT)
    return set() if index is None else {mark.ulid for mark in index.deletion_marks}


async def test_the_index_of_what_is_there(world):
    await world.upload(1)
    await world.upload(2, hours=5)
    await world.bucket.upload(f"{TENANT}/{ulid(3)}/index", b"partial")
    await world.bucket.upload(f"{TENANT}/{ulid(4)}/meta.json", b"{damaged")
    await world.bucket.upload(f"{TENANT}/debug/metas/{ulid(1)}.json", b"")
    index = await world.cleaner().clean(TENANT, KEEP)
    assert index == await read_index(world.bucket, TENANT)
    assert index is not None
    assert [block.ulid for block in index.blocks] == [ulid(1), ulid(2)]
    assert index.updated_at_s == START_MS // 1000
    assert index.blocks[0].uploaded_at_s == START_MS // 1000
    assert (index.blocks[0].segments, index.blocks[0].source, index.blocks[0].level) == (2, "receive", 1)


async def test_only_new_blocks_and_marks_are_read(world):
    for number in (1, 2):
        await world.upload(number)
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=START_MS)
    await world.cleaner().clean(TENANT, KEEP)
    await world.upload(3)
    bucket = FaultyBucket(world.bucket)
    await world.cleaner(bucket).clean(TENANT, KEEP)
    read = [key for operation, key in bucket.log if operation == "get" and "mark.json" not in key]
    assert read == [f"{TENANT}/bucket-index.json.gz", f"{TENANT}/{ulid(3)}/meta.json"]
    assert not [key for operation, key in bucket.log if operation == "get" and ulid(1) in key]
    order = [key for operation, key in bucket.log if operation in ("list", "list_dirs", "upload")]
    assert order == [f"{TENANT}/markers/", f"{TENANT}/", f"{TENANT}/bucket-index.json.gz"]


async def test_a_marked_block_goes_after_the_delay(world):
    await world.upload(1)
    await world.upload(2)
    await world.cleaner().clean(TENANT, KEEP)
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=world.clock.now_ms(), details="compacted")
    for hours in (0.25, 11):
        world.clock.pass_hours(hours)
        await world.cleaner().clean(TENANT, KEEP)
        assert await marked(world) == {ulid(1)}
        await world.whole(ulid(1))
    world.clock.pass_hours(1)
    index = await world.cleaner().clean(TENANT, KEEP)
    assert index is not None
    assert ([block.ulid for block in index.blocks], index.deletion_marks) == ([ulid(2)], ())
    assert world.names(1) == []
    assert not await world.bucket.list_dirs(f"{TENANT}/markers/")
    assert [info.key async for info in world.bucket.list(f"{TENANT}/markers/")] == []


async def test_nothing_goes_before_readers_could_learn_of_the_mark(world):
    """Nobody cleaned for a day: the mark is old, but no index has told of it yet."""
    await world.upload(1)
    await world.cleaner().clean(TENANT, KEEP)
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=world.clock.now_ms())
    world.clock.pass_hours(24)
    await world.cleaner().clean(TENANT, KEEP)
    await world.whole(ulid(1))
    assert await marked(world) == {ulid(1)}
    world.clock.pass_hours(0.25)
    await world.cleaner().clean(TENANT, KEEP)
    assert world.names(1) == []


async def test_a_damaged_or_old_index_is_made_afresh_and_deletes_nothing(world):
    await world.upload(1)
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=START_MS - 10**9)
    for stored in (b"damaged", b""):
        await world.bucket.upload(f"{TENANT}/bucket-index.json.gz", stored)
        await world.cleaner().clean(TENANT, KEEP)
        assert await marked(world) == {ulid(1)}
        await world.whole(ulid(1))


async def test_retention(world):
    await world.upload(1, hours=30)
    await world.upload(2, hours=20)
    policy = TenantPolicy(retention_s=24 * 3600)
    await world.cleaner().clean(TENANT, policy)
    await world.cleaner().clean(TENANT, policy)
    assert await marked(world) == {ulid(1)}
    assert "exceeding retention" in (await read_deletion_mark(world.bucket, TENANT, ulid(1))).details


async def test_marks_of_others_get_their_copies(world):
    await world.upload(1)
    at = f"{TENANT}/{ulid(1)}/"
    await world.bucket.upload(at + "deletion-mark.json", DeletionMark(ulid(1), 5, "x").encode())
    await world.bucket.upload(at + "no-compact-mark.json", NoCompactMark(ulid(1), 6, "manual", "y").encode())
    await world.cleaner().clean(TENANT, KEEP)
    index = await read_index(world.bucket, TENANT)
    assert index is not None
    assert index.deletion_marks == (IndexedMark(ulid(1), 5),)
    copy = await world.bucket.get(f"{TENANT}/markers/{ulid(1)}-no-compact-mark.json")
    assert NoCompactMark.decode(copy) == NoCompactMark(ulid(1), 6, "manual", "y")


async def test_partial_blocks(world):
    await world.bucket.upload(f"{TENANT}/{ulid(1)}/chunks/000001", b"x")
    await world.cleaner().clean(TENANT, KEEP)
    world.clock.pass_hours(23)
    await world.cleaner().clean(TENANT, KEEP)
    assert world.names(1) == ["chunks/000001"]
    world.clock.pass_hours(2)
    await world.cleaner().clean(TENANT, KEEP)
    assert world.names(1) == ["chunks/000001", "deletion-mark.json"]
    assert (await read_deletion_mark(world.bucket, TENANT, ulid(1))).details == PARTIAL_DETAILS
    world.clock.pass_hours(0.25)
    await world.cleaner().clean(TENANT, KEEP)
    assert world.names(1) == []
    assert await list_tenants(world.bucket) == [TENANT]  # its index


async def test_a_partial_block_that_somebody_goes_on_with_stays(world):
    """Marked while an upload slept; the upload wakes up before the next run, and ends after it."""
    await world.bucket.upload(f"{TENANT}/{ulid(1)}/chunks/000001", b"1 of 1" * 10)
    world.clock.pass_hours(25)
    await world.cleaner().clean(TENANT, KEEP)
    assert "deletion-mark.json" in world.names(1)
    world.clock.pass_hours(0.1)
    await world.bucket.upload(f"{TENANT}/{ulid(1)}/index", b"index of 1")
    await world.cleaner().clean(TENANT, KEEP)
    assert "index" in world.names(1)
    # It had looked for the mark before there was one, and completes the block.
    await unmark(world.bucket, TENANT, ulid(1), DELETION_MARK)
    await world.upload(1)
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=world.clock.now_ms(), details=PARTIAL_DETAILS)
    index = await world.cleaner().clean(TENANT, KEEP)
    assert index is not None
    assert ([block.ulid for block in index.blocks], index.deletion_marks) == ([ulid(1)], ())
    world.clock.pass_hours(100)
    await world.cleaner().clean(TENANT, KEEP)
    assert await world.readable() == {ulid(1)}


async def test_orphans_of_marks(world):
    await world.upload(1)
    await world.bucket.upload(f"{TENANT}/markers/{ulid(9)}-deletion-mark.json", DeletionMark(ulid(9), 5).encode())
    await world.bucket.upload(f"{TENANT}/markers/{ulid(8)}-no-compact-mark.json", b"{}")
    await mark_no_compact(world.bucket, TENANT, ulid(1), now_ms=START_MS, reason="manual")
    await world.cleaner().clean(TENANT, KEEP)
    markers = [info.key async for info in world.bucket.list(f"{TENANT}/markers/")]
    assert markers == [f"{TENANT}/markers/{ulid(1)}-no-compact-mark.json"]


async def test_a_mark_keeps_its_time(world):
    await world.upload(1)
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=5000)
    await world.bucket.delete(f"{TENANT}/{ulid(1)}/deletion-mark.json")
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=9000)
    for key in (f"{TENANT}/{ulid(1)}/deletion-mark.json", f"{TENANT}/markers/{ulid(1)}-deletion-mark.json"):
        assert DeletionMark.decode(await world.bucket.get(key)).deletion_time_s == 5


async def crash_everywhere(world: World, work, check) -> int:
    """Run `work(bucket)` again and again, crashing one operation later each time, until it ends."""
    for crash_after in range(500):
        try:
            await work(FaultyBucket(world.bucket, crash_after=crash_after))
        except Crashed:
            await check()
            continue
        return crash_after
    raise AssertionError("it does not end")


async def test_a_crash_in_marking_and_unmarking(world):
    await world.upload(1)
    await world.cleaner().clean(TENANT, KEEP)

    async def mark(bucket) -> None:
        await mark_deleted(bucket, TENANT, ulid(1), now_ms=START_MS)

    async def look() -> None:
        await world.cleaner().clean(TENANT, KEEP)
        assert await world.readable() == {ulid(1)}

    assert await crash_everywhere(world, mark, look) >= 2
    await world.cleaner().clean(TENANT, KEEP)
    assert await marked(world) == {ulid(1)}
    await crash_everywhere(world, lambda bucket: unmark(bucket, TENANT, ulid(1), DELETION_MARK), look)
    await world.cleaner().clean(TENANT, KEEP)
    assert await marked(world) == set()
    assert world.names(1) == ["chunks/000001", "chunks/000002", "index", "meta.json"]


MARKING = {
    DELETION_MARK: lambda bucket: mark_deleted(bucket, TENANT, ulid(1), now_ms=START_MS),
    NO_COMPACT_MARK: lambda bucket: mark_no_compact(bucket, TENANT, ulid(1), now_ms=START_MS, reason="manual"),
}


@pytest.mark.parametrize("mark", MARKING)
@pytest.mark.parametrize("taken_back", [False, True])
async def test_a_run_completes_a_mark_that_a_crash_left_half_written(world, mark, taken_back):
    await world.upload(1)
    await world.cleaner().clean(TENANT, KEEP)
    own, copy = f"{TENANT}/{ulid(1)}/{mark}", f"{TENANT}/markers/{ulid(1)}-{mark}"
    halves = 0
    for operations in itertools.count():
        if taken_back:
            await MARKING[mark](world.bucket)
        else:
            await unmark(world.bucket, TENANT, ulid(1), mark)
        crashing = FaultyBucket(world.bucket, crash_after=operations)
        with contextlib.suppress(Crashed):
            await (unmark(crashing, TENANT, ulid(1), mark) if taken_back else MARKING[mark](crashing))
        there = (own in world.bucket.objects, copy in world.bucket.objects)
        assert there != (True, False)
        halves += there == (False, True)
        await world.cleaner().clean(TENANT, KEEP)
        after = [world.bucket.objects.get(key, (b"", 0))[0] for key in (own, copy)]
        assert after[0] == after[1]
        assert bool(after[1]) == there[1]
        if not crashing.crashed:
            break
    assert halves


async def test_a_mark_that_is_taken_back_while_it_is_completed_is_gone(world):
    """Between the cleaner's look at the copy and its writing of the other."""
    await world.upload(1)
    await mark_no_compact(world.bucket, TENANT, ulid(1), now_ms=START_MS, reason="manual")
    await world.cleaner().clean(TENANT, KEEP)
    own = f"{TENANT}/{ulid(1)}/{NO_COMPACT_MARK}"
    await world.bucket.delete(own)
    upload = world.bucket.upload

    async def uploaded_late(key: str, data: bytes) -> None:
        if key == own:
            await unmark(world.bucket, TENANT, ulid(1), NO_COMPACT_MARK)
        await upload(key, data)

    world.bucket.upload = uploaded_late
    await world.cleaner().clean(TENANT, KEEP)
    assert not [key for key in world.bucket.objects if key.endswith(NO_COMPACT_MARK)]


async def test_a_crash_in_a_deletion(world):
    """What still looks like a block is a whole one, and as long as anything is left both marks say that it goes."""
    await world.upload(1)
    await mark_no_compact(world.bucket, TENANT, ulid(1), now_ms=START_MS, reason="manual")
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=START_MS)
    whole = world.names(1)
    copy = f"{TENANT}/markers/{ulid(1)}-deletion-mark.json"
    seen = set()

    async def look() -> None:
        names = world.names(1)
        seen.add(tuple(names))
        assert "meta.json" not in names or names == whole
        assert "deletion-mark.json" in names or not names
        assert copy in world.bucket.objects

    await crash_everywhere(world, lambda bucket: delete_block(bucket, TENANT, ulid(1)), look)
    assert len(seen) > 4
    assert world.bucket.objects == {}


@pytest.mark.parametrize("fresh_index", [True, False])
async def test_a_crash_after_any_operation_of_a_run(world, fresh_index):
    """Blocks of every kind at once: kept, expired, marked, being deleted, partial, foreign marks."""
    for number, hours in ((1, 0), (2, 0), (3, 60), (4, 0), (5, 0)):
        await world.upload(number, hours=hours)
    await mark_deleted(world.bucket, TENANT, ulid(2), now_ms=world.clock.now_ms())
    await mark_deleted(world.bucket, TENANT, ulid(4), now_ms=world.clock.now_ms())
    await world.bucket.upload(f"{TENANT}/{ulid(6)}/index", b"partial")
    await world.bucket.upload(f"{TENANT}/markers/{ulid(9)}-deletion-mark.json", DeletionMark(ulid(9), 5).encode())
    await world.cleaner().clean(TENANT, KEEP)
    world.clock.pass_hours(25)
    if not fresh_index:
        await world.bucket.delete(f"{TENANT}/bucket-index.json.gz")
    with pytest.raises(Crashed):  # somebody died in the middle of a deletion
        await delete_block(FaultyBucket(world.bucket, crash_after=3), TENANT, ulid(4))
    policy = TenantPolicy(retention_s=80 * 3600)

    async def work(bucket) -> None:
        await world.cleaner(bucket).clean(TENANT, policy)

    async def look() -> None:
        readable = await world.readable()
        assert not fresh_index or {ulid(1), ulid(5)} <= readable
        assert readable <= {ulid(number) for number in (1, 3, 5)} | ({ulid(2)} if not fresh_index else set())

    assert await crash_everywhere(world, work, look) > 10
    for _ in range(3):
        world.clock.pass_hours(13)
        await world.cleaner().clean(TENANT, policy)
    assert await world.readable() == {ulid(1), ulid(5)}
    left = {key.split("/")[1] for key in world.bucket.objects}
    assert left == {ulid(1), ulid(5), "bucket-index.json.gz"}


@pytest.mark.parametrize("seed", range(30))
async def test_a_bucket_that_fails_and_loses_answers(world, seed):
    rng = seeded_rng(seed)
    bucket = FaultyBucket(world.bucket, rng=rng, faults=Faults(fails=0.05, loses=0.05))
    live: set[str] = set()
    for number in range(12):
        world.clock.pass_hours(7)
        await world.upload(number)
        live.add(ulid(number))
        if rng.random() < 0.4:
            going = sorted(live)[rng.randrange(len(live))]
            try:
                await mark_deleted(bucket, TENANT, going, now_ms=world.clock.now_ms())
            except MimirError:
                await mark_deleted(world.bucket, TENANT, going, now_ms=world.clock.now_ms())
            live.discard(going)
        for _ in range(rng.randrange(3)):
            with contextlib.suppress(MimirError):
                await world.cleaner(bucket).clean(TENANT, KEEP)
            for name in await world.readable() & live:
                await world.whole(name)
    bucket.faults = Faults()
    for _ in range(3):
        world.clock.pass_hours(13)
        await world.cleaner().clean(TENANT, KEEP)
    assert await world.readable() == live
    assert {key.split("/")[1] for key in world.bucket.objects} == {*live, "bucket-index.json.gz"}


async def test_a_block_that_cannot_be_deleted_stays_in_the_index(world):
    await world.upload(1)
    await mark_deleted(world.bucket, TENANT, ulid(1), now_ms=START_MS)
    await world.cleaner().clean(TENANT, KEEP)
    world.clock.pass_hours(13)

    class Stuck(FaultyBucket):
        async def delete(self, key):
            if key.endswith("index"):
                raise MimirError("stuck")
            await super().delete(key)

    index = await world.cleaner(Stuck(world.bucket)).clean(TENANT, KEEP)
    assert index is not None
    assert [mark.ulid for mark in index.deletion_marks] == [ulid(1)]
    await world.cleaner().clean(TENANT, KEEP)
    assert world.names(1) == []


async def test_a_tenant_goes_in_phases(world):
    for number in (1, 2):
        await world.upload(number)
    await world.bucket.upload(f"{TENANT}/{ulid(3)}/index", b"partial")
    await mark_no_compact(world.bucket, TENANT, ulid(1), now_ms=START_MS, reason="manual")
    await world.bucket.upload(f"{TENANT}/debug/metas/{ulid(1)}.json", b"")
    await world.bucket.upload(f"other/{ulid(1)}/meta.json", b"")
    await world.cleaner().clean(TENANT, KEEP)
    await mark_tenant_deleted(world.bucket, TENANT, now_ms=START_MS)
    bucket = FaultyBucket(world.bucket)
    assert await world.cleaner(bucket).clean(TENANT, KEEP) is None
    deletes = [key for operation, key in bucket.log if operation == "delete"]
    assert deletes[0] == f"{TENANT}/bucket-index.json.gz"
    assert {key.split("/")[1] for key in world.bucket.objects if key.startswith(TENANT)} == {"markers", "debug"}
    mark = await read_tenant_mark(world.bucket, TENANT)
    assert mark is not None
    assert mark.finished_time_s == START_MS // 1000
    world.clock.pass_hours(5)
    await world.upload(7)  # an ingester still had one
    await world.cleaner().clean(TENANT, KEEP)
    assert world.names(7) == []
    world.clock.pass_hours(5)
    await world.cleaner().clean(TENANT, KEEP)
    assert await list_tenants(world.bucket) == ["other", TENANT]
    world.clock.pass_hours(2)
    await world.cleaner().clean(TENANT, KEEP)
    assert await list_tenants(world.bucket) == ["other"]
    await mark_tenant_deleted(world.bucket, TENANT, now_ms=5)
    await mark_tenant_deleted(world.bucket, TENANT, now_ms=9000)
    mark = await read_tenant_mark(world.bucket, TENANT)
    assert mark is not None
    assert mark.deletion_time_s == 0


async def test_a_crash_in_the_deletion_of_a_tenant(world):
    for number in (1, 2):
        await world.upload(number)
    await world.cleaner().clean(TENANT, KEEP)
    await mark_tenant_deleted(world.bucket, TENANT, now_ms=START_MS)

    async def work(bucket) -> None:
        await world.cleaner(bucket).clean(TENANT, KEEP)

    async def look() -> None:
        assert await world.readable() <= {ulid(1), ulid(2)}

    assert await crash_everywhere(world, work, look) > 5
    world.clock.pass_hours(7)
    await crash_everywhere(world, work, look)
    assert world.bucket.objects == {}


async def test_directories_that_a_store_names_though_nothing_is_in_them(world):
    class Lingering(FaultyBucket):
        async def list_dirs(self, prefix=""):
            found = await super().list_dirs(prefix)
            return sorted({*found, ulid(9)}) if prefix == f"{TENANT}/" else found

    await world.upload(1)
    for _ in range(3):
        world.clock.pass_hours(30)
        index = await world.cleaner(Lingering(world.bucket)).clean(TENANT, KEEP)
        assert index is not None
        assert [block.ulid for block in index.blocks] == [ulid(1)]
    assert world.names(9) == []
    await mark_tenant_deleted(world.bucket, TENANT, now_ms=START_MS)
    for _ in range(2):
        world.clock.pass_hours(7)
        await world.cleaner(Lingering(world.bucket)).clean(TENANT, KEEP)
    assert world.bucket.objects == {}


async def test_tenants(world):
    for name in ("b", "a", "__mimir_cluster", "__markers__", "__mimir_rw_validate_1", "not a tenant"):
        await world.bucket.upload(f"{name}/x/y", b"")
    await world.bucket.upload("user-index.json.gz", b"")
    assert await list_tenants(world.bucket) == ["a", "b"]


async def test_scans_tell_what_compaction_must_not_take(world):
    await world.upload(1)
    await mark_no_compact(world.bucket, TENANT, ulid(1), now_ms=START_MS, reason="manual")
    scan = await scan_tenant(world.bucket, TENANT, old=BucketIndex(), now_ms=START_MS)
    assert (scan.no_compact, scan.new, scan.partial) == ({ulid(1)}, {ulid(1)}, {})
