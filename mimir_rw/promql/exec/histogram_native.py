"""Functions of native histograms: histogram_count, _sum, _avg, _stddev, _stdvar; and the native half of those that work
on both kinds of histograms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw import _native
from mimir_rw._native import LabelFrame
from mimir_rw.model.labels import METRIC_NAME
from mimir_rw.promql.ast import Call, Expr
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.values import BoolMatrix, FloatMatrix, Vector, drop_names, empty_vector

MOMENTS = {
    "histogram_avg": "avg",
    "histogram_count": "count",
    "histogram_stddev": "stddev",
    "histogram_stdvar": "stdvar",
    "histogram_sum": "sum",
}
"""What a function takes from each histogram, by the kernel's names."""


def moment(ev: Evaluation, node: Call) -> Vector:
    """Floats are dropped silently."""
    vector = ev.vector(node.args[0])
    if vector.histograms is None:
        return empty_vector(ev.steps)
    cells = vector.histograms
    floats = _floats(vector, *_native.histogram_moment(MOMENTS[node.func.name], cells.column, cells.index))
    # Prometheus leaves type and unit here.
    return drop_names(floats, delayed=ev.delayed_name_removal, names=(METRIC_NAME,))


def quantile(ev: Evaluation, vector: Vector, quantiles: NDArray[np.float64], node: Expr) -> Vector:
    """vector: only its histograms count. quantiles: one per step."""
    cells = vector.histograms
    assert cells is not None, "the caller has histograms"
    floats, nan, skewed = _native.native_quantile(quantiles, cells.column, cells.index)
    _note(ev, "input to histogram_quantile has NaN observations, result is NaN", vector.labels, nan, node)
    _note(ev, "input to histogram_quantile has NaN observations, result is skewed higher", vector.labels, skewed, node)
    return _floats(vector, *floats)


def fraction(
    ev: Evaluation, vector: Vector, lower: NDArray[np.float64], upper: NDArray[np.float64], node: Expr
) -> Vector:
    """The same for the share of observations between two values."""
    cells = vector.histograms
    assert cells is not None, "the caller has histograms"
    floats, excluded = _native.native_fraction(lower, upper, cells.column, cells.index)
    text = "input to histogram_fraction has NaN observations, which are excluded from all fractions"
    _note(ev, text, vector.labels, excluded, node)
    return _floats(vector, *floats)


def _floats(vector: Vector, values: FloatMatrix, mask: BoolMatrix) -> Vector:
    return replace(vector, values=values, mask=mask, histograms=None).compact()


def _note(ev: Evaluation, text: str, labels: LabelFrame, rows: BoolMatrix, node: Expr) -> None:
    for row in np.flatnonzero(rows).tolist():
        ev.annotations.info(text + metric_suffix(ev, labels, row), node.span)


def metric_suffix(ev: Evaluation, labels: LabelFrame, row: int) -> str:
    """` for metric name "m"`; nothing where the row has no name, or where names go at once and most have lost it."""
    name = labels.row(row).get(METRIC_NAME) if ev.delayed_name_removal else None
    return f' for metric name "{name}"' if name else ""
