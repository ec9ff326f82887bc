"""Contract between the query engine and data: Queryable, SeriesSet.

A `Queryable` is bound to one tenant and one time range. `select` is awaited on the event loop and gathers chunk
references; the returned `SeriesSet` is then read from an Offload thread, where decoding happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mimir_rw._native import EncodedSeriesSet, HeadSeriesSet, LabelFrame, Looks, MergedSeriesSet, SampleColumns
from mimir_rw.model.labels import Matcher


@dataclass(frozen=True, slots=True)
class SelectHints:
    """Advice about one selector; storage may ignore it. Times are int ms, both ends inclusive."""

    mint: int
    maxt: int
    step_ms: int = 0
    range_ms: int = 0
    func: str = ""
    grouping: tuple[str, ...] = ()
    by: bool = False


class SeriesSet(Protocol):
    """Series in label order, chunks still encoded. Immutable; safe to read from any one thread at a time."""

    @property
    def labels(self) -> LabelFrame:
        """One row a series, sorted by label set, no two rows equal."""
        ...

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None) -> SampleColumns:
        """Decode the samples of rows [start_row, end_row) with mint <= t <= maxt (ms), ascending and unique in time
        within a row, stale markers included. May block for CPU time; never for I/O on the event loop.

        looks: the histograms that will be looked at; of others only time, schema and what they tell of counter resets
        need be right. A set may ignore it."""
        ...

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        """Upper bound of the samples that `decode` of these rows could give (for memory accounting)."""
        ...


NativeSeriesSet = HeadSeriesSet | EncodedSeriesSet | MergedSeriesSet
"""Series sets of the native core: they merge in one kernel, and their rows become parts for another process."""
NATIVE_SETS = (HeadSeriesSet, EncodedSeriesSet, MergedSeriesSet)


class Queryable(Protocol):
    async def select(self, matchers: Sequence[Matcher], hints: SelectHints) -> SeriesSet:
        """All series of the tenant that match every matcher and may have a sample within hints.mint..maxt.

        Raises LimitExceeded for a query over its limits, Unavailable when a source is missing: never a partial set.
        """
        ...

    async def label_names(self, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        """Sorted."""
        ...

    async def label_values(self, name: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        """Sorted."""
        ...
