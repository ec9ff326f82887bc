"""Which source has what of a query's range: ingesters the new, the store the old (docs/store-gateway.md). Pure.

    store ────────────────────────────┤ now - query_store_after
               now - query_ingesters_within ├──────────────────── ingesters

The two overlap. A range that an ingester has handed over is asked of the store too, however new it is. A bucket index
that is too old still has all blocks that were there when it was written, so it proves what had to be in the bucket by
then; the rest must be with the ingesters, or the query fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.model.errors import Unavailable
from mimir_rw.model.stored_range import StoredRange

NO_INDEX = BucketIndex()


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """store_after_ms: the store is not asked for newer samples; 0: for all. shipped_within_ms: a sample is in the index
    that long after its time at the latest, if all is well. stale_ms: a younger index is as good as new. stale_ms_max:
    an older one may name blocks that are gone. ignore_marks_after_ms: blocks marked so long ago are not asked for."""

    store_after_ms: int
    shipped_within_ms: int
    stale_ms: int
    stale_ms_max: int
    ignore_marks_after_ms: int


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """ingesters: whether they are asked. blocks: ULIDs that the store is asked for, mint..maxt. stale: the index is
    older than it should be."""

    ingesters: bool
    blocks: tuple[str, ...] = ()
    mint: int = 0
    maxt: int = 0
    stale: bool = False


def stored_ranges(
    mint: int,
    maxt: int,
    *,
    now_ms: int,
    ingesters_within_ms: int,
    settings: SourceSettings,
    handed_over: Sequence[StoredRange],
) -> list[tuple[int, int]]:
    """Parts of mint..maxt that the store is asked for, both ends inclusive. A tenant whose ingesters_within_ms is less
    than the store's bound has the store asked up to there."""
    after_ms = settings.store_after_ms
    if ingesters_within_ms:
        after_ms = min(after_ms, ingesters_within_ms)
    until = min(maxt, now_ms - after_ms) if after_ms else maxt
    ranges = [(mint, until)] if mint <= until else []
    return ranges + [
        (max(mint, each.mint), min(maxt, each.maxt)) for each in handed_over if each.mint <= maxt and mint <= each.maxt
    ]


def plan_sources(
    mint: int,
    maxt: int,
    *,
    now_ms: int,
    ingesters_within_ms: int,
    settings: SourceSettings,
    ranges: Sequence[tuple[int, int]],
    index: BucketIndex,
    unshipped_from_ms: int | None = None,
) -> SourcePlan:
    """ranges: of `stored_ranges`. unshipped_from_ms: from when on ingesters may have what no block has. index: one of
    time 0 says that the tenant has no blocks. Raises Unavailable when the index is too old and ingesters do not have
    what it may lack."""
    ingesters_from = now_ms - ingesters_within_ms if ingesters_within_ms else None
    asked = ingesters_from is None or maxt >= ingesters_from
    asked = asked or (unshipped_from_ms is not None and maxt >= unshipped_from_ms)
    if not index.updated_at_s or not ranges:
        return SourcePlan(ingesters=asked)
    first, last = min(start for start, _ in ranges), max(end for _, end in ranges)
    age_ms = now_ms - index.updated_at_s * 1000
    stale = age_ms > settings.stale_ms
    if stale:
        proved = index.updated_at_s * 1000 - settings.shipped_within_ms
        # A sample between the two may be in neither.
        gap = ingesters_from is not None and ingesters_from > proved + 1
        if age_ms > settings.stale_ms_max or (gap and _within(ranges, proved + 1, ingesters_from or 0)):
            raise too_old(age_ms)
        asked = asked or maxt > proved
    dead = _marked_before(index, now_ms - settings.ignore_marks_after_ms)
    blocks = tuple(
        block.ulid
        for block in index.blocks
        if block.ulid not in dead and any(block.within(start, end) for start, end in ranges)
    )
    return SourcePlan(asked, blocks, first, last, stale)


def too_old(age_ms: int) -> Unavailable:
    return Unavailable(
        f"the bucket index is too old: it was last updated {age_ms // 60_000} minutes ago",
        error_id="bucket-index-too-old",
    )


def _within(ranges: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Whether any of start..end-1 is in a range."""
    return any(first < end and start <= last for first, last in ranges)


def _marked_before(index: BucketIndex, before_ms: int) -> frozenset[str]:
    return frozenset(mark.ulid for mark in index.deletion_marks if mark.deletion_time_s * 1000 < before_ms)
