"""Series in memory behind the `Queryable` contract, for tests of the engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from mimir_rw._native import CompiledMatcher, LabelFrame, Looks, SampleColumns
from mimir_rw.model.labels import Matcher
from mimir_rw.storage.contract import SelectHints

Samples = Sequence[tuple[int, float]]


class MemorySeries:
    """A fixed set of series; see `SeriesSet`."""

    def __init__(self, rows: Sequence[tuple[Mapping[str, str], Samples]]) -> None:
        frame = LabelFrame.from_rows([dict(labels) for labels, _ in rows])
        order = frame.sort_order()
        self.labels = frame.take(order)
        self._samples = [rows[i][1] for i in order]

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None) -> SampleColumns:
        picked = [[s for s in samples if mint <= s[0] <= maxt] for samples in self._samples[start_row:end_row]]
        offsets = np.cumsum([0, *(len(samples) for samples in picked)])
        flat = [sample for samples in picked for sample in samples]
        return SampleColumns(
            offsets.astype(np.int64),
            np.array([t for t, _ in flat], dtype=np.int64),
            np.array([v for _, v in flat], dtype=np.float64),
        )

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return sum(len(samples) for samples in self._samples[start_row:end_row])


class MemoryQueryable:
    """`selects` records what was asked for."""

    def __init__(self, rows: Sequence[tuple[Mapping[str, str], Samples]]) -> None:
        self._rows = rows
        self.selects: list[tuple[tuple[Matcher, ...], SelectHints]] = []

    async def select(self, matchers: Sequence[Matcher], hints: SelectHints) -> MemorySeries:
        self.selects.append((tuple(matchers), hints))
        tests = [CompiledMatcher(*m.as_tuple()) for m in matchers]
        return MemorySeries([row for row in self._rows if all(t.matches(row[0].get(t.name, "")) for t in tests)])

    async def label_names(self, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return sorted({name for labels, _ in self._rows for name in labels})

    async def label_values(self, name: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return sorted({labels[name] for labels, _ in self._rows if name in labels})


def series(text: str, interval_ms: int = 60_000) -> tuple[dict[str, str], list[tuple[int, float]]]:
    """`name{a="b"} 1 2 _ 3`: points from time 0 on, `_` for none."""
    head, _, points = text.partition("} ") if "}" in text else text.partition(" ")
    name, _, pairs = head.partition("{")
    labels = {"__name__": name} if name else {}
    labels |= dict(re.findall(r'(\w+)="([^"]*)"', pairs))
    values = [(i * interval_ms, float(p)) for i, p in enumerate(points.split()) if p != "_"]
    return labels, values
