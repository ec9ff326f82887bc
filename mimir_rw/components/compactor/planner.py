"""Which jobs a tenant's blocks call for, and which blocks are superfluous. Pure.

Split and merge (bucket-layout.md 11): blocks are sorted into windows aligned to the block ranges, smallest range first.
With shards, blocks without one are split in the windows of the smallest range, in groups chosen by the hash of their
names. In the windows of every range the blocks of one shard (or of none) and one set of external labels are merged,
replicas and neighbours alike. A window is taken once it is complete; a job that could still get sources from another
job of the same plan is left for a later plan. Each job leaves fewer blocks, or fewer blocks without a shard: plans end.

A block is superfluous when others hold all of its sources. That is what is left behind by a compactor that died, or by
two that did one job: whatever is left of either, the next plan puts right. Blocks marked no-compact neither take part
nor stand in for others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mimir_rw.components.compactor.jobs import CompactionJob, Stage, StoredBlock, group_labels, shard_id, sources_of
from mimir_rw.formats.ulid import ulid_bytes
from mimir_rw.ring.hashes import fnv1

OLDEST_FIRST = "smallest-range-oldest-blocks-first"
NEWEST_FIRST = "newest-blocks-first"
JOB_ORDERS = (OLDEST_FIRST, NEWEST_FIRST)

Group = tuple[tuple[str, str], ...]
"""External labels without the shard, sorted."""


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    ranges_ms: tuple[int, ...]
    """Ascending; each a multiple of the one before."""
    shards: int = 0
    """Blocks are split into so many by series; 0: not at all."""
    split_groups: int = 1
    first_level_wait_ms: int = 0
    """How long blocks of ingesters lie before they are compacted, so that those of all ingesters come together."""
    lookback_ms: int = 0
    """Blocks uploaded longer ago are left alone; 0: none is."""
    order: str = OLDEST_FIRST


@dataclass(frozen=True, slots=True)
class WaitingJob:
    job: CompactionJob
    ready_ms: int
    """When it will be done at the latest, if nothing else changes."""


@dataclass(frozen=True, slots=True)
class RedundantBlock:
    ulid: str
    covered_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    jobs: tuple[CompactionJob, ...] = ()
    """In the order in which they are to be done. No block is in two of them."""
    waiting: tuple[WaitingJob, ...] = ()
    """Planned, but younger than the first-level wait."""
    redundant: tuple[RedundantBlock, ...] = ()
    """To be marked for deletion: not in any job."""


def plan(tenant: str, blocks: Iterable[StoredBlock], settings: PlannerSettings, now_ms: int) -> Plan:
    """blocks: all whole blocks of the tenant that are not marked for deletion, in any order."""
    usable = sorted(
        (block for block in blocks if not block.no_compact and _raw(block)),
        key=lambda block: (block.meta.min_time, block.ulid),
    )
    redundant = redundant_blocks(usable)
    gone = {each.ulid for each in redundant}
    usable = [block for block in usable if block.ulid not in gone]
    newest = max((block.meta.max_time for block in usable), default=0)
    if settings.lookback_ms:
        usable = [block for block in usable if block.uploaded_ms >= now_ms - settings.lookback_ms]
    uploaded = {block.ulid: block.uploaded_ms for block in usable}
    jobs, waiting = [], []
    for job in _jobs(tenant, usable, settings, _completeness(settings, newest, now_ms)):
        ready_ms = _ready_ms(job, uploaded, settings)
        if ready_ms > now_ms:
            waiting.append(WaitingJob(job, ready_ms))
        else:
            jobs.append(job)
    jobs.sort(key=_newest_first if settings.order == NEWEST_FIRST else _oldest_first)
    return Plan(tuple(jobs), tuple(waiting), redundant)


# -- jobs -------------------------------------------------------------------------------------------------------------


def _raw(block: StoredBlock) -> bool:
    return block.meta.thanos is None or block.meta.thanos.resolution == 0


def _completeness(settings: PlannerSettings, newest: int, now_ms: int) -> Callable[[int], bool]:
    """Whether no block is to be expected any more in a window that ends at a time: there are newer blocks, or (the
    tenant sends no longer) two of the smallest ranges have passed since. Should one come all the same, it is merged
    into what is there."""
    horizon = max(newest, now_ms - 2 * settings.ranges_ms[0])
    return lambda end: end <= horizon


def _jobs(
    tenant: str, blocks: Sequence[StoredBlock], settings: PlannerSettings, complete: Callable[[int], bool]
) -> Iterator[CompactionJob]:
    """Jobs of all groups that do not get in one another's way, smallest range first."""
    groups: defaultdict[Group, list[StoredBlock]] = defaultdict(list)
    for block in blocks:
        groups[tuple(sorted(group_labels(block.meta).items()))].append(block)
    for group, members in sorted(groups.items()):
        planned: list[CompactionJob] = []
        for number, range_ms in enumerate(settings.ranges_ms):
            for start, window in _windows(members, range_ms):
                end = start + range_ms
                if not complete(end):
                    continue
                found = list(_split_jobs(tenant, group, start, end, window, settings)) if number == 0 else []
                found += _merge_jobs(tenant, group, start, end, window)
                for job in found:
                    if not any(_collide(job, other) for other in planned):
                        planned.append(job)
        yield from planned


def _windows(blocks: Sequence[StoredBlock], range_ms: int) -> list[tuple[int, list[StoredBlock]]]:
    """(start, blocks) of the aligned windows, oldest first; blocks that do not fit into one are left out."""
    windows: defaultdict[int, list[StoredBlock]] = defaultdict(list)
    for block in blocks:
        start = block.meta.min_time // range_ms * range_ms
        if block.meta.max_time <= start + range_ms:
            windows[start].append(block)
    return sorted(windows.items())


