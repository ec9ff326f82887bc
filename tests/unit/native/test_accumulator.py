"""Aggregating batch after batch is aggregating at once, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from mimir_rw._native import Accumulator, aggregate

OPS = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
STEPS = 7


def matrix(special: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(60, STEPS)) * 10.0 ** rng.integers(-10, 10, (60, STEPS))
    if special:
        values.reshape(-1)[::11] = np.nan
        values.reshape(-1)[::13] = np.inf
        values.reshape(-1)[::29] = -np.inf
        values[40:] = 1.7e308
    return values, rng.random(values.shape) < 0.8


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("size", [1, 7, 60])
def test_batches_add_up(op: str, special: bool, size: int) -> None:
    values, mask = matrix(special)
    groups = (np.arange(60) // 3 % 5).astype(np.int64)
    expected = aggregate(op, groups, 5, values, mask)
    state = Accumulator(op, STEPS)
    for start in range(0, 60, size):
        rows = slice(start, start + size)
        state.add(groups[rows], int(groups[: start + size].max()) + 1, values[rows], mask[rows])
    assert state.nbytes > 0
    found = state.finish()
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0].view(np.uint64), expected[0].view(np.uint64))


def test_a_mean_does_not_overflow() -> None:
    values = np.full((4, 1), 1.5e308)
    state = Accumulator("avg", 1)
    for row in range(4):
        state.add(np.zeros(1, dtype=np.int64), 1, values[row : row + 1], np.ones((1, 1), dtype=np.bool_))
    assert state.finish()[0][0, 0] == 1.5e308


def test_rows_of_another_width_are_refused() -> None:
    state = Accumulator("sum", STEPS)
    with pytest.raises(ValueError, match="another number of steps"):
        state.add(np.zeros(1, dtype=np.int64), 1, np.zeros((1, 3)), np.ones((1, 3), dtype=np.bool_))


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="no aggregation"):
        Accumulator("median", STEPS)
