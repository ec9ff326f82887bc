"""Whole runs over a bucket in memory: what becomes of blocks, and of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir_rw.bucket.layout import NO_COMPACT_MARK, block_key, meta_key
from mimir_rw.components.compactor.jobs import CompactionJob
from mimir_rw.components.compactor.merge_process import MergeFailed
from mimir_rw.components.compactor.runner import SPACE_SPARE_BYTES
from mimir_rw.formats.markers import DeletionMark
from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.trace import Trace
from tests.unit.components.compactor.bucket_states import HOUR_MS, ulid
from tests.unit.components.compactor.world import TENANT, World, ramp


def run(work):  # type: ignore[no-untyped-def]
    """On a loop that does not really wait."""
    loop = SimLoop(trace=Trace())
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


async def a_day(world: World, replicas: int = 3) -> None:
    for begin in range(0, 24, 2):
        for replica in range(replicas):
            await world.block(f"{chr(97 + begin // 2)}{replica}", begin, ramp(6, begin))


@pytest.mark.parametrize("shards", [0, 3])
def test_a_day_of_replicas_becomes_one_block_of_each_shard(tmp_path: Path, shards: int) -> None:
    world = World(tmp_path, shards=shards)
    run(a_day(world))
    before = world.read(world.live())
    run(world.compaction().run())
    assert world.read(world.live()) == before
    live = [world.meta(name) for name in world.live()]
    assert {meta.shard_id for meta in live} == ({f"{n}_of_3" for n in (1, 2, 3)} if shards else {""})
    assert len(live) == max(1, shards)
    for meta in live:
        assert (meta.min_time, meta.max_time) == (0, 24 * HOUR_MS)
        assert len(meta.compaction.sources) == 36
        assert meta.thanos is not None
        assert [file.path for file in meta.thanos.files] == ["chunks/000001", "index", "meta.json"]
    assert sum(meta.stats.samples for meta in live) == 6 * 48
    assert world.progress.of(TENANT).failure == ""
    assert not list(tmp_path.iterdir()), "scratch is left behind"


def test_the_marks_of_sources_tell_why(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 0, ramp(1, 0)))
    run(world.block("b", 0, ramp(1, 0)))
    run(world.compaction().run())
    (result,) = world.live()
    mark = DeletionMark.decode(world.memory.objects[f"{TENANT}/markers/{ulid('a')}-deletion-mark.json"][0])
    assert (mark.details, mark.deletion_time_s) == (f"compacted to {result}", world.clock.ms // 1000)


def test_blocks_without_samples_give_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 0, {}))
    run(world.block("b", 0, {}))
    run(world.compaction().run())
    assert world.live() == []
    assert world.marked() == {ulid("a"), ulid("b")}


class Halves:
    """One of two compactors: each owns the jobs of its half, and both may think that a job is theirs."""

    def __init__(self, number: int, both: bool = False) -> None:
        self.number = number
        self.both = both

    def shares(self, tenant: str) -> bool:
        return True

    def owns_tenant(self, tenant: str) -> bool:
        return self.number == 0

    def owns_job(self, job: CompactionJob) -> bool:
        return self.both or sum(job.key.encode()) % 2 == self.number


def test_compactors_share_the_jobs_of_a_tenant(tmp_path: Path) -> None:
    world = World(tmp_path / "x", shards=2)
    run(a_day(world, replicas=2))
    before = world.read(world.live())

    async def both() -> None:
        compactors = [world.compaction(Halves(number)) for number in (0, 1)]
        for _ in range(6):
            for compactor in compactors:
                await compactor.run()

    run(both())
    assert world.read(world.live()) == before
    assert len(world.live()) == 2


def test_a_job_done_by_two_at_once_is_harmless(tmp_path: Path) -> None:
    """Both merge before either has marked: two equal results, of which one stays."""
    worlds = [World(tmp_path / "a"), World(tmp_path / "b")]
    worlds[1].memory = worlds[0].memory
    worlds[1].bucket = worlds[0].memory
    worlds[1].rng.random()
    world = worlds[0]
    for name in "ab":
        run(world.block(name, 0, ramp(2, 0)))
    before = world.read(world.live())

    async def at_once() -> None:
        other = worlds[1].compaction()
        (job,) = (await other.look(TENANT)).jobs
        done = []

        def meanwhile() -> None:
            done.append(True)

        world.merger.before = meanwhile
        # The other has fetched and merged; now this one does all of the job.
        store = worlds[1].store()
        sources = [await _fetched(store, job, tmp_path / "c")]
        await world.compaction().run()
        assert done
        result = await _second_result(worlds[1], job, sources[0])
        assert result not in world.marked()

    run(at_once())
    assert len(world.live()) == 2, "each has its result"
    assert world.read(world.live()) == before
    run(world.compaction().run())
    assert len(world.live()) == 1
    assert world.read(world.live()) == before


async def _fetched(store, job: CompactionJob, directory: Path) -> list[Path]:  # type: ignore[no-untyped-def]
    for meta in job.blocks:
        await store.download(job.tenant, meta, directory / meta.ulid)
    return [directory / meta.ulid for meta in job.blocks]


async def _second_result(world: World, job: CompactionJob, sources: list[Path]) -> str:
    """What a compactor uploads that does not see that another was faster."""
    from mimir_rw.components.compactor.merge_process import MergeSource

    output = world.scratch / "second"
    output.mkdir(parents=True)
    whole = [MergeSource(str(path), 0, 1) for path in sources]
    merged = await world.merger.merge(whole, [output])
    meta = job.output_meta(0, ulid("zz")).replaced(stats=merged.outputs[0].block_stats())
    await world.store().upload(job.tenant, output, meta)
    for source in job.blocks:
        await world.store().mark_deleted(job.tenant, source.ulid, "done twice")
    return meta.ulid


# -- bad blocks, bad days ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["index", "size", "gone"])
def test_a_block_that_cannot_be_read_is_set_aside_and_named(tmp_path: Path, damage: str) -> None:
    world = World(tmp_path)
    for name in "abc":
        run(world.block(name, 0, ramp(2, 0)))
    before = world.read([ulid("a"), ulid("c")])
    index = block_key(TENANT, ulid("b"), "index")
    data = world.memory.objects[index][0]
    if damage == "gone":
        del world.memory.objects[index]
    else:
        world.memory.objects[index] = ((b"!" + data[1:] if damage == "index" else data[:-1]), 0)
    run(world.compaction().run())
    assert world.marked(NO_COMPACT_MARK) == {ulid("b")}
    assert world.marked() == {ulid("a"), ulid("c")}
    assert ulid("b") in world.live(), "it is served as far as it can be"
    (result,) = set(world.live()) - {ulid("b")}
    assert world.read([result]) == before
    assert ulid("b") in world.progress.of(TENANT).set_aside
    assert world.progress.of(TENANT).failure == ""


def test_a_meta_that_cannot_be_read_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name in "abc":
        run(world.block(name, 0, ramp(2, 0)))
    world.memory.objects[meta_key(TENANT, ulid("b"))] = (b'{"version": 1, "ulid', 0)
    run(world.compaction().run())
    assert world.marked() == {ulid("a"), ulid("c")}
    assert list(world.progress.of(TENANT).broken) == [ulid("b")]


def test_a_job_that_fails_is_tried_again_and_then_left_to_the_next_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name in "ab":
        run(world.block(name, 0, ramp(2, 0)))

    def crash() -> None:
        raise MergeFailed("the process was killed by signal 9")

    world.merger.before = crash
    run(world.compaction(tries=3).run())
    assert world.merger.merges == 3
    assert world.marked() == set()
    assert world.progress.of(TENANT).failure == "the process was killed by signal 9"
    assert not list(tmp_path.iterdir())
    world.merger.before = lambda: None
    run(world.compaction().run())
    assert len(world.live()) == 1


def test_one_bad_job_does_not_stop_the_others(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name, begin in (("a", 0), ("b", 0), ("c", 100), ("d", 100)):
        run(world.block(name, begin, ramp(2, begin)))

    def crash_at_first() -> None:
        if world.merger.merges % 2 == 1:
            raise MergeFailed("no")

    world.merger.before = crash_at_first
    run(world.compaction(tries=1).run())
    assert world.marked() == {ulid("c"), ulid("d")}


def test_a_job_that_has_no_room_is_not_begun(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name in "ab":
        run(world.block(name, 0, ramp(2, 0)))
    world.free = SPACE_SPARE_BYTES
    run(world.compaction(tries=1).run())
    assert world.merger.merges == 0
    assert "scratch space" in world.progress.of(TENANT).failure


def test_a_source_marked_meanwhile_ends_the_job(tmp_path: Path) -> None:
    """Somebody wants its samples gone: they must not come back in a result."""
    world = World(tmp_path)
    for name in "ab":
        run(world.block(name, 0, ramp(2, 0)))

    def mark() -> None:
        world.memory.objects[f"{TENANT}/markers/{ulid('b')}-deletion-mark.json"] = (b"{}", 0)

    world.merger.before = mark
    run(world.compaction().run())
    assert world.live() == [ulid("a")]


def test_a_merge_that_loses_samples_is_not_believed(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name in "ab":
        run(world.block(name, 0, ramp(2, 0)))
    meta = world.meta(ulid("b"))
    more = meta.replaced(stats=meta.stats.__class__(samples=1000, floats=1000, series=2, chunks=2))
    world.memory.objects[meta_key(TENANT, ulid("b"))] = (more.encode(), 0)
    run(world.compaction(tries=1).run())
    assert world.marked() == set()
    assert "the merge gave" in world.progress.of(TENANT).failure


def test_a_tenant_marked_for_deletion_is_left_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name in "ab":
        run(world.block(name, 0, ramp(2, 0)))
    world.memory.objects[f"{TENANT}/markers/tenant-deletion-mark.json"] = (b"{}", 0)
    run(world.compaction().run())
    assert world.merger.merges == 0


# -- crashes ----------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone."""


