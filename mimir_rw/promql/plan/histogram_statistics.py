"""Rewrite: marks the selectors of which only count and sum of native histograms are asked for, so that buckets need not
be computed with.

Those are below histogram_count, histogram_sum or histogram_avg, and neither in a subquery (resets are found by buckets)
nor below what looks at buckets. As Prometheus chooses, since it shows in annotations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mimir_rw.promql.ast import BinaryExpr, BinaryOp, Call, Expr, SubqueryExpr, VectorSelector, children, transform

_STATISTICS = ("histogram_avg", "histogram_count", "histogram_sum")
_OF_BUCKETS = ("histogram_fraction", "histogram_quantile", "histogram_quantiles")
_TRIM = (BinaryOp.TRIM_LOWER, BinaryOp.TRIM_UPPER)


def mark_statistics(expr: Expr) -> Expr:
    marked = frozenset(map(id, _selectors(expr, below_statistics=False)))
    if not marked:
        return expr
    return transform(expr, lambda node: _marked(node) if id(node) in marked else node)


def _marked(node: Expr) -> Expr:
    assert isinstance(node, VectorSelector), "only selectors are marked"
    return replace(node, statistics=True)


def _selectors(node: Expr, *, below_statistics: bool) -> Iterator[VectorSelector]:
    if isinstance(node, VectorSelector):
        if below_statistics:
            yield node
        return
    if isinstance(node, SubqueryExpr) or (isinstance(node, BinaryExpr) and node.op in _TRIM):
        return
    if isinstance(node, Call):
        if node.func.name in _OF_BUCKETS:
            return
        below_statistics = below_statistics or node.func.name in _STATISTICS
    for child in children(node):
        yield from _selectors(child, below_statistics=below_statistics)
