"""From text to checked tree, before planning: what frontend and engine both do with a query.

Trees of recent short texts are kept, so that frontend and engine of one process parse a text once and a dashboard's
next refresh not at all. Trees are immutable.
"""

from __future__ import annotations

from mimir_rw.promql.ast import Expr
from mimir_rw.promql.errors import InvalidQuery
from mimir_rw.promql.functions import ValueType
from mimir_rw.promql.parser import parse_expression

INLINE_CHARACTERS_MAX = 2000
"""A longer text is parsed in a thread: a megabyte of PromQL takes seconds, and the event loop has other work."""
KEPT_CHARACTERS_MAX = 600
"""A longer text's tree takes too much memory to be kept."""
KEPT_MAX = 256


class ParsedTexts:
    """Used on one thread (the event loop's)."""

    def __init__(self, *, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._trees: dict[str, Expr] = {}
        """In order of last use."""

    def __len__(self) -> int:
        return len(self._trees)

    def parse(self, text: str) -> Expr:
        """As `parse_expression`; raises ParseError."""
        if len(text) > KEPT_CHARACTERS_MAX:
            return parse_expression(text)
        tree = self._trees.pop(text, None) or parse_expression(text)
        if len(self._trees) >= self._kept_max:
            del self._trees[next(iter(self._trees))]
        self._trees[text] = tree
        return tree


def check_result_type(expr: Expr, *, instant: bool) -> None:
    """Raises InvalidQuery for an expression that a range query can not have."""
    if not instant and expr.type not in (ValueType.SCALAR, ValueType.VECTOR):
        raise InvalidQuery(
            f'invalid expression type "{expr.type.value}" for range query, must be Scalar or instant Vector'
        )