class CrashingBucket:
    """Dies at the operation with a number: before it is done, or right after."""

    def __init__(self, inner, at: int, done: bool) -> None:  # type: ignore[no-untyped-def]
        self._inner = inner
        self._at = at
        self._done = done
        self.count = 0

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        real = getattr(self._inner, name)
        if name not in ("upload", "upload_file", "delete", "download", "get"):
            return real

        async def counted(*args: object, **more: object) -> object:
            self.count += 1
            if self.count == self._at and not self._done:
                raise Crash
            number = self.count
            try:
                return await real(*args, **more)
            finally:
                if number == self._at:
                    raise Crash

        return counted


def crashes(world: World) -> bool:
    """Run; whether it died on the way."""
    try:
        run(world.compaction().run())
    except Crash:
        return True
    except BaseExceptionGroup as group:
        return group.subgroup(Crash) is not None
    return False


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("shards", [0, 2])
def test_a_crash_between_any_two_operations_loses_and_doubles_nothing(tmp_path: Path, shards: int, done: bool) -> None:
    crashed = 0
    for at in range(1, 400):
        world = World(tmp_path / str(at), shards=shards)
        for name, begin in (("a", 0), ("b", 0), ("c", 2)):
            run(world.block(name, begin, ramp(5, begin)))
        before = world.read(world.live())
        world.bucket = CrashingBucket(world.memory, at, done)  # type: ignore[assignment]
        if not crashes(world):
            break
        crashed += 1
        assert world.read(world.live()) == before, f"lost after operation {at}"
        assert world.read(world.ulids()) == before, f"blocks differ after operation {at}"
        world.bucket = world.memory
        run(world.compaction().run())
        assert world.read(world.live()) == before, f"lost after the restart, crash at {at}"
        shares = [world.meta(name).shard_id for name in world.live()]
        assert len(shares) == len(set(shares)) == max(1, shards), f"not finished, crash at {at}"
    else:
        pytest.fail("the run has no end")
    assert crashed > 20
