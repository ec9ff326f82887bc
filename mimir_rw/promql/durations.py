"""Reading duration arithmetic: `foo[max_of(5m, 2 * step())]`, `foo offset (1h / 2)`."""

from __future__ import annotations

import math
from dataclasses import replace

from mimir_rw.promql import tokens as t
from mimir_rw.promql.ast import (
    DurationExpr,
    DurationOp,
    NumberLiteral,
    Span,
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
        if not (duration_in_range(literal.value) or math.isnan(literal.value)):
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
    # The place of two arguments is theirs, as Prometheus tells it in errors.
    span = Span(word.start, end) if lhs is None or rhs is None else Span(lhs.span.start, rhs.span.end)
    return DurationExpr(DurationOp(word.kind), lhs, rhs, span=span)


def _signed(reader: TokenReader, sign: Token, value: Duration) -> Duration:
    span = Span(sign.start, value.span.end)
    if isinstance(value, NumberLiteral):
        return NumberLiteral(-value.value if sign.kind == "-" else value.value, value.is_duration, span)
    return DurationExpr(DurationOp.SUB, None, value, span=span) if sign.kind == "-" else value


def _binary(reader: TokenReader, operator: Token, lhs: Duration, rhs: Duration) -> DurationExpr:
    if isinstance(rhs, NumberLiteral) and rhs.value == 0 and operator.kind in ("/", "%"):
        reader.fail("division by zero" if operator.kind == "/" else "modulo by zero", operator.span)
    return DurationExpr(DurationOp(operator.kind), lhs, rhs, span=Span(lhs.span.start, rhs.span.end))
