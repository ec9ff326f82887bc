"""The data of a running script, in memory: loads add up until it is cleared. Not thread-safe while loading."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import CompiledMatcher, HistogramColumn, LabelFrame, Looks, SampleColumns
from mimir_rw.model.labels import Matcher
from mimir_rw.promql.script.commands import Labels, Load, LoadedSeries, Marker
from mimir_rw.promql.script.histograms import (
    STALE_BITS,
    custom_bucket_histograms,
    parts_of_points,
    stored_hints,
)
from mimir_rw.storage.contract import SelectHints, SeriesSet

if TYPE_CHECKING:
    from mimir_rw._native import HistogramParts

Stored: TypeAlias = Union[int, "HistogramParts"]
"""The bits of a float, or a histogram."""


class ScriptStorage:
    """A Queryable over what was loaded."""

    def __init__(self) -> None:
        self._samples: dict[Labels, dict[int, Stored]] = {}
        self._starts: dict[Labels, dict[int, int]] = {}

    def load(self, command: Load) -> None:
        """A later point at an equal time replaces the earlier one. ValueError: histograms that do not add up."""
        for series in command.series:
            self._load_series(series, command.step_ms)
        if command.with_nhcb:
            for labels, samples in custom_bucket_histograms(command.series, command.step_ms).items():
                self._samples.setdefault(labels, {}).update(samples)

    def _load_series(self, series: LoadedSeries, step_ms: int) -> None:
        samples: dict[int, Stored] = {}
        for index, histogram in enumerate(parts_of_points(series.points)):
            point = series.points[index]
            if histogram is not None:
                samples[index * step_ms] = histogram
            elif isinstance(point, Marker):
                samples[index * step_ms] = STALE_BITS
            elif isinstance(point, float):
                samples[index * step_ms] = _bits(point)
        if samples:
            self._samples.setdefault(series.labels, {}).update(samples)
        for index, offset in enumerate(series.start_offsets):
            if offset is not None:
                self._starts.setdefault(series.labels, {})[index * step_ms] = index * step_ms + offset

    async def select(self, matchers: Sequence[Matcher], hints: SelectHints) -> SeriesSet:
        found = sorted(_matching(self._samples, matchers))
        frame = LabelFrame.from_rows([dict(labels) for labels in found])
        return _LoadedSet(frame, [_columns(self._samples[one], self._starts.get(one, {})) for one in found])

    async def label_names(self, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return sorted({name for labels in _matching(self._samples, matchers) for name, _ in labels})

    async def label_values(self, name: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        found = (dict(labels).get(name) for labels in _matching(self._samples, matchers))
        return sorted({value for value in found if value is not None})


@dataclass(frozen=True, slots=True)
class _LoadedSet:
    """rows: the columns of each series."""

    labels: LabelFrame
    rows: list[SampleColumns]

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None) -> SampleColumns:
        return SampleColumns.concat([_cut(row, mint, maxt) for row in self.rows[start_row:end_row]])

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return sum(row.sample_count + row.histogram_count for row in self.rows[start_row:end_row])


def _columns(samples: Mapping[int, Stored], starts: Mapping[int, int]) -> SampleColumns:
    """One series."""
    times = sorted(samples)
    row = [samples[t] for t in times]
    floats = [(t, value) for t, value in zip(times, row, strict=True) if isinstance(value, int)]
    hinted = stored_hints([None if isinstance(value, int) else value for value in row])
    histograms = [(t, parts) for t, parts in zip(times, hinted, strict=True) if parts is not None]
    float_ts, histogram_ts = [t for t, _ in floats], [t for t, _ in histograms]
    columns = SampleColumns(
        np.array([0, len(floats)]),
        np.array(float_ts, dtype=np.int64),
        np.array([bits for _, bits in floats], dtype=np.uint64).view(np.float64),
        start_ts=_start_times(float_ts, starts),
    )
    column = HistogramColumn.from_parts([parts for _, parts in histograms])
    offsets, ts = np.array([0, len(histograms)]), np.array(histogram_ts, dtype=np.int64)
    return columns.with_histograms(offsets, ts, column, start_ts=_start_times(histogram_ts, starts))


def _start_times(ts: list[int], starts: Mapping[int, int]) -> NDArray[np.int64] | None:
    return np.array([starts.get(t, 0) for t in ts], dtype=np.int64) if starts else None


def _cut(row: SampleColumns, mint: int, maxt: int) -> SampleColumns:
    """The samples of one series with mint <= t <= maxt."""
    floats, histograms = _within(row.ts, mint, maxt), _within(row.histogram_ts, mint, maxt)
    start_ts, histogram_start_ts = row.start_ts, row.histogram_start_ts
    columns = SampleColumns(
        np.array([0, len(floats)]),
        row.ts[floats],
        row.values[floats],
        start_ts=None if start_ts is None else start_ts[floats],
    )
    return columns.with_histograms(
        np.array([0, len(histograms)]),
        row.histogram_ts[histograms],
        row.histogram_column.take(histograms),
        start_ts=None if histogram_start_ts is None else histogram_start_ts[histograms],
    )


def _within(ts: NDArray[np.int64], mint: int, maxt: int) -> NDArray[np.int64]:
    return np.flatnonzero((ts >= mint) & (ts <= maxt)).astype(np.int64)


def _bits(value: float) -> int:
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits


def _matching(series: Iterable[Labels], matchers: Sequence[Matcher]) -> Iterable[Labels]:
    tests = [(matcher.name, CompiledMatcher(*matcher.as_tuple()).matches) for matcher in matchers]
    for labels in series:
        values = dict(labels)
        if all(test(values.get(name, "")) for name, test in tests):
            yield labels
