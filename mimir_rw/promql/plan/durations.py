"""Rewrite: duration arithmetic becomes milliseconds, and `@ start()`, `@ end()` become times.

After it no selector or subquery has an `offset_expr`, `range_expr` or `step_expr`, and every `at` is None or ms.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mimir_rw.promql.ast import (
    AtBound,
    DurationExpr,
    DurationOp,
    Expr,
    MatrixSelector,
    NumberLiteral,
    SubqueryExpr,
    VectorSelector,
    transform,
    walk,
)
from mimir_rw.promql.errors import InvalidQuery
from mimir_rw.promql.steps import Bounds

_SECONDS_MAX = (1 << 63) / 1e9


def resolve_times(expr: Expr, bounds: Bounds, query: str) -> Expr:
    """Raises InvalidQuery for a duration without a value, out of range, or not positive where it must be: for the first
    one from the top, of a subquery its offset before its step and range."""
    resolver = _Resolver(bounds, query)
    for node in walk(expr):
        resolver.check(node)
    return transform(expr, resolver.rewrite)


class _Resolver:
    def __init__(self, bounds: Bounds, query: str) -> None:
        self._bounds = bounds
        self._query = query

    def check(self, node: Expr) -> None:
        if isinstance(node, VectorSelector | SubqueryExpr) and node.offset_expr is not None:
            self._milliseconds(node.offset_expr, positive=False)
        if isinstance(node, SubqueryExpr) and node.step_expr is not None:
            self._milliseconds(node.step_expr, positive=True)
        if isinstance(node, MatrixSelector | SubqueryExpr) and node.range_expr is not None:
            self._milliseconds(node.range_expr, positive=True)

    def rewrite(self, node: Expr) -> Expr:
        if isinstance(node, MatrixSelector) and node.range_expr is not None:
            return replace(node, range_ms=self._milliseconds(node.range_expr, positive=True), range_expr=None)
        if isinstance(node, SubqueryExpr):
            node = self._subquery(node)
        if isinstance(node, VectorSelector | SubqueryExpr):
            if node.offset_expr is not None:
                offset_ms = self._milliseconds(node.offset_expr, positive=False)
                node = replace(node, offset_ms=offset_ms, offset_expr=None)
            if isinstance(node.at, AtBound):
                node = replace(node, at=self._bounds.start if node.at is AtBound.START else self._bounds.end)
        return node

    def _subquery(self, node: SubqueryExpr) -> SubqueryExpr:
        if node.range_expr is not None:
            node = replace(node, range_ms=self._milliseconds(node.range_expr, positive=True), range_expr=None)
        if node.step_expr is not None:
            node = replace(node, step_ms=self._milliseconds(node.step_expr, positive=True), step_expr=None)
        return node

    def _milliseconds(self, expr: DurationExpr, *, positive: bool) -> int:
        seconds = self._seconds(expr)
        if not math.isfinite(seconds):
            raise self._error(expr, "duration is NaN or infinite")
        if positive and seconds <= 0:
            raise self._error(expr, "duration must be greater than 0")
        if abs(seconds) >= _SECONDS_MAX:
            raise self._error(expr, "duration is out of range")
        return int(seconds * 1000)

    def _seconds(self, expr: NumberLiteral | DurationExpr) -> float:
        if isinstance(expr, NumberLiteral):
            return expr.value
        if expr.op is DurationOp.STEP:
            return self._bounds.step / 1000
        if expr.op is DurationOp.RANGE:
            return (self._bounds.end - self._bounds.start) / 1000
        assert expr.rhs is not None
        right = self._seconds(expr.rhs)
        if expr.lhs is None:
            return -right if expr.op is DurationOp.SUB else right
        return self._binary(expr, self._seconds(expr.lhs), right)

    def _binary(self, expr: DurationExpr, left: float, right: float) -> float:
        match expr.op:
            case DurationOp.ADD:
                return left + right
            case DurationOp.SUB:
                return left - right
            case DurationOp.MUL:
                return left * right
            case DurationOp.DIV:
                if right == 0:
                    raise self._error(expr, "division by zero")
                return left / right
            case DurationOp.MOD:
                if right == 0:
                    raise self._error(expr, "modulo by zero")
                return math.nan if math.isinf(left) else math.fmod(left, right)
            case DurationOp.POW:
                return _power(left, right)
            case _:
                if math.isnan(left) or math.isnan(right):
                    return math.nan
                return min(left, right) if expr.op is DurationOp.MIN_OF else max(left, right)

    def _error(self, expr: DurationExpr, text: str) -> InvalidQuery:
        """Told by its first byte and the one after its last, from 0, as Prometheus does here."""
        start, end = (len(self._query[:offset].encode("utf-8", "replace")) for offset in expr.span)
        return InvalidQuery(f"{start}:{end}: {text}")


def _power(left: float, right: float) -> float:
    try:
        result = left**right
    except (OverflowError, ZeroDivisionError):
        return math.inf
    return math.nan if isinstance(result, complex) else result
