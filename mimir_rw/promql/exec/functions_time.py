"""Functions of time: the steps of the query, timestamps, and dates (UTC)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import LabelFrame
from mimir_rw.promql.ast import Call, VectorSelector
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.selectors import select_times
from mimir_rw.promql.exec.values import FloatMatrix, Scalar, Vector, drop_names

_DAY_SECONDS = 86_400
# Beyond this (about 2^50 s) a float no longer counts seconds that numpy can turn into a date.
_SECONDS_MAX = float(1 << 50)

Days = NDArray[np.datetime64]


def eval_time(ev: Evaluation, node: Call) -> Scalar:
    return Scalar(ev.steps.seconds())


def query_constant(ev: Evaluation, node: Call) -> Scalar:
    """start(), end(), range(), step() of the whole query, in seconds."""
    bounds = ev.bounds
    milliseconds = {
        "start": bounds.start,
        "end": bounds.end,
        "range": bounds.end - bounds.start,
        "step": bounds.step,
    }[node.func.name]
    return Scalar(np.full(ev.steps.count, milliseconds / 1000))


def timestamp(ev: Evaluation, node: Call) -> Vector:
    """Of a selector: the time of each sample; of anything else: the evaluation time."""
    if isinstance(node.args[0], VectorSelector):
        vector = select_times(ev, node.args[0])
    else:
        vector = ev.vector(node.args[0])
        vector = replace(vector, values=np.broadcast_to(ev.steps.seconds(), vector.values.shape))
    return drop_names(vector, delayed=ev.delayed_name_removal)


def date_function(ev: Evaluation, node: Call) -> Vector:
    """A part of the date; without an argument that of the evaluation time."""
    part = _PARTS[node.func.name]
    if not node.args:
        values = part(ev.steps.seconds()[np.newaxis, :])
        return Vector(LabelFrame.empty_rows(1), values, np.ones(values.shape, dtype=np.bool_))
    vector = ev.vector(node.args[0])
    return drop_names(replace(vector, values=part(vector.values)), delayed=ev.delayed_name_removal)


def _whole_seconds(values: FloatMatrix) -> NDArray[np.int64]:
    """Truncated toward zero; what is no number or too large becomes the bound."""
    limited = np.clip(np.nan_to_num(np.trunc(values), nan=-_SECONDS_MAX), -_SECONDS_MAX, _SECONDS_MAX)
    whole: NDArray[np.int64] = limited.astype(np.int64)
    return whole


def _days(values: FloatMatrix) -> Days:
    return (_whole_seconds(values) // _DAY_SECONDS).astype("datetime64[D]")


def _months(days: Days) -> NDArray[np.int64]:
    months: NDArray[np.int64] = days.astype("datetime64[M]").astype(np.int64)
    return months


def _days_between(start: Days, end: Days) -> NDArray[np.int64]:
    days: NDArray[np.int64] = (end.astype("datetime64[D]") - start.astype("datetime64[D]")).astype(np.int64)
    return days


def _day_of_month(values: FloatMatrix) -> NDArray[np.int64]:
    days = _days(values)
    return _days_between(days.astype("datetime64[M]"), days) + 1


def _day_of_year(values: FloatMatrix) -> NDArray[np.int64]:
    days = _days(values)
    return _days_between(days.astype("datetime64[Y]"), days) + 1


def _days_in_month(values: FloatMatrix) -> NDArray[np.int64]:
    month = _days(values).astype("datetime64[M]")
    return _days_between(month, month + 1)


def _as_floats(part: Callable[[FloatMatrix], NDArray[np.int64]]) -> Callable[[FloatMatrix], FloatMatrix]:
    return lambda values: part(values).astype(np.float64)


# Day 0 of the epoch was a Thursday; Sunday is 0.
_PARTS: dict[str, Callable[[FloatMatrix], FloatMatrix]] = {
    "day_of_month": _as_floats(_day_of_month),
    "day_of_week": _as_floats(lambda v: (_whole_seconds(v) // _DAY_SECONDS + 4) % 7),
    "day_of_year": _as_floats(_day_of_year),
    "days_in_month": _as_floats(_days_in_month),
    "hour": _as_floats(lambda v: _whole_seconds(v) // 3600 % 24),
    "minute": _as_floats(lambda v: _whole_seconds(v) // 60 % 60),
    "month": _as_floats(lambda v: _months(_days(v)) % 12 + 1),
    "year": _as_floats(lambda v: _months(_days(v)) // 12 + 1970),
}
DATE_FUNCTIONS = tuple(_PARTS)
