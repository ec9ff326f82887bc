"""Window functions with parameters, and regressions, against their plain twins."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw._native import window
from tests.unit.native import windows_twin as twin
from tests.unit.native.test_windows import assert_cells, columns, grids, rows

qs = st.one_of(st.sampled_from([0.0, 0.5, 1.0, -1.0, 2.0, math.nan]), st.floats(0, 1))
factors = st.floats(0.01, 0.99)
seconds = st.floats(-1e6, 1e6)


def want_cells(
    data: list[twin.Row], ends: list[int], width: int, f: Callable[[twin.Row, int], float | None]
) -> list[list[float | None]]:
    out: list[list[float | None]] = []
    for row in data:
        windows = [twin.window_points(row, e - width, e) for e in ends]
        out.append([f(p, i) if p else None for i, p in enumerate(windows)])
    return out


@given(st.lists(rows(), max_size=3), grids, st.integers(1, 200), st.data())
def test_parameters_per_step(data: list[twin.Row], grid: tuple[int, int, int], width: int, draw: st.DataObject) -> None:
    start, step, steps, width = grid[0] * 10, grid[1] * 10, grid[2], width * 10
    ends = [start + step * i for i in range(steps)]
    cols = columns(*data)

    def per_step(strategy: st.SearchStrategy[float]) -> list[float]:
        return draw.draw(st.lists(strategy, min_size=steps, max_size=steps))

    def call(func: str, *params: list[float]) -> tuple[np.ndarray, np.ndarray]:
        return window(func, cols, start, step, steps, width, [np.array(p, np.float64) for p in params])

    q = per_step(qs)
    want = want_cells(data, ends, width, lambda p, i: twin.quantile(q[i], [v for _, v in p]))
    assert_cells(call("quantile_over_time", q), want)
    sf, tf = per_step(factors), per_step(factors)
    want = want_cells(data, ends, width, lambda p, i: twin.smoothing(p, sf[i], tf[i]))
    assert_cells(call("double_exponential_smoothing", sf, tf), want)
    ahead, origin = per_step(seconds), [float(e + 500) for e in ends]
    want = want_cells(data, ends, width, lambda p, i: twin.predict_linear(p, ahead[i], ends[i] + 500))
    assert_cells(call("predict_linear", ahead, origin), want)
    assert_cells(call("deriv"), want_cells(data, ends, width, lambda p, i: twin.deriv(p)))
    want = want_cells(data, ends, width, lambda p, i: twin.median_deviation([v for _, v in p]))
    assert_cells(call("mad_over_time"), want)


def test_predict_linear_by_hand() -> None:
    cols = columns([(0, 0.0), (10_000, 10.0), (20_000, 20.0)])
    params = [np.array([5.0]), np.array([30_000.0])]
    assert_cells(window("predict_linear", cols, 20_000, 0, 1, 60_000, params), [[35.0]])


def test_refused() -> None:
    cols = columns([(0, 0.0)])
    with pytest.raises(ValueError, match="takes 1 parameters"):
        window("quantile_over_time", cols, 0, 1, 1, 1)
    with pytest.raises(ValueError, match="takes 0 parameters"):
        window("rate", cols, 0, 1, 1, 1, [np.zeros(1)])
    with pytest.raises(ValueError, match="one value per step"):
        window("quantile_over_time", cols, 0, 1, 2, 1, [np.zeros(1)])
