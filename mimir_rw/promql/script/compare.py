"""An answer against what the script expects: the first difference in words, or "". Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mimir_rw.promql.literals import format_float
from mimir_rw.promql.quoting import quote
from mimir_rw.promql.script.answer import Answer, AnswerKind, AnswerSeries, AnswerValue
from mimir_rw.promql.script.commands import (
    Evaluation,
    Expectation,
    HistogramPoint,
    Labels,
    Marker,
    Point,
    RangeVector,
    TextPattern,
)
from mimir_rw.promql.script.histograms import format_histogram, parts_of_points, same_histogram
from mimir_rw.promql.script.numbers import almost_equal

if TYPE_CHECKING:
    from mimir_rw._native import HistogramParts


def compare(case: Evaluation, answer: Answer) -> str:
    """The first difference between answer and expectation, annotations included."""
    expected = case.expected
    return compare_annotations(expected, answer) or compare_value(expected, answer, _times(case))


def _times(case: Evaluation) -> RangeVector:
    return case.expected.range_vector or RangeVector(case.start_ms, case.end_ms, case.step_ms)


def compare_annotations(expected: Expectation, answer: Answer) -> str:
    return _annotations("warn", expected.warn, expected.no_warn, answer.warnings) or _annotations(
        "info", expected.info, expected.no_info, answer.infos
    )


def _annotations(kind: str, wanted: Sequence[TextPattern], none: bool, got: Sequence[str]) -> str:
    if none and got:
        return f"unexpected {kind} annotation: {got[0]}"
    for pattern in wanted:
        if not any(pattern.accepts(text) for text in got):
            return f"no {kind} annotation is {pattern}; got {list(got)}"
    if wanted:
        for text in got:
            if not any(pattern.accepts(text) for pattern in wanted):
                return f"unexpected {kind} annotation: {text}"
    return ""


def compare_value(expected: Expectation, answer: Answer, times: RangeVector) -> str:
    if expected.string is not None or answer.kind is AnswerKind.STRING:
        same = answer.kind is AnswerKind.STRING and answer.text == (expected.string or "")
        return "" if same else "the string differs"
    if (expected.scalar is not None) != (answer.kind is AnswerKind.SCALAR):
        return f"unexpected type: {answer.kind.value}"
    if expected.scalar is not None:
        value = answer.series[0].points[0][1]
        return "" if _value_equal(expected.scalar, None, value) else "the value differs"
    if answer.kind is AnswerKind.MATRIX and expected.ordered:
        return "expected an ordered result, got a matrix"
    return _series(expected, answer, times)


def _series(expected: Expectation, answer: Answer, times: RangeVector) -> str:
    positions = {labels: position for position, labels in enumerate(expected.series)}
    seen: set[Labels] = set()
    if answer.kind is AnswerKind.MATRIX and not is_sorted(answer):
        return "the series of a matrix are not sorted by labels"
    for position, series in enumerate(answer.series):
        shown = format_labels(series.labels)
        if series.labels not in positions:
            return f"unexpected series {shown}"
        if series.labels in seen:
            return f"series {shown} appears twice"
        seen.add(series.labels)
        if expected.ordered and positions[series.labels] != position:
            return f"series {shown} at place {position + 1}, expected at {positions[series.labels] + 1}"
        points = expected.series[series.labels]
        if not _points_equal(points if answer.kind is AnswerKind.MATRIX else points[:1], series, times):
            return f"the points of {shown} differ"
    missing = [labels for labels in positions if labels not in seen]
    return f"missing series {format_labels(missing[0])}" if missing else ""


def is_sorted(answer: Answer) -> bool:
    order = [[part.encode("utf-8", "surrogateescape") for pair in s.labels for part in pair] for s in answer.series]
    return all(order[i] <= order[i + 1] for i in range(len(order) - 1))


def _points_equal(expected: Sequence[Point], series: AnswerSeries, times: RangeVector) -> bool:
    wanted = [(times.start_ms + i * times.step_ms, point) for i, point in enumerate(expected) if point is not None]
    if len(wanted) != len(series.points) or any(t > times.end_ms for t, _ in wanted):
        return False
    histograms = parts_of_points(point for _, point in wanted)
    return all(
        time == at and _value_equal(point, histogram, value)
        for (time, point), histogram, (at, value) in zip(wanted, histograms, series.points, strict=True)
    )


def _value_equal(point: Point, histogram: HistogramParts | None, value: AnswerValue) -> bool:
    if isinstance(value, tuple):
        return isinstance(point, HistogramPoint) and histogram is not None and same_histogram(point, histogram, value)
    return isinstance(point, float) and almost_equal(point, value)


def format_labels(labels: Labels) -> str:
    """`name{a="b"}`, or `{}`."""
    name = dict(labels).get("__name__", "")
    rest = ", ".join(f"{label}={quote(value)}" for label, value in labels if label != "__name__")
    return f"{name}{{{rest}}}" if rest or not name else name


def format_expected(expected: Expectation) -> str:
    """One line per series, as a script would say it."""
    if expected.fail is not None:
        return f"an error: {expected.fail}"
    if expected.string is not None:
        return quote(expected.string)
    if expected.scalar is not None:
        return format_float(expected.scalar)
    lines = [f"{format_labels(labels)} {' '.join(_points(points))}" for labels, points in expected.series.items()]
    lines += [f"warning: {pattern}" for pattern in expected.warn] + [f"info: {pattern}" for pattern in expected.info]
    return "\n".join(lines) or "nothing"


def _points(points: Sequence[Point]) -> list[str]:
    return [
        format_histogram(histogram) if histogram is not None else _point(point)
        for point, histogram in zip(points, parts_of_points(points), strict=True)
    ]


def _point(point: Point) -> str:
    if isinstance(point, Marker):
        return str(point.value)
    return format_float(point) if isinstance(point, float) else "_"


def _value(value: AnswerValue) -> str:
    return format_histogram(value) if isinstance(value, tuple) else format_float(value)


def format_answer(answer: Answer, times: RangeVector) -> str:
    """The same for an answer; points of a matrix off the expected times are written `value@ms`."""
    if answer.kind is AnswerKind.STRING:
        return quote(answer.text)
    if answer.kind is AnswerKind.SCALAR:
        return _value(answer.series[0].points[0][1])
    lines = []
    for series in answer.series:
        values = [_value(value) for _, value in series.points]
        if answer.kind is AnswerKind.MATRIX:
            values = _on_grid(series, times)
        lines.append(f"{format_labels(series.labels)} {' '.join(values)}")
    lines += [f"warning: {text}" for text in answer.warnings] + [f"info: {text}" for text in answer.infos]
    return "\n".join(lines) or "nothing"


def _on_grid(series: AnswerSeries, times: RangeVector) -> list[str]:
    out: list[str] = []
    for at, value in series.points:
        steps, off = divmod(at - times.start_ms, times.step_ms or 1)
        if off or steps < 0:
            out.append(f"{_value(value)}@{at}")
            continue
        out += ["_"] * (steps - len(out)) + [_value(value)]
    return out
