"""Lines drawn with characters."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.cli.plot import SERIES_MAX, WIDTH_MIN, Line, Shape, draw

PLAIN = Shape(width=44, height=9, step=1, braille=False, unicode=False)


def text_of(lines: list[Line], shape: Shape) -> list[str]:
    return ["".join(cell.text for cell in row).rstrip() for row in draw(lines, shape)]


def test_a_straight_line() -> None:
    assert text_of([Line(range(60), range(60))], PLAIN) == [
        " 60+                                      **",
        "   |                               *******",
        " 40+                        *******",
        "   |                 ********",
        " 20+           *******",
        "   |    *******",
        "  0+****",
        "   +----------------------------------------",
        "    1970-01-01 00:00:00         00:00:59 UTC",
    ]


def test_gaps_are_left_open_and_what_is_not_finite_is_one() -> None:
    values = [1.0, 1.0, math.nan, math.inf, 1.0, 1.0, *[1.0] * 34]
    times = [*range(20), *range(60, 80)]
    row = next(line for line in text_of([Line(times, values)], PLAIN) if "*" in line)
    drawn = row.split("|")[-1].split("+")[-1]
    assert "*" * 20 not in drawn
    assert [len(part) for part in drawn.split()] == [1, 8, 10]


def test_series_are_told_apart_by_marks_or_colours() -> None:
    lines = [Line([0, 1], [i, i]) for i in range(SERIES_MAX + 2)]
    marks = {cell.text for row in draw(lines, PLAIN) for cell in row if cell.series is not None}
    assert len(marks) == SERIES_MAX - 1, "one hides another in so few rows"
    cells = [cell for row in draw(lines, Shape(60, 40, 1, braille=True)) for cell in row if cell.series is not None]
    assert {cell.series for cell in cells} == set(range(SERIES_MAX))
    assert all("\u2800" < cell.text <= "\u28ff" for cell in cells)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1, ["1.0", "0.5", "0.0"]),
        (5, 5, ["5.2", "5.0", "4.8"]),
        (-1, 1, ["1", "0", "-1"]),
        (27, 93, ["80", "60", "40"]),
        (0, 3e9, ["3e+09", "2e+09", "1e+09", "0"]),
        (1e-9, 4e-9, ["4e-09", "3e-09", "2e-09", "1e-09"]),
        (1e15, 1e15 + 200, ["1.0000000000002e+15", "1.0000000000001e+15", "1e+15"]),
    ],
)
def test_labels_are_round_and_tell_values_apart(low: float, high: float, labels: list[str]) -> None:
    rows = text_of([Line([0, 60], [low, high])], Shape(80, 20, 60, braille=True))
    assert [row.split("┤")[0].strip() for row in rows if "┤" in row] == labels


def test_nothing_to_draw() -> None:
    assert draw([], PLAIN) == []
    assert draw([Line([0], [math.nan])], PLAIN) == []
    assert draw([Line([0, 1], [1, 2])], Shape(WIDTH_MIN - 1, 9, 1, braille=True)) == []


SAMPLES = st.lists(st.tuples(st.floats(-1e13, 1e13), st.floats()), max_size=6)


@given(st.lists(SAMPLES, max_size=10), st.integers(WIDTH_MIN, 120), st.integers(1, 30), st.booleans(), st.booleans())
def test_any_values_fit_into_the_shape(
    series: list[list[tuple[float, float]]], width: int, height: int, braille: bool, unicode: bool
) -> None:
    lines = [Line([t for t, _ in sorted(s)], [v for _, v in sorted(s)]) for s in series]
    rows = text_of(lines, Shape(width, height, 1.0, braille, unicode))
    assert len(rows) in (0, max(4, height - 2) + 2)
    assert all(len(row) <= width for row in rows[:-1])
