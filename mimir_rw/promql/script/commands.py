"""What a PromQL test script says, as data: commands, points, expectations. All times are int ms since the epoch."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Label pairs in name order, none with an empty value."""


class Marker(enum.Enum):
    """`stale`: the series ends here."""

    STALE = "stale"


@dataclass(frozen=True, slots=True)
class HistogramLiteral:
    """A native histogram as written: `{{schema:1 sum:3 buckets:[5 10 7]}}`. reset_hint: "" where none is named."""

    schema: int = 0
    sum: float = 0.0
    count: float = 0.0
    zero_count: float = 0.0
    zero_threshold: float = 0.0
    offset: int = 0
    buckets: tuple[float, ...] = ()
    negative_offset: int = 0
    negative_buckets: tuple[float, ...] = ()
    custom_values: tuple[float, ...] = ()
    reset_hint: str = ""


@dataclass(frozen=True, slots=True)
class HistogramPoint:
    """base + times * increment; times is negative where the script subtracts."""

    base: HistogramLiteral
    increment: HistogramLiteral | None = None
    times: int = 0


Point: TypeAlias = float | Marker | HistogramPoint | None
"""None: no point."""


@dataclass(frozen=True, slots=True)
class Clear:
    line: int


@dataclass(frozen=True, slots=True)
class LoadedSeries:
    """Point i is at i times the step. start_offsets: start timestamps relative to the points, or empty."""

    labels: Labels
    points: tuple[Point, ...]
    start_offsets: tuple[int | None, ...] = ()

    @property
    def has_histograms(self) -> bool:
        return any(isinstance(point, HistogramPoint) for point in self.points)


@dataclass(frozen=True, slots=True)
class Load:
    """with_nhcb: each classic histogram is also loaded as a native one with custom buckets."""

    line: int
    step_ms: int
    series: tuple[LoadedSeries, ...]
    with_nhcb: bool = False


@dataclass(frozen=True, slots=True)
class TextPattern:
    """A text to equal or a regular expression to be found; neither: anything goes."""

    text: str | None = None
    pattern: re.Pattern[str] | None = None

    def accepts(self, text: str) -> bool:
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        return self.text is None or self.text == text

    def __str__(self) -> str:
        if self.pattern is not None:
            return f"something matching {self.pattern.pattern!r}"
        return "anything" if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class RangeVector:
    """The points of a range vector that an instant query returns: at start, start + step, ... <= end."""

    start_ms: int
    end_ms: int
    step_ms: int


@dataclass(frozen=True, slots=True)
class Expectation:
    """scalar, string, or series in listed order. fail: None unless the query has to fail."""

    series: dict[Labels, tuple[Point, ...]] = field(default_factory=dict)
    scalar: float | None = None
    string: str | None = None
    range_vector: RangeVector | None = None
    ordered: bool = False
    fail: TextPattern | None = None
    warn: tuple[TextPattern, ...] = ()
    info: tuple[TextPattern, ...] = ()
    no_warn: bool = False
    no_info: bool = False

    @property
    def has_histograms(self) -> bool:
        return any(isinstance(point, HistogramPoint) for points in self.series.values() for point in points)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """step_ms 0: an instant query at start_ms."""

    line: int
    expr: str
    start_ms: int
    end_ms: int
    step_ms: int
    expected: Expectation

    @property
    def is_instant(self) -> bool:
        return self.step_ms == 0


Command: TypeAlias = Clear | Load | Evaluation
