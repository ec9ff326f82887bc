"""SampleColumns, instant selection and window kernels against worked checks and their plain twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mimir_rw._native import SampleColumns, select_instant, select_instant_times, window
from tests.unit.native import windows_twin as twin


def columns(*rows: twin.Row) -> SampleColumns:
    offsets = np.cumsum([0, *(len(r) for r in rows)], dtype=np.int64)
    ts = np.array([t for r in rows for t, _ in r], dtype=np.int64)
    values = np.array([v for r in rows for _, v in r], dtype=np.float64)
    return SampleColumns(offsets, ts, values)


def same(got: float, want: float) -> bool:
    if math.isnan(want):
        return math.isnan(got)
    return got == want and math.copysign(1, got) == math.copysign(1, want)


def assert_cells(
    got: tuple[NDArray[np.float64], NDArray[np.bool_]], want: list[list[float | None]], why: str = ""
) -> None:
    values, mask = got
    assert values.shape == mask.shape == (len(want), len(want[0]) if want else values.shape[1])
    for i, row in enumerate(want):
        for j, cell in enumerate(row):
            assert mask[i, j] == (cell is not None), (why, i, j, cell)
            assert same(values[i, j], 0.0 if cell is None else cell), (why, i, j, values[i, j], cell)


odd_values = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, twin.STALE, 1e308, -1e308, 5e-324]),
    st.integers(0, 6).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[int, float]]:
    times = draw(st.lists(st.integers(-50, 400), max_size=20, unique=True))
    return [(t * 10, draw(odd_values)) for t in sorted(times)]


grids = st.tuples(st.integers(-60, 300), st.integers(0, 40), st.integers(0, 12))


class TestSampleColumns:
    def test_views(self) -> None:
        cols = columns([(1, 1.0), (2, 2.0)], [], [(1, 3.0)])
        assert len(cols) == 3
        assert cols.sample_count == 3
        assert cols.offsets.tolist() == [0, 2, 2, 3]
        assert cols.ts.tolist() == [1, 2, 1]
        assert cols.values.tolist() == [1, 2, 3]
        with pytest.raises(ValueError, match="read-only"):
            cols.values[0] = 5

    @pytest.mark.parametrize(
        ("offsets", "ts", "values", "message"),
        [
            ([], [], [], "start with 0"),
            ([1], [1], [1], "start with 0"),
            ([0, -1], [], [], "ascend"),
            ([0, 2, 1], [1], [1], "ascend"),
            ([0, 1], [1, 2], [1, 2], "last offset"),
            ([0, 3], [1, 2], [1, 2], "last offset"),
            ([0, 2], [1, 2], [1], "same length"),
            ([0, 1, 3], [9, 2, 1], [1, 2, 3], "row 1"),
            ([0, 2], [1, 1], [1, 2], "row 0"),
        ],
    )
    def test_refused(self, offsets: list[int], ts: list[int], values: list[float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            SampleColumns(np.array(offsets, np.int64), np.array(ts, np.int64), np.array(values, np.float64))

    def test_strided_arguments(self) -> None:
        backing = np.arange(8, dtype=np.int64)
        cols = SampleColumns(np.array([0, 4]), backing[::2], np.arange(8.0)[::2])
        assert cols.ts.tolist() == [0, 2, 4, 6]

    def test_drop_stale_and_shift(self) -> None:
        cols = columns([(1, twin.STALE), (2, 2.0), (3, math.nan)], [(5, twin.STALE)], [(7, 7.0)])
        live = cols.drop_stale().shift(10)
        assert live.offsets.tolist() == [0, 2, 2, 3]
        assert live.ts.tolist() == [12, 13, 17]

    def test_from_matrix(self) -> None:
        values = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        mask = np.array([[True, False, True], [False, False, False]])
        cols = SampleColumns.from_matrix(values, mask, 100, 20)
        assert cols.offsets.tolist() == [0, 2, 2]
        assert cols.ts.tolist() == [100, 140]
        assert cols.values.tolist() == [1, 3]
        turned = SampleColumns.from_matrix(np.asfortranarray(values), np.asfortranarray(mask), 100, 20)
        assert turned.values.tolist() == [1, 3]

    def test_from_matrix_refuses(self) -> None:
        with pytest.raises(ValueError, match="same shape"):
            SampleColumns.from_matrix(np.zeros((1, 2)), np.zeros((2, 1), bool), 0, 1)
        with pytest.raises(ValueError, match="positive"):
            SampleColumns.from_matrix(np.zeros((1, 2)), np.zeros((1, 2), bool), 0, 0)

    def test_concat(self) -> None:
        cols = SampleColumns.concat([columns([(1, 1.0)], []), columns(), columns([(2, 2.0)])])
        assert cols.offsets.tolist() == [0, 1, 1, 2]
        assert cols.ts.tolist() == [1, 2]
        assert len(SampleColumns.concat([])) == 0


class TestSelectInstant:
    def test_lookback_is_left_open(self) -> None:
        cols = columns([(1000, 1.0)])
        assert_cells(select_instant(cols, 999, 1, 3, 300), [[None, 1.0, 1.0]])
        assert_cells(select_instant(cols, 1299, 1, 2, 300), [[1.0, None]])

    def test_stale_marker_ends_the_series(self) -> None:
        cols = columns([(0, 1.0), (10, twin.STALE), (20, math.nan)])
        assert_cells(select_instant(cols, 0, 10, 3, 1000), [[1.0, None, math.nan]])

    def test_times_in_seconds(self) -> None:
        cols = columns([(1500, 7.0)])
        assert_cells(select_instant_times(cols, 1500, 100, 2, 1000), [[1.5, 1.5]])

    @given(st.lists(rows(), max_size=4), grids, st.integers(1, 100))
    def test_twin(self, data: list[twin.Row], grid: tuple[int, int, int], lookback: int) -> None:
        start, step, steps = (grid[0] * 10, grid[1] * 10, grid[2])
        times = [start + step * i for i in range(steps)]
        found = [[twin.select(row, t, lookback * 10) for t in times] for row in data]
        args = (columns(*data), start, step, steps, lookback * 10)
        assert_cells(select_instant(*args), [[p and p[1] for p in row] for row in found])
        assert_cells(select_instant_times(*args), [[p and p[0] / 1000 for p in row] for row in found])


class TestWindow:
    @pytest.mark.parametrize(
        ("points", "seconds", "func", "want"),
        [
            ([(5, 1), (15, 2), (25, 3), (35, 4), (45, 5), (55, 6)], 60, "increase", 6.0),
            ([(5, 1), (15, 2), (25, 3), (35, 4), (45, 5), (55, 6)], 60, "rate", 0.1),
            ([(20, 0.5), (30, 10), (40, 20), (50, 5)], 60, "increase", 33.16666666666667),
            ([(120, 100), (180, 160), (240, 220)], 300, "increase", 210.0),
        ],
    )
    def test_worked_checks(self, points: list[tuple[int, float]], seconds: int, func: str, want: float) -> None:
        cols = columns([(t * 1000, float(v)) for t, v in points])
        assert_cells(window(func, cols, seconds * 1000, 0, 1, seconds * 1000), [[want]])

    def test_left_open(self) -> None:
        cols = columns([(0, 1.0), (10, 2.0), (20, 3.0)])
        assert_cells(window("count_over_time", cols, 10, 10, 3, 10), [[1.0, 1.0, None]])

    def test_step_zero_repeats(self) -> None:
        cols = columns([(0, 1.0), (10, 2.0)])
        assert_cells(window("sum_over_time", cols, 10, 0, 3, 60_000), [[3.0, 3.0, 3.0]])

    def test_refused(self) -> None:
        cols = columns([(0, 1.0)])
        with pytest.raises(ValueError, match="no window function"):
            window("rates", cols, 0, 1, 1, 1)
        with pytest.raises(ValueError, match="range_ms"):
            window("rate", cols, 0, 1, 1, 0)
        with pytest.raises(ValueError, match="step_ms"):
            window("rate", cols, 0, -1, 1, 1)
        with pytest.raises(MemoryError):
            window("rate", cols, 0, 1, 2**62, 1)

    @settings(max_examples=300)
    @given(data=st.lists(rows(), max_size=3), grid=grids, width=st.integers(1, 200))
    def test_twin(self, data: list[twin.Row], grid: tuple[int, int, int], width: int) -> None:
        start, step, steps, width = grid[0] * 10, grid[1] * 10, grid[2], width * 10
        ends = [start + step * i for i in range(steps)]
        seen = [[(twin.window_points(row, e - width, e), e) for e in ends] for row in data]
        cols = columns(*data)
        for func, f in twin.WINDOWS.items():
            want = [[f(p, e - width, e) if p else None for p, e in row] for row in seen]
            assert_cells(window(func, cols, start, step, steps, width), want, func)


far = st.sampled_from([-(2**63), -(2**62), -1, 0, 1, 2**62, 2**63 - 1])


@given(st.lists(far, max_size=4, unique=True), far, far, far, st.integers(0, 10))
def test_any_times_are_survived(times: list[int], start: int, step: int, width: int, steps: int) -> None:
    """Times at the ends of int64 may make no sense, but no kernel fails on them."""
    cols = columns([(t, float(i)) for i, t in enumerate(sorted(times))])
    if step < 0 or width <= 0:
        with pytest.raises(ValueError, match="_ms must"):
            window("rate", cols, start, step, steps, width)
        return
    for func in twin.WINDOWS:
        assert window(func, cols, start, step, steps, width)[0].shape == (1, steps)
    assert select_instant(cols, start, step, steps, width)[0].shape == (1, steps)
