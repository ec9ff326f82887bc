"""Aggregations where some of the elements are native histograms."""

from __future__ import annotations

import numpy as np

from mimir_rw import _native
from mimir_rw._native import LabelFrame
from mimir_rw.model.labels import METRIC_NAME
from mimir_rw.promql.ast import AggregateExpr, AggregateOp, Expr
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.matching import presence
from mimir_rw.promql.exec.values import BoolMatrix, FloatMatrix, HistogramCells, Rows, Vector
from mimir_rw.promql.quoting import quote

OF_HISTOGRAMS = frozenset({AggregateOp.SUM, AggregateOp.AVG})
OF_ELEMENTS = frozenset({AggregateOp.COUNT, AggregateOp.GROUP})
IGNORING_HISTOGRAMS = frozenset(
    {AggregateOp.MIN, AggregateOp.MAX, AggregateOp.STDDEV, AggregateOp.STDVAR, AggregateOp.QUANTILE}
)
"""Aggregations by what histograms are to them: summands, elements like any other, or nothing."""


def sum_or_avg(
    ev: Evaluation, node: AggregateExpr, vector: Vector, groups: Rows, labels: LabelFrame
) -> tuple[FloatMatrix, BoolMatrix, HistogramCells]:
    """Floats and histograms by group. A group that has both at a step, or histograms that do not go together, has
    neither then."""
    cells = vector.histograms
    assert cells is not None, "the caller has histograms"
    op, count = str(node.op), len(labels)
    values, mask = _native.aggregate(op, groups, count, vector.values, vector.mask)
    column, index, met, incompatible = _native.aggregate_histograms(
        op, groups, count, cells.column, cells.index, vector.mask
    )
    note_incompatible(ev, node.expr, vector.labels, incompatible)
    note_met(ev, node.expr, met)
    return values, mask & ~presence(groups, count, cells.present()), HistogramCells(column, index)


def note_incompatible(ev: Evaluation, node: Expr, labels: LabelFrame, rows: BoolMatrix) -> None:
    """rows: those whose histograms did not go with the ones before them."""
    for row in np.flatnonzero(rows).tolist():
        name = quote(labels.row(row).get(METRIC_NAME, ""))
        ev.annotations.warn(
            "vector contains a mix of histograms with exponential and custom buckets schemas for metric name " + name,
            node.span,
        )


def note_met(ev: Evaluation, node: Expr, met: tuple[bool, bool, bool]) -> None:
    """met: as the kernels tell."""
    mixed, collision, reconciled = met
    if mixed:
        ev.annotations.warn("encountered a mix of histograms and floats for aggregation", node.span)
    if collision:
        ev.annotations.warn("conflicting counter resets during histogram aggregation", node.span)
    if reconciled:
        ev.annotations.info("mismatched custom buckets were reconciled during aggregation", node.span)


def note_ignored(ev: Evaluation, op: AggregateOp, node: Expr) -> None:
    ev.annotations.info(f"ignored histogram in {op} aggregation", node.span)


def count_texts(vector: Vector, groups: Rows, count: int) -> tuple[Rows, list[str], FloatMatrix, BoolMatrix]:
    """Histograms of each group by their text: a row per group and distinct text, with the number of them at each
    step."""
    cells = vector.histograms
    assert cells is not None, "the caller has histograms"
    texts, numbers = _native.histogram_texts(cells.column)
    present = cells.present()
    codes = np.append(numbers, 0)[cells.index].astype(np.float64)
    pair_groups, pair_codes, (values, mask) = _native.count_values(groups, count, codes, present)
    return pair_groups, [texts[int(code)] for code in pair_codes], values, mask
