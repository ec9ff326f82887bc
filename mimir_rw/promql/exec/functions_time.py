"""Functions of time: the steps of the query, timestamps, and dates (UTC)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import LabelFrame
from mimir_rw.promql.ast import Call, VectorSelector
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.selectors import select_start_times, select_times
from mimir_rw.promql.exec.values import FloatMatrix, Scalar, Vector, drop_names, empty_vector

_DAY_SECONDS = 86_400
_SECONDS_END = float(1 << 63)

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
        "step": bounds.step if bounds.start != bounds.end else 0,
    }[node.func.name]
    return Scalar(np.full(ev.steps.count, milliseconds / 1000))


def timestamp(ev: Evaluation, node: Call) -> Vector:
    """Of a selector: the time of each sample; of anything else: the evaluation time."""
    if isinstance(node.args[0], VectorSelector):
        vector = select_times(ev, node.args[0])
    else:
        vector = ev.vector(node.args[0])
        values = np.broadcast_to(ev.steps.seconds(), vector.values.shape)
        vector = replace(vector, values=values, mask=vector.present(), histograms=None)
    return drop_names(vector, delayed=ev.delayed_name_removal)


def start_timestamp(ev: Evaluation, node: Call) -> Vector:
    """Of a selector, where start timestamps are in use: that of each sample. Of anything else nothing."""
    if not ev.start_timestamps or not isinstance(node.args[0], VectorSelector):
        ev.vector(node.args[0])
        return empty_vector(ev.steps)
    return drop_names(select_start_times(ev, node.args[0]), delayed=ev.delayed_name_removal)


def date_function(ev: Evaluation, node: Call) -> Vector:
    """A part of the date; without an argument that of the evaluation time."""
    name = node.func.name
    if not node.args:
        values = date_part(name, ev.steps.seconds()[np.newaxis, :])
        return Vector(LabelFrame.empty_rows(1), values, np.ones(values.shape, dtype=np.bool_))
    vector = ev.vector(node.args[0]).floats()
    return drop_names(replace(vector, values=date_part(name, vector.values)), delayed=ev.delayed_name_removal)


def _in_calendar(values: FloatMatrix) -> NDArray[np.bool_]:
    """Which are seconds in 64 bits."""
    inside: NDArray[np.bool_] = np.abs(values) < _SECONDS_END
    return inside


def _whole_seconds(values: FloatMatrix) -> NDArray[np.int64]:
    """Truncated toward zero."""
    whole: NDArray[np.int64] = np.where(_in_calendar(values), values, 0.0).astype(np.int64)
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


# Day 0 of the epoch was a Thursday; Sunday is 0.
_PARTS: dict[str, Callable[[FloatMatrix], NDArray[np.int64]]] = {
    "day_of_month": _day_of_month,
    "day_of_week": lambda v: (_whole_seconds(v) // _DAY_SECONDS + 4) % 7,
    "day_of_year": _day_of_year,
    "days_in_month": _days_in_month,
    "hour": lambda v: _whole_seconds(v) // 3600 % 24,
    "minute": lambda v: _whole_seconds(v) // 60 % 60,
    "month": lambda v: _months(_days(v)) % 12 + 1,
    "year": lambda v: _months(_days(v)) // 12 + 1970,
}
DATE_FUNCTIONS = tuple(_PARTS)

# What Prometheus answers for a time that is no 64-bit number of seconds, NaN among them: the end of its calendar,
# Sunday 4 December 292277026596, 15:30.
_PARTS_OF_THE_END = {
    "day_of_month": 4.0,
    "day_of_week": 0.0,
    "day_of_year": 339.0,
    "days_in_month": 31.0,
    "hour": 15.0,
    "minute": 30.0,
    "month": 12.0,
    "year": 292277026596.0,
}


def date_part(name: str, values: FloatMatrix) -> FloatMatrix:
    """Part `name` of the dates that are `values` seconds after the epoch."""
    parts = _PARTS[name](values).astype(np.float64)
    inside = _in_calendar(values)
    return parts if inside.all() else np.where(inside, parts, _PARTS_OF_THE_END[name])
