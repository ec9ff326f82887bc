"""Finds expressions that stand in a query more than once: each is evaluated once at the same steps.

Two expressions are one when they are written alike but for blanks, parentheses and positions. Of nested repetitions
only the outermost counts: what is inside is not asked for again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field

from mimir_rw.promql.ast import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
    children,
)


@dataclass(frozen=True, slots=True)
class Repeated:
    """classes: number of the class of each node that is worth sharing, by its id. uses: of each class, how many."""

    classes: dict[int, int] = field(default_factory=dict)
    uses: dict[int, int] = field(default_factory=dict)


def repeated_nodes(expr: Expr, hoisted: Collection[int]) -> Repeated:
    """hoisted: ids of the nodes that are evaluated once for all steps."""
    finder = _Finder(hoisted)
    finder.classify(expr)
    finder.count(expr, ())
    numbers = {place: number for number, place in enumerate(finder.uses)}
    return Repeated(
        classes={node: numbers[place] for node, place in finder.places.items() if finder.uses[place] > 1},
        uses={numbers[place]: count for place, count in finder.uses.items() if count > 1},
    )


class _Finder:
    def __init__(self, hoisted: Collection[int]) -> None:
        self._hoisted = hoisted
        self._numbers: dict[Hashable, int] = {}
        self._class_of: dict[int, int] = {}
        self._reads: set[int] = set()
        self.uses: Counter[tuple[int, Hashable]] = Counter()
        self.places: dict[int, tuple[int, Hashable]] = {}

    def classify(self, node: Expr) -> int:
        """Number the classes, from the leaves up; remember those that read series."""
        inner = tuple(self.classify(child) for child in children(node))
        number = self._numbers.setdefault((*_own_part(node), inner), len(self._numbers))
        self._class_of[id(node)] = number
        if isinstance(node, VectorSelector) or any(each in self._reads for each in inner):
            self._reads.add(number)
        return number

    def count(self, node: Expr, steps: Hashable) -> None:
        """steps: what tells apart the steps at which `node` is evaluated."""
        if id(node) in self._hoisted:
            steps = ("once", steps)
        number = self._class_of[id(node)]
        if number not in self._reads:
            return
        if not isinstance(node, MatrixSelector | SubqueryExpr):
            place = (number, steps)
            self.places[id(node)] = place
            self.uses[place] += 1
            if self.uses[place] > 1:
                return
        if isinstance(node, SubqueryExpr):
            steps = (steps, node.range_ms, node.step_ms, node.offset_ms, node.at)
        for child in children(node):
            if not _read_by_parent(node, child):
                self.count(child, steps)


def _read_by_parent(node: Expr, child: Expr) -> bool:
    """Whether `node` reads the selector `child` itself, so that no value of it exists."""
    if isinstance(node, MatrixSelector):
        return True
    if not isinstance(node, Call) or not isinstance(child, VectorSelector):
        return False
    return node.func.name in ("timestamp", "start_timestamp") or (node.func.name == "info" and child is node.args[-1])


def _own_part(node: Expr) -> tuple[Hashable, ...]:
    """What a node says beside its children. Numbers by their text: 0 and -0 are different."""
    match node:
        case NumberLiteral():
            return ("number", repr(node.value))
        case StringLiteral():
            return ("string", node.value)
        case VectorSelector():
            return ("select", node.matchers, node.offset_ms, node.at, node.anchored, node.smoothed, node.statistics)
        case MatrixSelector():
            return ("range", node.range_ms)
        case SubqueryExpr():
            return ("subquery", node.range_ms, node.step_ms, node.offset_ms, node.at)
        case UnaryExpr():
            return ("unary", node.op)
        case BinaryExpr():
            return ("binary", node.op, repr(node.matching), node.return_bool)
        case Call():
            return ("call", node.func.name)
        case AggregateExpr():
            return ("aggregation", node.op, node.grouping, node.without)
        case ParenExpr():
            return ("parentheses",)
