"""A syntax tree as plain data for JSON: the fields that Prometheus' `/parse_query` gives its web page, and positions.

In: a parsed expression. Out: dicts, lists and scalars. Each node is an object with a `type`; durations and times are
int ms, numbers are text (JSON has no NaN). `start` and `end`, which Prometheus does not have, are offsets into the
query in characters, end exclusive. Bytes of the query that are no UTF-8 become replacement characters. Pure.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from mimir_rw.promql.ast import (
    AggregateExpr,
    AtBound,
    BinaryExpr,
    Call,
    DurationExpr,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    Span,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorMatching,
    VectorSelector,
)
from mimir_rw.promql.functions import SHORT_TYPE_NAMES, Function
from mimir_rw.promql.literals import format_float

Object: TypeAlias = dict[str, Any]


def syntax_object(expr: Expr) -> Object:
    """The tree under `expr` as nested objects; as deep as the parser allows."""
    return _fields(expr) | _place(expr.span)


def _fields(expr: Expr) -> Object:
    match expr:
        case NumberLiteral():
            return {"type": "numberLiteral", "val": format_float(expr.value)}
        case StringLiteral():
            return {"type": "stringLiteral", "val": _text(expr.value)}
        case VectorSelector():
            return {"type": "vectorSelector", **_selector(expr)}
        case MatrixSelector():
            window = {"range": expr.range_ms, "rangeExpr": _duration(expr.range_expr)}
            return {"type": "matrixSelector", **window, **_selector(expr.selector)}
        case SubqueryExpr():
            return _subquery(expr)
        case ParenExpr():
            return {"type": "parenExpr", "expr": syntax_object(expr.expr)}
        case UnaryExpr():
            return {"type": "unaryExpr", "op": expr.op.value, "expr": syntax_object(expr.expr)}
        case BinaryExpr():
            return _binary(expr)
        case AggregateExpr():
            return {
                "type": "aggregation",
                "op": expr.op.value,
                "expr": syntax_object(expr.expr),
                "param": None if expr.param is None else syntax_object(expr.param),
                "grouping": _texts(expr.grouping),
                "without": expr.without,
            }
        case Call():
            return {"type": "call", "func": _function(expr.func), "args": [syntax_object(arg) for arg in expr.args]}


def _place(span: Span) -> Object:
    return {"start": span.start, "end": span.end}


def _selector(node: VectorSelector) -> Object:
    return {
        "name": _text(node.name),
        "matchers": [
            {"type": matcher.symbol, "name": _text(matcher.name), "value": _text(matcher.value)}
            for matcher in node.matchers
        ],
        **_time(node),
        "anchored": node.anchored,
        "smoothed": node.smoothed,
    }


def _subquery(node: SubqueryExpr) -> Object:
    return {
        "type": "subquery",
        "expr": syntax_object(node.expr),
        "range": node.range_ms,
        "rangeExpr": _duration(node.range_expr),
        "step": node.step_ms,
        "stepExpr": _duration(node.step_expr),
        **_time(node),
    }


def _time(node: VectorSelector | SubqueryExpr) -> Object:
    bound = isinstance(node.at, AtBound)
    return {
        "offset": node.offset_ms,
        "offsetExpr": _duration(node.offset_expr),
        "timestamp": None if bound else node.at,
        "startOrEnd": node.at if bound else None,
    }


def _duration(node: NumberLiteral | DurationExpr | None) -> Object | None:
    if node is None:
        return None
    if isinstance(node, NumberLiteral):
        value = {"type": "numberLiteral", "val": format_float(node.value), "duration": node.is_duration}
        return value | _place(node.span)
    return {
        "type": "durationExpr",
        "op": node.op.value,
        "lhs": _duration(node.lhs),
        "rhs": _duration(node.rhs),
        "wrapped": node.wrapped,
        **_place(node.span),
    }


def _binary(node: BinaryExpr) -> Object:
    return {
        "type": "binaryExpr",
        "op": node.op.value,
        "lhs": syntax_object(node.lhs),
        "rhs": syntax_object(node.rhs),
        "matching": None if node.matching is None else _matching(node.matching),
        "bool": node.return_bool,
    }


def _matching(matching: VectorMatching) -> Object:
    return {
        "card": matching.card.value,
        "labels": _texts(matching.labels),
        "on": matching.on,
        "include": _texts(matching.include),
        "fillValues": {"lhs": _number(matching.fill_left), "rhs": _number(matching.fill_right)},
    }


def _number(value: float | None) -> float | str | None:
    """A number, or its name where JSON has none."""
    return value if value is None or math.isfinite(value) else format_float(value)


def _function(function: Function) -> Object:
    return {
        "name": function.name,
        "argTypes": [SHORT_TYPE_NAMES[kind] for kind in function.arg_types],
        "variadic": function.variadic,
        "returnType": SHORT_TYPE_NAMES[function.return_type],
    }


def _texts(texts: tuple[str, ...]) -> list[str]:
    return [_text(text) for text in texts]


def _text(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
