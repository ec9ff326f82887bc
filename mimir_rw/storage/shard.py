"""Parts of a series set that are series sets themselves: a stretch of rows, and a shard by the hash of labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import LabelFrame, Looks, SampleColumns
from mimir_rw.storage.contract import SeriesSet


@dataclass(frozen=True, slots=True)
class SeriesSlice:
    """Rows [start, end) of a series set, as one; labels: theirs, or what of them is wanted."""

    whole: SeriesSet
    start: int
    end: int
    labels: LabelFrame

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None) -> SampleColumns:
        return self.whole.decode(self.start + start_row, self.start + end_row, mint, maxt, looks)

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return self.whole.sample_count_max(self.start + start_row, self.start + end_row)


@dataclass(frozen=True, slots=True)
class SeriesShard:
    """A `SeriesSet` of the given rows (ascending) of another."""

    whole: SeriesSet
    rows: NDArray[np.int64]
    labels: LabelFrame

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None) -> SampleColumns:
        """Neighbours in the whole set are decoded together."""
        rows = self.rows[start_row:end_row]
        firsts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        ends = np.append(firsts[1:], len(rows))
        parts = [
            self.whole.decode(int(rows[first]), int(rows[end - 1]) + 1, mint, maxt, looks)
            for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)
        ]
        return parts[0] if len(parts) == 1 else SampleColumns.concat(parts)

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return sum(self.whole.sample_count_max(row, row + 1) for row in self.rows[start_row:end_row].tolist())


def shard_of(series: SeriesSet, number: int, shards: int) -> SeriesShard:
    """Shard `number` (from 0) of `shards`; each series is in one of them."""
    rows = np.flatnonzero(series.labels.hashes() % np.uint64(shards) == np.uint64(number)).astype(np.int64)
    return SeriesShard(series, rows, series.labels.take(rows))


def whole_of(series: SeriesSet) -> SeriesSet:
    """The set that a part is of."""
    while isinstance(series, SeriesSlice | SeriesShard):
        series = series.whole
    return series
