"""Rewrite: what one side of a binary operation demands of a label that both sides must share is asked of the other too.

    a{x="1"} / b                ->  a{x="1"} / b{x="1"}
    a{x="1"} and on (x) b       ->  a{x="1"} and on (x) b{x="1"}
    a{x="1"} unless on (x) b    ->  a{x="1"} unless on (x) b{x="1"}

Series that cannot find a partner are not read then. That must not be seen, so it is done only where such series give no
error and no annotation: the sides are selectors, or functions of them that only look at floats, and for arithmetic and
comparisons a signature is on a side once at most: it has all labels but the name, and the selector names one metric.
"""

from __future__ import annotations

from dataclasses import replace

from mimir_rw.model.labels import METRIC_NAME, Matcher
from mimir_rw.promql.ast import (
    BinaryExpr,
    BinaryOp,
    Call,
    Expr,
    MatrixSelector,
    VectorMatching,
    VectorSelector,
    transform,
)
from mimir_rw.promql.plan.row_wise import RowWise, row_wise, with_selector
from mimir_rw.promql.plan.sharding import names_one_metric

_FLOATS_ONLY = frozenset(
    {
        "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "deg", "exp", "floor", "ln",
        "log10", "log2", "rad", "sgn", "sin", "sinh", "sqrt", "tan", "tanh",
    }
)  # fmt: skip


def push_matchers(expr: Expr) -> Expr:
    return transform(expr, _push)


def _push(node: Expr) -> Expr:
    if not isinstance(node, BinaryExpr) or node.matching is None or node.op is BinaryOp.OR:
        return node
    matching = node.matching
    if matching.fill_left is not None or matching.fill_right is not None:
        return node
    left, right = _quiet(node.lhs), _quiet(node.rhs)
    if left is None or right is None or not (node.op.is_set or _signatures_are_unique(matching, left, right)):
        return node
    lhs = node.lhs if node.op is BinaryOp.UNLESS else _with(left, _demands(right, matching))
    rhs = _with(right, _demands(left, matching))
    return node if lhs is node.lhs and rhs is node.rhs else replace(node, lhs=lhs, rhs=rhs)


def _quiet(side: Expr) -> RowWise | None:
    """A side whose series cause no annotation, whatever they are."""
    shape = row_wise(side)
    if shape is None or any(isinstance(node, MatrixSelector) for node in shape.path):
        return None
    calls = shape.path[:-1]
    return shape if all(isinstance(node, Call) and node.func.name in _FLOATS_ONLY for node in calls) else None


def _signatures_are_unique(matching: VectorMatching, left: RowWise, right: RowWise) -> bool:
    return not matching.on and not matching.labels and names_one_metric(left) and names_one_metric(right)


def _demands(side: RowWise, matching: VectorMatching) -> list[Matcher]:
    """Matchers of labels that are part of the signature."""
    selector = side.path[-1]
    assert isinstance(selector, VectorSelector)
    return [m for m in selector.matchers if m.name != METRIC_NAME and (m.name in matching.labels) == matching.on]


def _with(side: RowWise, demands: list[Matcher]) -> Expr:
    selector = side.path[-1]
    assert isinstance(selector, VectorSelector)
    missing = tuple(m for m in demands if m not in selector.matchers)
    if not missing:
        return side.path[0]
    return with_selector(side, replace(selector, matchers=(*missing, *selector.matchers)))
