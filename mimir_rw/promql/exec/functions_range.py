"""Functions of range vectors that a window kernel computes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import SampleColumns, window, window_extended, window_extended_mixed, window_mixed
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import NO_SPAN, Call, Expr, MatrixSelector, Span, SubqueryExpr, VectorSelector
from mimir_rw.promql.exec.evaluation import Evaluation, repeat
from mimir_rw.promql.exec.histogram_classic import check_quantiles
from mimir_rw.promql.exec.number_text import fixed
from mimir_rw.promql.exec.selectors import Kernel, StepColumns, Wanted, WindowSource, selector_windows
from mimir_rw.promql.exec.subquery import subquery_windows
from mimir_rw.promql.exec.values import Vector, drop_names
from mimir_rw.promql.quoting import quote

_LETTER = {"smoothing": "sf", "trend": "tf"}
_START_FUNCTIONS = ("increase", "irate", "rate", "resets")
_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")

WINDOW_FUNCTIONS = (
    "avg_over_time", "changes", "count_over_time", "delta", "deriv", "idelta", "increase", "irate", "mad_over_time",
    "max_over_time", "min_over_time", "present_over_time", "rate", "resets", "stddev_over_time", "stdvar_over_time",
    "sum_over_time", "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time", "ts_of_min_over_time",
)  # fmt: skip
EXTENDED_FUNCTIONS = {
    "anchored": ("changes", "delta", "increase", "rate", "resets"),
    "smoothed": ("delta", "increase", "rate"),
}
_WANTED: dict[str, Wanted] = {
    "count_over_time": "times",
    "delta": "edges",
    "first_over_time": "edges",
    "increase": "edges",
    "last_over_time": "newest",
    "present_over_time": "times",
    "rate": "edges",
    "resets": "times",
    "ts_of_first_over_time": "times",
    "ts_of_last_over_time": "times",
}
"""What functions look at of histograms; others at all of them."""
NAME_KEEPING_WINDOW_FUNCTIONS = ("first_over_time", "last_over_time")


def windows(ev: Evaluation, node: Expr, func: str) -> WindowSource:
    """The windows of a range vector argument of `func`.

    Raises QueryFailed for an anchored or smoothed range: those are for `window_function` alone.
    """
    if isinstance(node, MatrixSelector):
        _require_plain(node.selector, func)
        return selector_windows(ev, node, _WANTED.get(func, "all"))
    assert isinstance(node, SubqueryExpr), "the parser admits no other range vector"
    return subquery_windows(ev, node)


def annotated_span(node: Expr) -> Span:
    """The place of a range vector in annotations: as in Prometheus, a subquery has lost its own."""
    return NO_SPAN if isinstance(node, SubqueryExpr) else node.span


def _require_plain(selector: VectorSelector, func: str) -> None:
    for modifier, set_on in (("anchored", selector.anchored), ("smoothed", selector.smoothed)):
        if set_on:
            allowed = ", ".join(EXTENDED_FUNCTIONS[modifier])
            raise QueryFailed(f"{modifier} modifier can only be used with: {allowed} - not with {func}")


def window_kernel(ev: Evaluation, func: str, source: WindowSource, *params: NDArray[np.float64]) -> Kernel:
    ends, starts = source.ends, ev.start_timestamps and func in _START_FUNCTIONS

    def run(columns: SampleColumns) -> StepColumns:
        args = (func, columns, ends.start, ends.step, ends.count, source.range_ms, params)
        if columns.histogram_count or (starts and columns.start_ts is not None):
            return StepColumns.of_mixed(window_mixed(*args, starts))
        return StepColumns.of_floats(window(*args))

    return run


def over_steps(ev: Evaluation, vector: Vector) -> Vector:
    """The result of a pinned range at every step."""
    if vector.mask.shape[1] == ev.steps.count:
        return vector
    repeated = repeat(vector, ev.steps.count)
    assert isinstance(repeated, Vector)
    return repeated


def window_function(ev: Evaluation, node: Call) -> Vector:
    source, kernel = _source_and_kernel(ev, node)
    vector = source.run(ev, kernel, annotated_span(node.args[0]))
    if node.func.name in ("rate", "increase"):
        _note_counters(ev, node, vector)
    return over_steps(ev, drop_names(vector, delayed=ev.delayed_name_removal))


def _source_and_kernel(ev: Evaluation, node: Call) -> tuple[WindowSource, Kernel]:
    func, ranged = node.func.name, node.args[0]
    if isinstance(ranged, MatrixSelector):
        selector = ranged.selector
        modifier = "smoothed" if selector.smoothed else "anchored"
        if (selector.anchored or selector.smoothed) and func in EXTENDED_FUNCTIONS[modifier]:
            source = selector_windows(ev, ranged)
            return source, _extended_kernel(ev, func, source, smoothed=selector.smoothed)
    source = windows(ev, ranged, func)
    return source, window_kernel(ev, func, source)


def _extended_kernel(ev: Evaluation, func: str, source: WindowSource, *, smoothed: bool) -> Kernel:
    ends, lookback = source.ends, ev.defaults.lookback_ms

    def run(columns: SampleColumns) -> StepColumns:
        args = (func, columns, ends.start, ends.step, ends.count, source.range_ms, lookback, smoothed)
        if columns.histogram_count:
            return StepColumns.of_mixed(window_extended_mixed(*args))
        return StepColumns.of_floats(window_extended(*args))

    return run


def name_keeping_window_function(ev: Evaluation, node: Call) -> Vector:
    source = windows(ev, node.args[0], node.func.name)
    kernel = window_kernel(ev, node.func.name, source)
    return over_steps(ev, source.run(ev, kernel, annotated_span(node.args[0])))


def quantile_over_time(ev: Evaluation, node: Call) -> Vector:
    quantile, source = ev.scalar(node.args[0]), windows(ev, node.args[1], node.func.name)
    if not ((quantile >= 0) & (quantile <= 1)).all():
        check_quantiles(ev, quantile[_steps_with_samples(ev, source, "min_over_time")], node.args[0])
    return _with_params(ev, node, source, quantile)


def predict_linear(ev: Evaluation, node: Call) -> Vector:
    """From the evaluation time, whatever offset or @ say."""
    ahead = ev.scalar(node.args[1])
    return _with_params(ev, node, windows(ev, node.args[0], node.func.name), ahead, ev.steps.times().astype(np.float64))


def double_exponential_smoothing(ev: Evaluation, node: Call) -> Vector:
    smoothing, trend = ev.scalar(node.args[1]), ev.scalar(node.args[2])
    source = windows(ev, node.args[0], node.func.name)
    for factor, what in ((smoothing, "smoothing"), (trend, "trend")):
        outside = (factor <= 0) | (factor >= 1)
        wrong = factor[outside & _steps_with_samples(ev, source)] if outside.any() else factor[:0]
        if len(wrong):
            raise QueryFailed(
                f"invalid {what} factor. Expected: 0 < {_LETTER[what]} < 1, got: {fixed(float(wrong[0]))}"
            )
    return _with_params(ev, node, source, smoothing, trend)


def _steps_with_samples(ev: Evaluation, source: WindowSource, func: str = "present_over_time") -> NDArray[np.bool_]:
    """Parameters are judged only where there is something to apply them to: where `func` has a result."""
    silent = ev.with_annotations(ev.annotations.beside())
    present = over_steps(ev, source.run(silent, window_kernel(silent, func, source)))
    return np.asarray(present.mask.any(axis=0))


def _with_params(ev: Evaluation, node: Call, source: WindowSource, *params: NDArray[np.float64]) -> Vector:
    """A function with parameters that vary by step: a pinned range is looked at anew for each of them."""
    if source.ends.count != ev.steps.count:
        source = source.repeated(ev.steps.count)
    kernel = window_kernel(ev, node.func.name, source, *params)
    vector = source.run(ev, kernel, annotated_span(node.args[0]))
    return drop_names(vector, delayed=ev.delayed_name_removal)


def _note_types(ev: Evaluation, node: Call, vector: Vector) -> None:
    """The same by the label that says of what type a metric is."""
    floats = vector.labels.take(np.flatnonzero(vector.mask.any(axis=1)))
    for row in floats.group(["__name__", "__type__"], False)[1].rows():
        name, kind = row.get("__name__", ""), row.get("__type__", "")
        if name and kind not in ("counter", "histogram"):
            text = (
                'metric might not be a counter, __type__ label is not set to "counter" or "histogram", '
                f"got {quote(kind)}: {quote(name)}"
            )
            ev.annotations.info(text, annotated_span(node.args[0]))


def _note_counters(ev: Evaluation, node: Call, vector: Vector) -> None:
    """The info about metrics of floats that do not look like counters."""
    if len(vector.labels) == 0:
        return
    if ev.type_labels:
        _note_types(ev, node, vector)
        return
    codes = np.unique(vector.labels.codes("__name__")[vector.mask.any(axis=1)])
    dictionary = vector.labels.dictionary("__name__")
    for code in codes[codes >= 0]:
        name = dictionary[code]
        if not name.endswith(_COUNTER_SUFFIXES):
            text = f'metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{name}"'
            ev.annotations.info(text, annotated_span(node.args[0]))
