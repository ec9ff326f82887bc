"""The data of a running script, in memory: loads add up until it is cleared. Not thread-safe while loading."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import CompiledMatcher, LabelFrame, SampleColumns
from mimir_rw.model.labels import Matcher
from mimir_rw.promql.script.commands import HistogramPoint, Labels, Load, LoadedSeries, Marker
from mimir_rw.storage.contract import SelectHints, SeriesSet

STALE_BITS = 0x7FF0000000000002
CLASSIC_SUFFIXES = ("_bucket", "_count", "_sum")


class ScriptStorage:
    """A Queryable over what was loaded. Histogram points are counted but not kept."""

    def __init__(self) -> None:
        self._samples: dict[Labels, dict[int, int]] = {}  # value bits by time
        self._histograms: set[Labels] = set()
        self._starts: set[Labels] = set()

    def load(self, command: Load) -> None:
        """A later point at an equal time replaces the earlier one."""
        for series in command.series:
            self._load_series(series, command.step_ms)
            if any(offset is not None for offset in series.start_offsets):
                self._starts.add(series.labels)
        if command.with_nhcb:
            self._histograms.update(_custom_bucket_series(command.series))

    def _load_series(self, series: LoadedSeries, step_ms: int) -> None:
        samples: dict[int, int] = {}
        for index, point in enumerate(series.points):
            if isinstance(point, HistogramPoint):
                self._histograms.add(series.labels)
            elif point is not None:
                samples[index * step_ms] = STALE_BITS if isinstance(point, Marker) else _bits(point)
        if samples:
            self._samples.setdefault(series.labels, {}).update(samples)

    def histograms_match(self, matchers: Sequence[Matcher]) -> bool:
        """Whether a loaded series with native histograms would be selected."""
        return any(True for _ in _matching(self._histograms, matchers))

    def starts_match(self, matchers: Sequence[Matcher]) -> bool:
        """Whether a loaded series with start timestamps would be selected."""
        return any(True for _ in _matching(self._starts, matchers))

    async def select(self, matchers: Sequence[Matcher], hints: SelectHints) -> SeriesSet:
        found = sorted(_matching(self._samples, matchers))
        rows = [sorted(self._samples[labels].items()) for labels in found]
        offsets = np.cumsum([0] + [len(row) for row in rows], dtype=np.int64)
        ts = np.array([t for row in rows for t, _ in row], dtype=np.int64)
        bits = np.array([value for row in rows for _, value in row], dtype=np.uint64)
        frame = LabelFrame.from_rows([dict(labels) for labels in found])
        return _LoadedSet(frame, offsets, ts, bits.view(np.float64))

    async def label_names(self, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return sorted({name for labels in _matching(self._samples, matchers) for name, _ in labels})

    async def label_values(self, name: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        found = (dict(labels).get(name) for labels in _matching(self._samples, matchers))
        return sorted({value for value in found if value is not None})


@dataclass(frozen=True, slots=True)
class _LoadedSet:
    labels: LabelFrame
    offsets: NDArray[np.int64]
    ts: NDArray[np.int64]
    values: NDArray[np.float64]

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int) -> SampleColumns:
        first, last = int(self.offsets[start_row]), int(self.offsets[end_row])
        ts = self.ts[first:last]
        inside = (ts >= mint) & (ts <= maxt)
        kept = np.concatenate([[0], np.cumsum(inside)])
        offsets = kept[self.offsets[start_row : end_row + 1] - first].astype(np.int64)
        return SampleColumns(offsets, ts[inside], self.values[first:last][inside])

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return int(self.offsets[end_row] - self.offsets[start_row])


def _bits(value: float) -> int:
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits


def _matching(series: Iterable[Labels], matchers: Sequence[Matcher]) -> Iterable[Labels]:
    tests = [(matcher.name, CompiledMatcher(*matcher.as_tuple()).matches) for matcher in matchers]
    for labels in series:
        values = dict(labels)
        if all(test(values.get(name, "")) for name, test in tests):
            yield labels


def _custom_bucket_series(series: Iterable[LoadedSeries]) -> Iterable[Labels]:
    """Label sets of the histograms that load_with_nhcb makes of classic ones."""
    for one in series:
        name = dict(one.labels).get("__name__", "")
        suffix = next((suffix for suffix in CLASSIC_SUFFIXES if name.endswith(suffix)), None)
        if suffix is not None:
            labels = {**dict(one.labels), "__name__": name.removesuffix(suffix)}
            labels.pop("le", None)
            yield tuple(sorted(labels.items()))
