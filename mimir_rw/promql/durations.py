"""Duration arithmetic: `foo[max_of(5m, 2 * step())]`, `foo offset (1h / 2)`.

Reading it, and later putting milliseconds in its place once the query's step and range are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql import tokens as t
from mimir_rw.promql.ast import (
    DurationExpr,
    DurationOp,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Span,
    SubqueryExpr,
    VectorSelector,
    transform,
)
from mimir_rw.promql.literals import duration_in_range
from mimir_rw.promql.reader import DEPTH_MAX, TokenReader
from mimir_rw.promql.tokens import Token

Duration = NumberLiteral | DurationExpr

_SIGN_PRECEDENCE = 2
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_VALUES = frozenset({t.NUMBER, t.DURATION, "("}) | t.DURATION_WORDS


def read_duration(reader: TokenReader) -> Duration:
    """The longest duration expression that begins at the current token."""
    operands: list[Duration] = []
    pending: list[tuple[int, Token, bool]] = []  # precedence, operator, is it a sign
    nesting, length = reader.nesting, 0
    while True:
        while reader.token.kind in ("+", "-"):
            reader.nest(reader.token)
            pending.append((_SIGN_PRECEDENCE, reader.advance(), True))
        operands.append(_value(reader))
        precedence = _PRECEDENCE.get(reader.token.kind, 0)
        while pending and pending[-1][0] >= precedence and not (precedence == 3 and pending[-1][0] == 3):
            _, operator, is_sign = pending.pop()
            rhs = operands.pop()
            operands.append(
                _signed(reader, operator, rhs) if is_sign else _binary(reader, operator, operands.pop(), rhs)
            )
        reader.nesting = nesting + len(pending)
        if not precedence:
            return operands[-1]
        length += 1
        if length > DEPTH_MAX:
            reader.fail(
                f"duration expression is too long, at most {DEPTH_MAX} operators are allowed", reader.token.span
            )
        reader.nest(reader.token)
        pending.append((precedence, reader.advance(), False))


def read_offset(reader: TokenReader) -> Duration:
    """What may follow `offset`: without parentheses one value with at most one sign, so that `offset -2 ^ 2` is a power
    of the selector; a parenthesis without sign begins a whole expression."""
    sign = reader.token if reader.token.kind in ("+", "-") else None
    if sign is None:
        return read_duration(reader) if reader.token.kind == "(" else _value(reader)
    if reader.peek() not in _VALUES:
        return read_duration(reader)
    reader.advance()
    return _signed(reader, sign, _value(reader))


def _value(reader: TokenReader) -> Duration:
    kind = reader.token.kind
    if kind in (t.NUMBER, t.DURATION):
        literal = reader.number()
        if not duration_in_range(literal.value):
            reader.fail("duration out of range", literal.span)
        return literal
    if kind == "(":
        reader.nest(reader.advance())
        inner = read_duration(reader)
        reader.expect(")")
        reader.nesting -= 1
        return replace(inner, wrapped=True) if isinstance(inner, DurationExpr) else inner
    if kind not in t.DURATION_WORDS:
        reader.unexpected()
    return _function(reader)


def _function(reader: TokenReader) -> DurationExpr:
    word = reader.advance()
    reader.nest(reader.expect("("))
    lhs = rhs = None
    if word.kind in ("min_of", "max_of"):
        lhs = read_duration(reader)
        reader.expect(",")
        rhs = read_duration(reader)
    end = reader.expect(")").end
    reader.nesting -= 1
    return DurationExpr(DurationOp(word.kind), lhs, rhs, span=Span(word.start, end))


def _signed(reader: TokenReader, sign: Token, value: Duration) -> Duration:
    span = Span(sign.start, value.span.end)
    if isinstance(value, NumberLiteral):
        return NumberLiteral(-value.value if sign.kind == "-" else value.value, value.is_duration, span)
    return DurationExpr(DurationOp.SUB, None, value, span=span) if sign.kind == "-" else value


def _binary(reader: TokenReader, operator: Token, lhs: Duration, rhs: Duration) -> DurationExpr:
    if isinstance(rhs, NumberLiteral) and rhs.value == 0 and operator.kind in ("/", "%"):
        reader.fail("division by zero" if operator.kind == "/" else "modulo by zero", operator.span)
    return DurationExpr(DurationOp(operator.kind), lhs, rhs, span=Span(lhs.span.start, rhs.span.end))


def resolve_durations(expr: Expr, *, step_ms: int, range_ms: int) -> Expr:
    """The tree with every duration expression replaced by its milliseconds.

    step_ms, range_ms: of the whole query; 0 in an instant query. Raises QueryFailed where a value makes no sense.
    """

    def value(duration: DurationExpr, negative_allowed: bool = False) -> int:
        return _milliseconds(duration, step_ms / 1000, range_ms / 1000, negative_allowed)

    def rewrite(node: Expr) -> Expr:
        if isinstance(node, VectorSelector | SubqueryExpr) and node.offset_expr is not None:
            node = replace(node, offset_ms=value(node.offset_expr, True), offset_expr=None)
        if isinstance(node, MatrixSelector | SubqueryExpr) and node.range_expr is not None:
            node = replace(node, range_ms=value(node.range_expr), range_expr=None)
        if isinstance(node, SubqueryExpr) and node.step_expr is not None:
            node = replace(node, step_ms=value(node.step_expr), step_expr=None)
        return node

    return transform(expr, rewrite)


def _milliseconds(duration: DurationExpr, step: float, query_range: float, negative_allowed: bool) -> int:
    where = f"{duration.span.start}:{duration.span.end}"
    try:
        seconds = _seconds(duration, step, query_range)
    except (OverflowError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise QueryFailed(f"{where}: duration is NaN or infinite")
    if seconds <= 0 and not negative_allowed:
        raise QueryFailed(f"{where}: duration must be greater than 0")
    if not duration_in_range(seconds):
        raise QueryFailed(f"{where}: duration is out of range")
    return int(seconds * 1000)


def _seconds(node: Duration, step: float, query_range: float) -> float:
    if isinstance(node, NumberLiteral):
        return node.value
    if node.op is DurationOp.STEP:
        return step
    if node.op is DurationOp.RANGE:
        return query_range
    lhs = 0.0 if node.lhs is None else _seconds(node.lhs, step, query_range)
    rhs = 0.0 if node.rhs is None else _seconds(node.rhs, step, query_range)
    if node.op in (DurationOp.DIV, DurationOp.MOD) and rhs == 0:
        problem = "division by zero" if node.op is DurationOp.DIV else "modulo by zero"
        raise QueryFailed(f"{node.span.start}:{node.span.end}: {problem}")
    return _ARITHMETIC[node.op](lhs, rhs)


_ARITHMETIC: dict[DurationOp, Callable[[float, float], float]] = {
    DurationOp.ADD: lambda lhs, rhs: lhs + rhs,
    DurationOp.SUB: lambda lhs, rhs: lhs - rhs,
    DurationOp.MUL: lambda lhs, rhs: lhs * rhs,
    DurationOp.DIV: lambda lhs, rhs: lhs / rhs,
    DurationOp.MOD: math.fmod,
    DurationOp.POW: math.pow,
    DurationOp.MIN_OF: min,
    DurationOp.MAX_OF: max,
}