def _split_jobs(
    tenant: str, group: Group, start: int, end: int, window: Sequence[StoredBlock], settings: PlannerSettings
) -> Iterator[CompactionJob]:
    """One for each split group that has blocks without a shard, even for a single block."""
    if not settings.shards:
        return
    groups: defaultdict[int, list[StoredBlock]] = defaultdict(list)
    count = max(1, settings.split_groups)
    for block in window:
        if not block.meta.shard_id:
            groups[fnv1(ulid_bytes(block.ulid)) % count].append(block)
    for number, members in sorted(groups.items()):
        yield CompactionJob(
            tenant=tenant,
            stage=Stage.SPLIT,
            range_start=start,
            range_end=end,
            blocks=tuple(block.meta for block in members),
            shard=shard_id(number, count),
            shards=settings.shards,
            labels=dict(group),
        )


def _merge_jobs(
    tenant: str, group: Group, start: int, end: int, window: Sequence[StoredBlock]
) -> Iterator[CompactionJob]:
    shards: defaultdict[str, list[StoredBlock]] = defaultdict(list)
    for block in window:
        shards[block.meta.shard_id].append(block)
    for shard, members in sorted(shards.items()):
        if len(members) > 1:
            yield CompactionJob(
                tenant=tenant,
                stage=Stage.MERGE,
                range_start=start,
                range_end=end,
                blocks=tuple(block.meta for block in members),
                shard=shard,
                labels=dict(group),
            )


def _collide(job: CompactionJob, earlier: CompactionJob) -> bool:
    """Whether the earlier job takes a source of this one, or makes another source for it."""
    if job.range_end <= earlier.range_start or earlier.range_end <= job.range_start:
        return False
    if job.stage is Stage.SPLIT:  # other split groups of the window take other blocks
        return False
    return earlier.stage is Stage.SPLIT or earlier.shard == job.shard


def _ready_ms(job: CompactionJob, uploaded: Mapping[str, int], settings: PlannerSettings) -> int:
    """When the sources have lain long enough; out-of-order blocks come when they come and are not waited for. Twice the
    wait after the first of them the job is done whatever came since: late blocks must not put it off for ever."""
    fresh = [uploaded[meta.ulid] for meta in job.blocks if meta.compaction.level <= 1 and not meta.out_of_order]
    if not fresh or not settings.first_level_wait_ms or job.range_ms > settings.ranges_ms[0]:
        return 0
    return min(max(fresh) + settings.first_level_wait_ms, min(fresh) + 2 * settings.first_level_wait_ms)


def _oldest_first(job: CompactionJob) -> tuple[int, int, bool, str]:
    return (job.range_ms, job.range_start, job.stage is Stage.MERGE, job.key)


def _newest_first(job: CompactionJob) -> tuple[int, int, bool, str]:
    return (-job.range_end, job.range_ms, job.stage is Stage.MERGE, job.key)


# -- superfluous blocks -----------------------------------------------------------------------------------------------


def redundant_blocks(blocks: Sequence[StoredBlock]) -> tuple[RedundantBlock, ...]:
    """Blocks all of whose sources are in another block of the same shard and labels, or in one of each shard.

    Of blocks with equal sources the one named first stays, so that two compactors that look at the same moment agree,
    and what stays holds all that goes: a cover that goes itself has a cover that stays.
    """
    found: dict[str, RedundantBlock] = {}
    groups: defaultdict[tuple[Group, str], list[StoredBlock]] = defaultdict(list)
    for block in blocks:
        groups[tuple(sorted(group_labels(block.meta).items())), block.meta.shard_id].append(block)
    for members in groups.values():
        for block, cover in _covered(members):
            found[block.ulid] = RedundantBlock(block.ulid, (cover.ulid,))
    for (group, shard), members in groups.items():
        if not shard:
            for block in members:
                covers = _shards_over(block, group, groups)
                if covers and block.ulid not in found:
                    found[block.ulid] = RedundantBlock(block.ulid, covers)
    return tuple(found[ulid] for ulid in sorted(found))


def _covered(members: Sequence[StoredBlock]) -> Iterator[tuple[StoredBlock, StoredBlock]]:
    """(block, another that holds its sources) among blocks of one shard."""
    by_source: defaultdict[str, list[StoredBlock]] = defaultdict(list)
    for block in members:
        for source in sources_of(block.meta):
            by_source[source].append(block)
    for block in members:
        sources = sources_of(block.meta)
        for other in by_source[min(sources)]:
            theirs = sources_of(other.meta)
            if other.ulid != block.ulid and (
                sources < theirs or (sources == theirs and other.ulid < block.ulid and _as_wide(other, block))
            ):
                yield block, other
                break


def _as_wide(cover: StoredBlock, block: StoredBlock) -> bool:
    return cover.meta.min_time <= block.meta.min_time and block.meta.max_time <= cover.meta.max_time


def _shards_over(
    block: StoredBlock, group: Group, groups: Mapping[tuple[Group, str], Sequence[StoredBlock]]
) -> tuple[str, ...]:
    """One block of each shard of some number that holds the sources of a block without a shard; () if there is none.
    An empty shard has no block: then its sources are split once more, which does no harm."""
    sources = sources_of(block.meta)
    holders: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for (labels, shard), members in groups.items():
        of = shard.partition("_of_")[2]
        if labels == group and of.isdecimal():
            for other in members:
                if sources <= sources_of(other.meta):
                    holders[int(of)].setdefault(shard, other.ulid)
    for count, found in sorted(holders.items()):
        if all(shard_id(number, count) in found for number in range(count)):
            return tuple(sorted(found.values()))
    return ()
