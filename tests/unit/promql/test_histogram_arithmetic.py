"""Arithmetic of native histograms against a plain twin, which has a count for each bucket that is not empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw._native import HistogramColumn, histogram_add

if TYPE_CHECKING:
    from mimir_rw._native import HistogramParts

CUSTOM = -53
COUNTS = st.integers(0, 9)


@dataclass(frozen=True)
class Twin:
    """Bounds of exponential buckets of schema 0 and below are powers of two: exact floats."""

    schema: int
    threshold: float
    zero: float
    positive: dict[int, float]
    negative: dict[int, float]
    bounds: tuple[float, ...] = ()

    def parts(self) -> HistogramParts:
        total = self.zero + sum(self.positive.values()) + sum(self.negative.values())
        sides = _side(self.positive), _side(self.negative)
        return (0, self.schema, self.threshold, self.zero, total, 2 * total, *sides, list(self.bounds))

    def upper(self, index: int) -> float:
        return float(2.0 ** (index * 2.0**-self.schema))

    def reduced(self, schema: int) -> Twin:
        by = self.schema - schema
        return Twin(schema, self.threshold, self.zero, _merge(self.positive, by), _merge(self.negative, by))

    def widened(self, threshold: float) -> Twin:
        """With a zero bucket that is at least as wide, and ends in no populated bucket."""
        sides = (self.positive, self.negative)
        while cut := [i for side in sides for i in side if self.upper(i - 1) < threshold < self.upper(i)]:
            threshold = max(map(self.upper, cut))
        zero = self.zero + sum(n for side in sides for i, n in side.items() if self.upper(i) <= threshold)
        positive, negative = ({i: n for i, n in side.items() if self.upper(i) > threshold} for side in sides)
        return Twin(self.schema, threshold, zero, positive, negative)

    def on_bounds(self, bounds: tuple[float, ...]) -> Twin:
        out: dict[int, float] = {}
        for index, count in self.positive.items():
            own = self.bounds[index] if index < len(self.bounds) else np.inf
            place = next((i for i, bound in enumerate(bounds) if bound >= own), len(bounds))
            out[place] = out.get(place, 0) + count
        return Twin(CUSTOM, 0.0, 0.0, out, {}, bounds)


def _side(counts: dict[int, float]) -> tuple[list[tuple[int, int]], list[float]]:
    spans: list[tuple[int, int]] = []
    end = 0
    for index in sorted(counts):
        if spans and index == end:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((index - end, 1))
        end = index + 1
    return spans, [float(counts[index]) for index in sorted(counts)]


def _merge(counts: dict[int, float], by: int) -> dict[int, float]:
    out: dict[int, float] = {}
    for index, count in counts.items():
        place = ((index - 1) >> by) + 1
        out[place] = out.get(place, 0) + count
    return out


def combine(a: Twin, b: Twin, sign: int) -> Twin:
    if a.schema == CUSTOM:
        shared = tuple(bound for bound in a.bounds if bound in b.bounds)
        a, b = (a, b) if a.bounds == b.bounds else (a.on_bounds(shared), b.on_bounds(shared))
    else:
        while a.threshold != b.threshold:
            widest = max(a.threshold, b.threshold)
            a, b = a.widened(widest), b.widened(widest)
        schema = min(a.schema, b.schema)
        a, b = a.reduced(schema), b.reduced(schema)
    sides = [
        {i: x.get(i, 0) + sign * y.get(i, 0) for i in x.keys() | y.keys()}
        for x, y in ((a.positive, b.positive), (a.negative, b.negative))
    ]
    positive, negative = ({i: n for i, n in side.items() if n} for side in sides)
    return Twin(a.schema, a.threshold, a.zero + sign * b.zero, positive, negative, a.bounds)


def sides(low: int, high: int) -> st.SearchStrategy[dict[int, float]]:
    return st.dictionaries(st.integers(low, high), st.integers(1, 9).map(float), max_size=6)


def exponential(schema: int, thresholds: list[float]) -> st.SearchStrategy[Twin]:
    twins = st.builds(
        Twin,
        schema=st.just(schema),
        threshold=st.sampled_from(thresholds),
        zero=COUNTS.map(float),
        positive=sides(-6, 6),
        negative=sides(-6, 6),
    )
    return twins.map(lambda twin: Twin(schema, 0.0, twin.zero, twin.positive, twin.negative).widened(twin.threshold))


@st.composite
def exponentials(draw: st.DrawFn) -> tuple[Twin, Twin]:
    """Of one schema, or of two with thresholds that are bounds of both: elsewhere the reference counts buckets twice
    that a wider bucket and the zero bucket share."""
    a, b = draw(st.integers(-3, 0)), draw(st.integers(-3, 0))
    thresholds = [0.0, 0.1, 0.25, 0.3, 1.0, 3.0] if a == b else [0.0, 1 / 256, 1.0, 256.0]
    return draw(exponential(a, thresholds)), draw(exponential(b, thresholds))


@st.composite
def custom(draw: st.DrawFn) -> Twin:
    bounds = tuple(sorted(draw(st.sets(st.integers(-3, 5), max_size=6))))
    return Twin(CUSTOM, 0.0, 0.0, draw(sides(0, len(bounds))), {}, tuple(map(float, bounds)))


PAIRS = exponentials() | st.tuples(custom(), custom())


@settings(max_examples=300, deadline=None)
@given(pair=PAIRS, subtract=st.booleans())
def test_sums_and_differences(pair: tuple[Twin, Twin], subtract: bool) -> None:
    a, b = (HistogramColumn.from_parts([twin.parts()]) for twin in pair)
    one = np.zeros((1, 1), dtype=np.int32)
    column, index, notes = histogram_add(a, one, b, one, subtract)
    expected = combine(*pair, -1 if subtract else 1)
    got = column.compacted().part(int(index[0, 0]))
    assert got[1:4] == (expected.schema, expected.threshold, expected.zero)
    assert got[6:] == (_side(expected.positive), _side(expected.negative), list(expected.bounds))
    sign = -1 if subtract else 1
    assert got[4:6] == tuple(x + sign * y for x, y in zip(a.part(0)[4:6], b.part(0)[4:6], strict=True))
    assert bool(notes[0, 0] & 4) == (pair[0].bounds != pair[1].bounds)


@settings(max_examples=300, deadline=None)
@given(pair=PAIRS)
def test_resets(pair: tuple[Twin, Twin]) -> None:
    """A counter that only rose is no reset; one with a bucket that fell, or can no longer be compared, is."""
    before, now = pair
    columns = [HistogramColumn.from_parts([twin.parts()]) for twin in (before, now)]
    assert columns[1].is_reset(0, columns[0], 0) == fell(before, now)
    risen = HistogramColumn.from_parts([combine(before, before, 1).parts()])
    assert not risen.is_reset(0, columns[0], 0)


def fell(before: Twin, now: Twin) -> bool:
    if now.parts()[4] < before.parts()[4]:
        return True
    if now.schema == CUSTOM:
        shared = tuple(bound for bound in now.bounds if bound in before.bounds)
        now, before = now.on_bounds(shared), before.on_bounds(shared)
    else:
        if now.schema > before.schema or now.threshold < before.threshold:
            return True
        before = before.widened(now.threshold)
        if before.threshold != now.threshold or now.zero < before.zero:
            return True
        before = before.reduced(now.schema)
    sides = ((before.positive, now.positive), (before.negative, now.negative))
    return any(later.get(i, 0) < count for earlier, later in sides for i, count in earlier.items())
