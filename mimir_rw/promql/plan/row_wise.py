"""Which expressions work on every series by itself: what they give for all series is what they give for some of them
and for the others. Their series can be taken in batches, or be shared out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mimir_rw.promql.ast import (
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
    children,
)
from mimir_rw.promql.functions import ValueType

_LABEL_FUNCTIONS = frozenset({"label_join", "label_replace"})
_NOT_ROW_WISE = frozenset(
    {
        "absent", "absent_over_time", "histogram_fraction", "histogram_quantile", "histogram_quantiles", "info",
        "scalar", "sort", "sort_by_label", "sort_by_label_desc", "sort_desc",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RowWise:
    """path: from the expression down to the selector, both included. sides: what else the nodes of the path ask for,
    the same for every series. sets_labels: whether labels other than the name may change.
    """

    path: tuple[Expr, ...]
    sides: tuple[Expr, ...]
    sets_labels: bool

    @property
    def selector(self) -> VectorSelector | MatrixSelector:
        """The range selector, where there is one."""
        last = self.path[-1]
        if len(self.path) > 1 and isinstance(self.path[-2], MatrixSelector):
            return self.path[-2]
        assert isinstance(last, VectorSelector)
        return last


def row_wise(expr: Expr) -> RowWise | None:
    """None where series meet each other, or where there is no selector."""
    path: list[Expr] = []
    sides: list[Expr] = []
    node: Expr | None = expr
    while node is not None:
        path.append(node)
        if isinstance(node, VectorSelector):
            renames = any(isinstance(each, Call) and each.func.name in _LABEL_FUNCTIONS for each in path)
            return RowWise(tuple(path), tuple(sides), renames)
        inner = _inner(node)
        sides += [child for child in children(node) if child is not inner and not _is_literal(child)]
        node = inner
    return None


def with_selector(shape: RowWise, selector: VectorSelector) -> Expr:
    """The expression with another selector in the place of its own."""
    below: Expr = selector
    for old, node in zip(shape.path[::-1], shape.path[-2::-1], strict=False):
        below = _with_child(node, old, below)
    return below


def _with_child(node: Expr, old: Expr, new: Expr) -> Expr:
    match node:
        case BinaryExpr():
            return replace(node, lhs=new) if node.lhs is old else replace(node, rhs=new)
        case Call():
            return replace(node, args=tuple(new if arg is old else arg for arg in node.args))
        case MatrixSelector():
            assert isinstance(new, VectorSelector)
            return replace(node, selector=new)
        case UnaryExpr() | SubqueryExpr():
            return replace(node, expr=new)
    raise AssertionError("not on the way to a selector")


def _inner(node: Expr) -> Expr | None:
    """The one operand that has series, if the node works row by row."""
    match node:
        case UnaryExpr() | SubqueryExpr():
            return node.expr
        case MatrixSelector():
            return node.selector
        case Call():
            return None if node.func.name in _NOT_ROW_WISE else _only(_with_series(node))
        case BinaryExpr():
            return _only(_with_series(node))
    return None


def _with_series(node: Expr) -> Iterator[Expr]:
    return (child for child in children(node) if child.type in (ValueType.VECTOR, ValueType.MATRIX))


def _only(found: Iterator[Expr]) -> Expr | None:
    nodes = list(found)
    return nodes[0] if len(nodes) == 1 else None


def _is_literal(node: Expr) -> bool:
    return isinstance(node, NumberLiteral | StringLiteral)
