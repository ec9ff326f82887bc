"""Numbers and times of exemplars, as Prometheus writes those of samples."""

from __future__ import annotations

import math

import pytest

from mimir_rw.wire.exemplars_json import exemplars_answer, number, timestamp


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (9.9e-7, "9.9e-07"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (5e-324, "5e-324"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0"), (1_600_000_000_000, "1600000000"), (1001, "1.001"), (-10, "-0.010"), (-1500, "-1.500")],
)
def test_times(ms: int, text: str) -> None:
    assert timestamp(ms) == text


def test_no_exemplars() -> None:
    assert exemplars_answer([]) == b'{"status":"success","data":[]}'
