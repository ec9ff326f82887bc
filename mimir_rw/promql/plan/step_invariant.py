"""Finds what does not depend on the step: it is evaluated once and repeated.

An expression is step invariant when all of its selectors are pinned by `@` and nothing in it reads the evaluation time.
"""

from __future__ import annotations

from mimir_rw.promql.ast import (
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    StringLiteral,
    SubqueryExpr,
    VectorSelector,
    children,
)

# Functions whose result depends on the evaluation time although their arguments do not.
_TIME_FUNCTIONS = frozenset(
    {
        "time", "timestamp", "predict_linear",
        "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year",
    }
)  # fmt: skip


def hoisted_nodes(expr: Expr) -> frozenset[int]:
    """`id`s of the topmost step-invariant nodes. Literals, and ranges outside an invariant call, are not among them."""
    found: set[int] = set()
    if _collect(expr, found) and _worth_hoisting(expr):
        found.add(id(expr))
    return frozenset(found)


def _collect(node: Expr, found: set[int]) -> bool:
    """Whether `node` is invariant; adds the topmost invariant nodes strictly inside a node that is not."""
    if isinstance(node, NumberLiteral | StringLiteral):
        return True
    if isinstance(node, VectorSelector):
        return node.at is not None
    if isinstance(node, MatrixSelector):
        return node.selector.at is not None
    if isinstance(node, SubqueryExpr):
        # The inside has steps of its own: what is invariant there is repeated there, whatever the outside does.
        _add([(node.expr, _collect(node.expr, found))], found)
        return node.at is not None
    parts = [(child, _collect(child, found)) for child in children(node)]
    if all(invariant for _, invariant in parts) and not _reads_time(node):
        return True
    _add(parts, found)
    return False


def _reads_time(node: Expr) -> bool:
    if not isinstance(node, Call) or node.func.name not in _TIME_FUNCTIONS:
        return False
    # timestamp() of a selector gives the times of its samples.
    return not (node.func.name == "timestamp" and isinstance(node.args[0], VectorSelector))


def _add(parts: list[tuple[Expr, bool]], found: set[int]) -> None:
    found.update(id(child) for child, invariant in parts if invariant and _worth_hoisting(child))


def _worth_hoisting(node: Expr) -> bool:
    return not isinstance(node, NumberLiteral | StringLiteral | MatrixSelector | SubqueryExpr)
