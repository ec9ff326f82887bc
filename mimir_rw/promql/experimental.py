"""Which experimental parts of the language a tenant may use.

The parser reads all of PromQL. Whoever takes queries from tenants refuses what is not enabled for them, as Mimir does:
by name, with its messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mimir_rw.promql.ast import AggregateExpr, BinaryExpr, Call, Expr, VectorMatching, VectorSelector, walk
from mimir_rw.promql.errors import InvalidQuery

_ALL = "all"


@dataclass(frozen=True, slots=True)
class Enabled:
    """Names by kind; "all" stands for every one of its kind.

    functions: of functions and aggregations; range_selectors: anchored, smoothed; fill_modifiers: fill, fill_left,
    fill_right.
    """

    functions: Collection[str] = ()
    range_selectors: Collection[str] = ()
    fill_modifiers: Collection[str] = ()


def refuse_disabled(expr: Expr, enabled: Enabled, tenant: str) -> None:
    """Raise InvalidQuery for the first thing in the expression that this tenant may not use."""
    for kind, name in _experimental(expr):
        names = {
            "extended range selector modifier": enabled.range_selectors,
            "binop fill modifier": enabled.fill_modifiers,
        }.get(kind, enabled.functions)
        if name not in names and _ALL not in names:
            raise InvalidQuery(f'{kind} "{name}" is not enabled for tenant {tenant}')


def _experimental(expr: Expr) -> Iterator[tuple[str, str]]:
    """Kind and name, in the order of the text."""
    for node in walk(expr):
        match node:
            case Call() if node.func.experimental:
                yield "function", node.func.name
            case AggregateExpr() if node.op.is_experimental:
                yield "aggregate", node.op.value
            case VectorSelector(anchored=True):
                yield "extended range selector modifier", "anchored"
            case VectorSelector(smoothed=True):
                yield "extended range selector modifier", "smoothed"
            case BinaryExpr(matching=VectorMatching() as matching):
                yield from (("binop fill modifier", name) for name in _fills(matching))


def _fills(matching: VectorMatching) -> list[str]:
    left, right = matching.fill_left is not None, matching.fill_right is not None
    if left and right and matching.fill_left == matching.fill_right:
        return ["fill"]
    return ["fill_left"] * left + ["fill_right"] * right
