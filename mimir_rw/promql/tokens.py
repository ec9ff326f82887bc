"""Tokens of PromQL and how error messages name them.

The kind of a token is one of the constants below, else the symbol itself, else the keyword in lower case.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mimir_rw.promql.ast import AggregateOp, BinaryOp, Span
from mimir_rw.promql.quoting import quote


class Token(NamedTuple):
    """`text` as written (of an ERROR: the message); characters [start, end) of the query."""

    kind: str
    start: int
    end: int
    text: str

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)


IDENTIFIER: Final = "identifier"
METRIC_IDENTIFIER: Final = "metric identifier"
STRING: Final = "string"
NUMBER: Final = "number"
DURATION: Final = "duration"
END: Final = "end of input"
ERROR: Final = "error"
_CLASSES = frozenset({IDENTIFIER, METRIC_IDENTIFIER, STRING, NUMBER, DURATION})

AGGREGATORS: dict[str, AggregateOp] = {op.value: op for op in AggregateOp}
BINARY_OPERATORS: dict[str, BinaryOp] = {op.value: op for op in BinaryOp}
MATCH_OPERATORS = frozenset({"=", "!=", "=~", "!~"})
_OPERATORS = frozenset(BINARY_OPERATORS) | {"=~", "!~", "@"}
_WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})
_FILLS = frozenset({"fill", "fill_left", "fill_right"})
_MODIFIERS = _FILLS | {
    "offset", "smoothed", "anchored", "by", "without", "on", "ignoring", "group_left", "group_right", "bool",
}  # fmt: skip
DURATION_WORDS = frozenset({"step", "range", "max_of", "min_of"})
_PREPROCESSORS = DURATION_WORDS | {"start", "end"}
KEYWORDS = frozenset(AGGREGATORS) | _WORD_OPERATORS | _MODIFIERS | _PREPROCESSORS

METRIC_NAMES = (KEYWORDS | {IDENTIFIER, METRIC_IDENTIFIER}) - {
    "atan2", "on", "ignoring", "group_left", "group_right", "bool",
}  # fmt: skip
"""Kinds that can be a metric name outside braces."""

LABEL_NAMES = (KEYWORDS | {IDENTIFIER, METRIC_IDENTIFIER}) - {"without"}
"""Kinds that can be a label name in a grouping list."""

FUNCTION_NAMES = _PREPROCESSORS | {IDENTIFIER}

EXPRESSION_STARTS = METRIC_NAMES | {NUMBER, DURATION, STRING, "(", "{", "+", "-"}


def describe(token: Token) -> str:
    """The token as `unexpected …` names it."""
    kind, text = token.kind, token.text
    if kind == END:
        return END
    if kind in (IDENTIFIER, METRIC_IDENTIFIER):
        return f"{kind} {quote(text)}"
    if kind in _MODIFIERS:
        return f"<{text}>"
    if kind in _OPERATORS:
        return f"<op:{text}>"
    if kind in AGGREGATORS:
        return f"<aggr:{text}>"
    shown = quote(text[:10]) + "..." if len(text.encode("utf-8", "replace")) > 10 else quote(text)
    return f"{kind} {shown}" if kind in _CLASSES else shown
