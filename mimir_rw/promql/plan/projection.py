"""Finds the labels that nobody above a selector can see: they are not carried.

Under `sum by (a)` only `a` matters, as long as the operators in between take each series by itself and show no labels.
The name, type and unit always stay: annotations quote them, and later operators drop them. Only selectors of one metric
name are projected, so that rows cannot become equal where that would be an error.
"""

from __future__ import annotations

from collections.abc import Collection

from mimir_rw.promql.ast import AggregateExpr, AggregateOp, Expr, walk
from mimir_rw.promql.plan.row_wise import row_wise
from mimir_rw.promql.plan.sharding import names_one_metric

METADATA = ("__name__", "__type__", "__unit__")
_BY_GROUP_ALONE = (
    AggregateOp.SUM, AggregateOp.AVG, AggregateOp.COUNT, AggregateOp.MIN, AggregateOp.MAX, AggregateOp.GROUP,
    AggregateOp.STDDEV, AggregateOp.STDVAR, AggregateOp.QUANTILE,
)  # fmt: skip


def needed_labels(expr: Expr, shared: Collection[int]) -> dict[int, tuple[str, ...]]:
    """By id of a selector the names of the labels that are needed of it; all are needed of those that are missing.

    shared: ids of nodes whose value others use too.
    """
    needed = {}
    for node in walk(expr):
        if not isinstance(node, AggregateExpr) or node.without or node.op not in _BY_GROUP_ALONE:
            continue
        shape = row_wise(node.expr)
        if shape is None or shape.sets_labels or not names_one_metric(shape):
            continue
        if not any(id(each) in shared for each in shape.path):
            needed[id(shape.path[-1])] = (*METADATA, *(name for name in node.grouping if name not in METADATA))
    return needed
