"""Aggregations, ranked selection and classic histograms against worked checks and their plain twins."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mimir_rw._native import (
    aggregate,
    aggregate_quantile,
    count_values,
    histogram_fraction,
    histogram_quantile,
    select_k,
)
from tests.unit.native import windows_twin as twin
from tests.unit.native.test_windows import assert_cells, odd_values, same

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]


@st.composite
def matrices(draw: st.DrawFn, values: st.SearchStrategy[float] = odd_values) -> tuple[Ids, int, Floats, Bools]:
    rows, steps, groups = draw(st.integers(0, 12)), draw(st.integers(0, 10)), draw(st.integers(1, 4))
    ids = draw(st.lists(st.integers(-1, groups - 1), min_size=rows, max_size=rows))
    cells = draw(st.lists(st.tuples(values, st.booleans()), min_size=rows * steps, max_size=rows * steps))
    shape = (rows, steps)
    return (
        np.array(ids, np.int64),
        groups,
        np.array([v for v, _ in cells], np.float64).reshape(shape),
        np.array([m for _, m in cells], bool).reshape(shape),
    )


def by_group(
    case: tuple[Ids, int, Floats, Bools], f: Callable[[list[tuple[float, int]], int], float]
) -> list[list[float | None]]:
    ids, groups, values, mask = case
    out: list[list[float | None]] = []
    for group in range(groups):
        line: list[float | None] = []
        for step in range(values.shape[1]):
            cells = [(float(values[r, step]), r) for r in np.flatnonzero(ids == group) if mask[r, step]]
            line.append(f(cells, step) if cells else None)
        out.append(line)
    return out


@settings(max_examples=300)
@given(matrices())
def test_aggregate_twin(case: tuple[Ids, int, Floats, Bools]) -> None:
    for op, f in twin.AGGREGATIONS.items():
        want = by_group(case, lambda cells, _, f=f: f([v for v, _ in cells]))
        assert_cells(aggregate(op, *case), want, op)


@given(matrices(), st.data())
def test_aggregate_quantile_twin(case: tuple[Ids, int, Floats, Bools], draw: st.DataObject) -> None:
    steps = case[2].shape[1]
    q = draw.draw(st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0, -1.0, 2.0, math.nan]), min_size=steps, max_size=steps))
    want = by_group(case, lambda cells, step: twin.quantile(q[step], [v for v, _ in cells]))
    assert_cells(aggregate_quantile(np.array(q, np.float64), *case), want)


def column(*values: float) -> tuple[Ids, int, Floats, Bools]:
    data = np.array([values]).T
    return np.zeros(len(values), np.int64), 1, data, np.ones(data.shape, bool)


def test_sums_are_compensated() -> None:
    assert aggregate("sum", *column(1.0, 1e100, 1.0, -1e100))[0][0, 0] == 2.0
    assert aggregate("avg", *column(1.0, 1e100, 1.0, -1e100))[0][0, 0] == 0.5


def test_avg_survives_overflow() -> None:
    assert aggregate("avg", *column(1.5e308, 1.5e308, 1.5e308))[0][0, 0] == 1.5e308
    assert aggregate("sum", *column(1.5e308, 1.5e308))[0][0, 0] == math.inf
    assert math.isnan(aggregate("avg", *column(math.inf, -math.inf))[0][0, 0])


@pytest.mark.parametrize(("op", "largest"), [("topk", True), ("bottomk", False)])
@given(case=matrices(st.one_of(odd_values, st.floats())), k=st.integers(-1, 14))
def test_select_k_twin(op: str, largest: bool, case: tuple[Ids, int, Floats, Bools], k: int) -> None:
    ids, groups, values, mask = case
    kept, order = select_k(op, np.full(values.shape[1], k), *case)
    assert not (kept & ~mask).any()
    for group in range(groups):
        for step in range(values.shape[1]):
            rows = np.flatnonzero((ids == group) & mask[:, step])
            want = [v for v, _ in twin.top([(float(values[r, step]), int(r)) for r in rows], k, largest)]
            got = [values[r, step] for r in np.flatnonzero((ids == group) & kept[:, step])]
            assert same_set(got, want)
    if values.shape[1]:
        assert sorted(order) == sorted(np.flatnonzero(kept[:, 0]))
        assert [ids[r] for r in order] == sorted(ids[r] for r in order)
        for group in range(groups):
            first = [float(values[r, 0]) for r in order if ids[r] == group]
            best = [v for v, _ in twin.top([(v, i) for i, v in enumerate(first)], len(first), largest)]
            assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(first, best, strict=True))


def same_set(got: list[float], want: list[float]) -> bool:
    key = twin.nan_first
    ordered = zip(sorted(got, key=key), sorted(want, key=key), strict=True)
    return len(got) == len(want) and all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in ordered)


def test_topk_ties_follow_the_heap() -> None:
    """3 evicts the root of the heap (1 at row 0), not the youngest of the equal values."""
    kept, order = select_k("topk", np.array([2]), *column(1.0, 1.0, 3.0))
    assert np.flatnonzero(kept[:, 0]).tolist() == [1, 2]
    assert order.tolist() == [2, 1]
    kept, _ = select_k("topk", np.array([1]), *column(1.0, 1.0))
    assert np.flatnonzero(kept[:, 0]).tolist() == [0]


def test_k_per_step_and_limitk() -> None:
    values = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    mask = np.array([[True, True], [False, True], [True, True]])
    kept, _ = select_k("limitk", np.array([1, 2]), np.zeros(3, np.int64), 1, values, mask)
    assert kept.tolist() == [[True, True], [False, True], [False, False]]
    kept, _ = select_k("bottomk", np.array([0, 1]), np.array([0, 1, 0]), 2, values, mask)
    assert kept.tolist() == [[False, True], [False, True], [False, False]]


def test_limitk_keeps_nan() -> None:
    kept, _ = select_k("limitk", np.array([2]), *column(1.0, np.nan, 3.0))
    assert np.flatnonzero(kept[:, 0]).tolist() == [0, 1]


@given(matrices())
def test_count_values_twin(case: tuple[Ids, int, Floats, Bools]) -> None:
    ids, _, values, mask = case
    seen: dict[tuple[int, str], list[float]] = {}
    for row, group in enumerate(ids):
        for step in np.flatnonzero(mask[row]):
            if group >= 0:
                counts = seen.setdefault((int(group), repr(float(values[row, step]))), [0.0] * values.shape[1])
                counts[step] += 1
    groups, found, counted = count_values(*case)
    assert [(int(g), repr(float(v))) for g, v in zip(groups, found, strict=True)] == list(seen)
    assert_cells(counted, [[c or None for c in counts] for counts in seen.values()])


def test_refused() -> None:
    ids, one, values, mask = column(1.0, 2.0)
    with pytest.raises(ValueError, match="no aggregation"):
        aggregate("total", ids, one, values, mask)
    with pytest.raises(ValueError, match="one group id per row"):
        aggregate("sum", ids[:1], one, values, mask)
    with pytest.raises(ValueError, match="below the number of groups"):
        aggregate("sum", ids + 1, one, values, mask)
    with pytest.raises(ValueError, match="same shape"):
        aggregate("sum", ids, one, values, mask.T)
    with pytest.raises(ValueError, match="one q per step"):
        aggregate_quantile(np.zeros(2), ids, one, values, mask)
    with pytest.raises(ValueError, match="one k per step"):
        select_k("topk", np.zeros(0, np.int64), ids, one, values, mask)
    with pytest.raises(ValueError, match="no selection"):
        select_k("sum", np.zeros(1, np.int64), ids, one, values, mask)
    with pytest.raises(ValueError, match="bucket bound per row"):
        histogram_quantile(np.zeros(1), ids, one, np.zeros(1), values, mask)
    with pytest.raises(ValueError, match="one value per step"):
        histogram_fraction(np.zeros(1), np.zeros(2), ids, one, np.zeros(2), values, mask)


class TestClassicHistogram:
    bounds = np.array([0.1, 0.5, 1.0, math.inf])

    @pytest.mark.parametrize(("q", "want"), [(0.5, 0.4), (0.95, 1.0), (0.1, 0.05), (-1.0, -math.inf), (2.0, math.inf)])
    def test_worked_checks(self, q: float, want: float) -> None:
        ids, one, values, mask = column(2.0, 6.0, 9.0, 10.0)
        for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
            got, forced = histogram_quantile(np.array([q]), ids, one, self.bounds[order], values[order], mask)
            assert got[0][0, 0] == pytest.approx(want, abs=1e-15)
            assert len(forced[0]) == 0

    def test_forced_to_rise(self) -> None:
        ids, one, values, mask = column(2.0, 1.5, 1.0, 10.0)
        _, forced = histogram_quantile(np.array([0.5]), ids, one, self.bounds, values, mask)
        assert [c.tolist() for c in forced] == [[0], [0], [0.5], [1.0], [1.0]]

    def test_small_differences_are_silent(self) -> None:
        ids, one, values, mask = column(2.0, 2.0 * (1 - 1e-13), 9.0, 10.0)
        _, forced = histogram_quantile(np.array([0.5]), ids, one, self.bounds, values, mask)
        assert len(forced[0]) == 0

    def test_nan_total(self) -> None:
        ids, one, values, mask = column(2.0, 6.0, 9.0, math.nan)
        got, _ = histogram_quantile(np.array([0.5]), ids, one, self.bounds, values, mask)
        assert math.isnan(got[0][0, 0])

    @settings(max_examples=200)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([-2.0, -0.0, 0.0, 0.5, 1.0, 2.5, math.inf, math.inf]),
                st.one_of(st.integers(0, 20).map(float), st.floats(0, 1e6)),
                st.booleans(),
            ),
            max_size=10,
        ),
        st.one_of(st.floats(-0.1, 1.1), st.just(math.nan)),
        st.floats(-3, 3) | st.sampled_from([-math.inf, math.inf, math.nan, 0.5, 0.0]),
        st.floats(-3, 3) | st.sampled_from([-math.inf, math.inf, math.nan, 0.5, 0.0]),
    )
    def test_twin(self, buckets: list[tuple[float, float, bool]], q: float, lower: float, upper: float) -> None:
        ids = np.zeros(len(buckets), np.int64)
        bounds = np.array([b for b, _, _ in buckets], np.float64)
        values = np.array([[c] for _, c, _ in buckets], np.float64).reshape(-1, 1)
        mask = np.array([[m] for _, _, m in buckets], bool).reshape(-1, 1)
        present = [(b, c) for b, c, m in buckets if m]
        (got, got_mask), forced = histogram_quantile(np.array([q]), ids, 1, bounds, values, mask)
        share, share_mask = histogram_fraction(np.array([lower]), np.array([upper]), ids, 1, bounds, values, mask)
        assert got_mask[0, 0] == share_mask[0, 0] == bool(present)
        if present:
            want, why = twin.histogram_quantile(q, present)
            assert same(got[0, 0], want)
            assert [c.tolist() for c in forced[2:]] == ([[w] for w in why] if why else [[], [], []])
            assert same(share[0, 0], twin.histogram_fraction(lower, upper, present))
