"""Type checks on a well-formed tree, in Prometheus' order: only the first problem is reported."""

from __future__ import annotations

from typing import NoReturn

from mimir_rw._native import CompiledMatcher
from mimir_rw.model.labels import METRIC_NAME, Matcher
from mimir_rw.promql.ast import (
    AggregateExpr,
    AggregateOp,
    BinaryExpr,
    Call,
    Cardinality,
    Expr,
    Span,
    SubqueryExpr,
    UnaryExpr,
    VectorMatching,
    VectorSelector,
    children,
)
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.functions import SHORT_TYPE_NAMES, ValueType
from mimir_rw.promql.quoting import quote

_OPERANDS = (ValueType.SCALAR, ValueType.VECTOR)


def check_expression(expr: Expr, query: str, misplaced_matching: dict[int, VectorMatching]) -> None:
    """Raise ParseError for the first type error in `expr`.

    misplaced_matching: by id of a BinaryExpr, the matching clause written on it although it takes none.
    """
    _Checker(query, misplaced_matching).check(expr)


def matcher_accepts_empty(matcher: Matcher) -> bool:
    """Whether a series without the label passes."""
    return CompiledMatcher(*matcher.as_tuple()).matches("")


class _Checker:
    def __init__(self, query: str, misplaced_matching: dict[int, VectorMatching]) -> None:
        self.query = query
        self.misplaced_matching = misplaced_matching

    def fail(self, message: str, span: Span) -> NoReturn:
        raise ParseError(message, span=span, query=self.query)

    def check(self, expr: Expr) -> None:
        match expr:
            case VectorSelector():
                self.selector(expr)
            case Call():
                self.call(expr)
            case AggregateExpr():
                self.aggregate(expr)
            case BinaryExpr():
                self.binary(expr)
            case _:
                for child in children(expr):
                    self.check(child)
        if isinstance(expr, UnaryExpr) and expr.type not in _OPERANDS:
            self.fail(
                "unary expression only allowed on expressions of type scalar or instant vector, "
                f"got {quote(expr.type.value)}",
                expr.span,
            )
        if isinstance(expr, SubqueryExpr) and expr.expr.type is not ValueType.VECTOR:
            got = SHORT_TYPE_NAMES[expr.expr.type]
            self.fail(f"subquery is only allowed on instant vector, got {got} instead", expr.span)

    def selector(self, node: VectorSelector, may_be_empty: bool = False) -> None:
        if node.name:
            for matcher in node.matchers[:-1]:
                if matcher.name == METRIC_NAME:
                    names = f"{quote(node.name)} or {quote(matcher.value)}"
                    self.fail(f"metric name must not be set twice: {names}", node.span)
        elif not may_be_empty and all(matcher_accepts_empty(matcher) for matcher in node.matchers):
            self.fail("vector selector must contain at least one non-empty matcher", node.span)

    def expect(self, expr: Expr, wanted: ValueType, context: str) -> None:
        self.check(expr)
        if expr.type is not wanted:
            self.fail(f"expected type {wanted.value} in {context}, got {expr.type.value}", expr.span)

    def aggregate(self, node: AggregateExpr) -> None:
        self.expect(node.expr, ValueType.VECTOR, "aggregation expression")
        if node.param is not None:
            text = node.op is AggregateOp.COUNT_VALUES
            self.expect(node.param, ValueType.STRING if text else ValueType.SCALAR, "aggregation parameter")

    def call(self, node: Call) -> None:
        function, count, name = node.func, len(node.args), quote(node.func.name)
        problem = ""
        if count < function.args_min:
            problem = "" if not function.variadic else "at least "
        elif function.args_max is None or count <= function.args_max:
            problem = "none"
        elif function.variadic:
            problem = "at most "
        if problem != "none":
            wanted = function.args_max if problem == "at most " else function.args_min
            self.fail(f"expected {problem}{wanted} argument(s) in call to {name}, got {count}", node.span)
        if function.name == "info" and count > 1:
            self.info_selector(node)
        for index, arg in enumerate(node.args):
            if function.name == "info" and index == 1:
                continue
            wanted_type = function.arg_types[min(index, len(function.arg_types) - 1)]
            self.expect(arg, wanted_type, f"call to function {name}")

    def info_selector(self, node: Call) -> None:
        labels = node.args[1]
        if labels.type is not ValueType.VECTOR:
            self.fail(
                f'expected type {ValueType.VECTOR.value} in call to function "info", got {labels.type.value}', node.span
            )
        if not isinstance(labels, VectorSelector):
            self.fail("expected label selectors only", labels.span)
        if labels.name:
            self.fail("expected label selectors only, got vector selector instead", labels.span)
        self.selector(labels, may_be_empty=True)

    def binary(self, node: BinaryExpr) -> None:
        self.check(node.lhs)
        self.check(node.rhs)
        if node.return_bool and not node.op.is_comparison:
            self.fail("bool modifier can only be used on comparison operators", self.operator_span(node))
        if node.op.is_comparison and not node.return_bool and node.type is ValueType.SCALAR:
            self.fail("comparisons between scalars must use BOOL modifier", self.operator_span(node))
        matching = node.matching or self.misplaced_matching.get(id(node))
        if matching is not None and matching.on:
            for label in matching.labels:
                if label in matching.include:
                    self.fail(
                        f"label {quote(label)} must not occur in ON and GROUP clause at once", self.operator_span(node)
                    )
        for side in (node.lhs, node.rhs):
            if side.type not in _OPERANDS:
                self.fail("binary expression must contain only scalar and instant vector types", side.span)
        if matching is not None:
            self.matching(node, matching)
        if node.op.is_set and node.matching is None:
            self.fail(f'set operator "{node.op.value}" not allowed in binary scalar expression', node.span)

    def matching(self, node: BinaryExpr, matching: VectorMatching) -> None:
        fills = matching.fill_left is not None or matching.fill_right is not None
        if node.matching is None:
            if matching.labels:
                self.fail("vector matching only allowed between instant vectors", node.span)
            if fills:
                self.fail("filling in missing series only allowed between instant vectors", node.span)
        elif node.op.is_set:
            if matching.card is not Cardinality.MANY_TO_MANY:
                self.fail(f'no grouping allowed for "{node.op.value}" operation', node.span)
            if fills:
                self.fail("filling in missing series not allowed for set operators", node.span)

    def operator_span(self, node: BinaryExpr) -> Span:
        start = node.lhs.span.end
        while self.query[start] in " \t\r\n":
            start += 1
        return Span(start, node.rhs.span.start)
