"""Lines over time, drawn with characters. Pure: samples and a size in, rows of cells out.

Where the terminal has colours, each cell is a Braille character, eight dots fine, and has the colour of the series that
came last into it. Without colours a cell has its series' mark. A line joins samples that are neighbours in the answer's
steps; over a gap there is none. Values that are not finite are gaps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SERIES_MAX = 8
"""More lines can not be told apart."""
MARKS = "●○▲△■□◆◇"
PLAIN_MARKS = "*o+x#@%&"
"""For terminals without Unicode."""
WIDTH_MIN = 40
"""Of the whole drawing; a narrower one says less than a table."""

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of a dot by its row and column in the cell."""
_MARGIN = 0.05
_ROOM_MIN = 1e-290
_VALUE_MAX = 1e300
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Line:
    """Samples of one series: Unix seconds, ascending, and values."""

    times: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Cell:
    """A character of the drawing. series: whose colour it has, None for the frame."""

    text: str
    series: int | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """width, height: of the whole drawing, in characters. step: seconds between the answer's steps. braille: colours
    tell the series apart; else `marks` do."""

    width: int
    height: int
    step: float
    braille: bool
    unicode: bool = True

    @property
    def marks(self) -> str:
        return MARKS if self.unicode else PLAIN_MARKS


def draw(lines: Sequence[Line], shape: Shape) -> list[list[Cell]]:
    """Rows from the top, with an axis at the left and one below; none where nothing is to be drawn."""
    shown = [_finite(line) for line in lines[:SERIES_MAX]]
    points = [(time, value) for line in shown for time, value in zip(line.times, line.values, strict=True)]
    if not points or shape.width < WIDTH_MIN:
        return []
    low, high = _bounds(min(value for _, value in points), max(value for _, value in points))
    rows = max(4, shape.height - 2)
    labels = _value_labels(low, high, rows)
    gutter = max(map(len, labels.values())) + 2
    area = _Area(
        columns=shape.width - gutter,
        rows=rows,
        begin=min(time for time, _ in points),
        end=max(time for time, _ in points),
        low=low,
        high=high,
    )
    inside = _cells(shown, area, shape)
    drawing = []
    for row in range(rows):
        edge = ("┤" if shape.unicode else "+") if row in labels else ("│" if shape.unicode else "|")
        left = Cell(f"{labels.get(row, ''):>{gutter - 1}}{edge}")
        drawing.append([left, *(inside.get((column, row), Cell(" ")) for column in range(area.columns))])
    corner, floor = ("└", "─") if shape.unicode else ("+", "-")
    drawing.append([Cell(" " * (gutter - 1) + corner + floor * area.columns)])
    drawing.append([Cell(" " * gutter + _time_labels(area.begin, area.end, area.columns))])
    return drawing


@dataclass(frozen=True, slots=True)
class _Area:
    columns: int
    rows: int
    begin: float
    end: float
    low: float
    high: float

    def place(self, time: float, value: float, wide: int, tall: int) -> tuple[int, int]:
        """Column and row, from the top, of a point where each cell is wide x tall dots."""
        columns, rows = self.columns * wide, self.rows * tall
        across = (time - self.begin) / (self.end - self.begin) if self.end > self.begin else 0.5
        up = value / (self.high - self.low) - self.low / (self.high - self.low)
        return round(across * (columns - 1)), rows - 1 - round(min(1.0, max(0.0, up)) * (rows - 1))


def _finite(line: Line) -> Line:
    kept = [(time, value) for time, value in zip(line.times, line.values, strict=True) if math.isfinite(value)]
    return Line([time for time, _ in kept], [value for _, value in kept])


def _bounds(low: float, high: float) -> tuple[float, float]:
    """A little more than the values need. The difference is finite and not zero."""
    low, high = (min(_VALUE_MAX, max(-_VALUE_MAX, value)) for value in (low, high))
    room = max((high - low) * _MARGIN or abs(high) * _MARGIN or 1.0, _ROOM_MIN)
    return (0.0 if 0 <= low < room else low - room), high + room


def _cells(lines: Sequence[Line], area: _Area, shape: Shape) -> dict[tuple[int, int], Cell]:
    wide, tall = (2, 4) if shape.braille else (1, 1)
    dots: dict[tuple[int, int], int] = {}
    owner: dict[tuple[int, int], int] = {}
    for number, line in enumerate(lines):
        for x, y in _dots(line, area, shape.step, wide, tall):
            cell = (x // wide, y // tall)
            dots[cell] = dots.get(cell, 0) | _DOTS[y % tall][x % wide]
            owner[cell] = number
    if shape.braille:
        return {cell: Cell(chr(_BRAILLE + dots[cell]), number) for cell, number in owner.items()}
    return {cell: Cell(shape.marks[number], number) for cell, number in owner.items()}


def _dots(line: Line, area: _Area, step: float, wide: int, tall: int) -> Iterator[tuple[int, int]]:
    before: tuple[int, int] | None = None
    last = -math.inf
    for time, value in zip(line.times, line.values, strict=True):
        at = area.place(time, value, wide, tall)
        if before is None or time - last > step * 1.5:
            yield at
        else:
            yield from _between(before, at)
        before, last = at, time


def _between(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The dots of a straight line, both ends among them."""
    count = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for i in range(count + 1):
        yield start[0] + round((end[0] - start[0]) * i / count), start[1] + round((end[1] - start[1]) * i / count)


def _value_labels(low: float, high: float, rows: int) -> dict[int, str]:
    """Round values, two to six of them, by the rows that are nearest."""
    span = high - low
    unit = _round_down(span / 2)
    first, last = math.ceil(low / unit), math.floor(high / unit)
    if not 0 < last - first < rows:  # values so close to each other that no multiple lies between
        first, last, unit = 0, 1, span
    values = [low + i * unit if unit == span else i * unit for i in range(first, last + 1)]
    return {rows - 1 - round((value - low) / span * (rows - 1)): _number(value, unit) for value in values}


def _number(value: float, unit: float) -> str:
    """A multiple of unit, with no more digits than it takes to tell it from the next."""
    exponent = math.floor(math.log10(unit))
    if exponent > -5 and abs(value) < 1e7:
        return f"{value:.{max(0, -exponent)}f}"
    digits = math.floor(math.log10(abs(value))) - exponent + 1 if value else 1
    return f"{value:.{min(17, max(1, digits))}g}"


def _round_down(value: float) -> float:
    """The one of 1, 2, 5, 10, 20, ... before it."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(unit * power for unit in (5, 2, 1) if unit * power <= value or unit == 1)


def _time_labels(begin: float, end: float, columns: int) -> str:
    """Begin, end, and the middle where there is room."""
    left, right = _clock(begin, "%Y-%m-%d %H:%M:%S"), _clock(end, "%H:%M:%S" if end - begin < _DAY_S else "%m-%d %H:%M")
    middle = _clock((begin + end) / 2, "%H:%M:%S" if end - begin < _DAY_S else "%m-%d %H:%M")
    if end <= begin:
        return f"{left} UTC".center(columns)
    right += " UTC"
    space = columns - len(left) - len(right)
    gap = columns // 2 - len(middle) // 2 - len(left)
    if gap > 1 and gap + len(middle) + 1 < space:
        return left + " " * gap + middle + " " * (space - gap - len(middle)) + right
    return left + " " * max(1, space) + right


def _clock(seconds: float, form: str) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime(form)
    except OverflowError:
        return f"{seconds:.0f}"
