"""Native histograms of scripts: from their notation, from classic histograms, as a store gives them back, compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mimir_rw._native import HistogramColumn
from mimir_rw.promql.literals import format_float
from mimir_rw.promql.script.commands import HistogramLiteral, HistogramPoint, Labels, LoadedSeries, Point
from mimir_rw.promql.script.numbers import almost_equal

if TYPE_CHECKING:
    from mimir_rw._native import HistogramParts

HINTS = ("unknown", "reset", "not_reset", "gauge")
CUSTOM_BUCKETS = -53
STALE_BITS = 0x7FF0000000000002
CLASSIC_SUFFIXES = ("_bucket", "_count", "_sum")

_UNKNOWN, _RESET, _NOT_RESET, _GAUGE = range(4)


def parts_of_literal(literal: HistogramLiteral) -> HistogramParts:
    return (
        HINTS.index(literal.reset_hint or "unknown"),
        literal.schema,
        literal.zero_threshold,
        literal.zero_count,
        literal.count,
        literal.sum,
        _side(literal.offset, literal.buckets),
        _side(literal.negative_offset, literal.negative_buckets),
        list(literal.custom_values),
    )


def _side(offset: int, buckets: Sequence[float]) -> tuple[list[tuple[int, int]], list[float]]:
    return ([(offset, len(buckets))] if buckets else []), list(buckets)


def parts_of_points(points: Iterable[Point]) -> list[HistogramParts | None]:
    """For each point the histogram that it stands for, None if it is none. Raises ValueError for sums of a kind that
    has no result."""
    points = list(points)
    longest: dict[tuple[HistogramLiteral, HistogramLiteral, bool], int] = {}
    for point in points:
        if isinstance(point, HistogramPoint) and point.increment is not None:
            key = (point.base, point.increment, point.times < 0)
            longest[key] = max(longest.get(key, 0), abs(point.times))
    runs = {key: _progression(*key, times) for key, times in longest.items()}
    out: list[HistogramParts | None] = []
    for point in points:
        if not isinstance(point, HistogramPoint):
            out.append(None)
        elif point.increment is None or point.times == 0:
            out.append(parts_of_literal(point.base))
        else:
            out.append(runs[point.base, point.increment, point.times < 0].part(abs(point.times)))
    return out


def _progression(base: HistogramLiteral, increment: HistogramLiteral, falls: bool, times: int) -> HistogramColumn:
    first, step = (HistogramColumn.from_parts([parts_of_literal(literal)]) for literal in (base, increment))
    return first.progression(0, step, times, -1.0 if falls else 1.0)


def stored_hints(row: Sequence[HistogramParts | None]) -> list[HistogramParts | None]:
    """One series' samples in order of time (None: a float) as they come out of a store.

    A gauge stays one. Of counters in one chunk all but the first are known to follow the one before without a reset;
    a chunk ends where a sample of another kind, layout or with a reset follows.
    """
    plain = [None if parts is None else (_GAUGE if parts[0] == _GAUGE else _UNKNOWN, *parts[1:]) for parts in row]
    columns = [None if parts is None else HistogramColumn.from_parts([parts]) for parts in plain]
    out: list[HistogramParts | None] = []
    for number, parts in enumerate(plain):
        before, own = (plain[number - 1], row[number]) if number else (None, None)
        continued = False
        if parts is not None and before is not None and own is not None and _GAUGE not in (parts[0], before[0]):
            column, previous = columns[number], columns[number - 1]
            assert column is not None
            assert previous is not None
            same_layout = (parts[1], parts[2], parts[8]) == (before[1], before[2], before[8])
            continued = own[0] != _RESET and same_layout and not column.is_reset(0, previous, 0)
        out.append((_NOT_RESET, *parts[1:]) if continued and parts is not None else parts)
    return out


@dataclass(slots=True)
class _Classic:
    """A classic histogram at one time: cumulative counts by upper bound."""

    buckets: dict[float, float] = field(default_factory=dict)
    count: float | None = None
    sum: float = 0.0

    def to_parts(self) -> HistogramParts:
        bounds = sorted(self.buckets)
        counts = [self.buckets[bound] for bound in bounds]
        total = self.count if self.count is not None else (counts[-1] if counts else 0.0)
        if not bounds or bounds[-1] != math.inf:
            bounds, counts = [*bounds, math.inf], [*counts, total]
        own = [count - before for count, before in zip(counts, [0.0, *counts[:-1]], strict=True)]
        literal = HistogramLiteral(
            schema=CUSTOM_BUCKETS, count=total, sum=self.sum, buckets=tuple(own), custom_values=tuple(bounds[:-1])
        )
        return HistogramColumn.from_parts([parts_of_literal(literal)]).compacted().part(0)


def custom_bucket_histograms(series: Iterable[LoadedSeries], step_ms: int) -> dict[Labels, dict[int, HistogramParts]]:
    """The histograms with custom buckets that `load_with_nhcb` makes of classic ones: by labels and time."""
    found: dict[Labels, dict[int, _Classic]] = {}
    for one in series:
        labels = dict(one.labels)
        name, bound = labels.get("__name__", ""), labels.pop("le", "")
        suffix = next((suffix for suffix in CLASSIC_SUFFIXES if name.endswith(suffix)), None)
        if suffix is None or (suffix == "_bucket" and not _is_bound(bound)):
            continue
        labels["__name__"] = name.removesuffix(suffix)
        times = found.setdefault(tuple(sorted(labels.items())), {})
        for index, point in enumerate(one.points):
            if not isinstance(point, float):
                continue
            classic = times.setdefault(index * step_ms, _Classic())
            if suffix == "_bucket":
                classic.buckets.setdefault(float(bound), point)
            elif suffix == "_count":
                classic.count = point
            else:
                classic.sum = point
    return {labels: {t: classic.to_parts() for t, classic in times.items()} for labels, times in found.items()}


def _is_bound(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def same_histogram(expected: HistogramPoint, parts: HistogramParts, got: HistogramParts) -> bool:
    """Whether `got` is what `expected`, as parts, says: numbers almost, layouts once compacted, hints where named."""
    hint = (expected.increment or expected.base).reset_hint
    wanted, own = (HistogramColumn.from_parts([one]).compacted().part(0) for one in (parts, got))
    if hint and wanted[0] != own[0]:
        return False
    exact = (1, 2, 8)
    if any(wanted[place] != own[place] for place in exact):
        return False
    numbers = zip(wanted[3:6], own[3:6], strict=True)
    return all(almost_equal(a, b) for a, b in numbers) and all(
        left[0] == right[0] and all(map(almost_equal, left[1], right[1]))
        for left, right in zip(wanted[6:8], own[6:8], strict=True)
    )


def format_histogram(parts: HistogramParts) -> str:
    """As a script writes it; several spans stand as offset/length pairs."""
    hint, schema, threshold, zero, count, total, positive, negative, custom = parts
    fields = {"schema": str(schema), "count": format_float(count), "sum": format_float(total)}
    if zero or threshold:
        fields |= {"z_bucket": format_float(zero), "z_bucket_w": format_float(threshold)}
    for prefix, (spans, counts) in (("", positive), ("n_", negative)):
        if counts:
            fields[f"{prefix}spans"] = " ".join(f"{offset}/{length}" for offset, length in spans)
            fields[f"{prefix}buckets"] = f"[{' '.join(map(format_float, counts))}]"
    if custom:
        fields["custom_values"] = f"[{' '.join(map(format_float, custom))}]"
    if hint:
        fields["counter_reset_hint"] = HINTS[hint]
    return "{{" + " ".join(f"{name}:{value}" for name, value in fields.items()) + "}}"
