"""PromQL text to a checked syntax tree.

Binary operators are reduced on an explicit stack by precedence; recursion happens only where the text nests, and is
bounded by `reader.NESTING_MAX`. Time is linear in the text. Only the first syntax error is reported; types are checked
when the whole text is known to be well-formed (`checks.py`).

An error inside `sum(…)`, `[…]`, after `offset` and so on names the innermost such place: the stack of contexts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from mimir_rw._native import CompiledMatcher, RegexError
from mimir_rw.model.labels import METRIC_NAME, Matcher, MatchType
from mimir_rw.promql import ast
from mimir_rw.promql import tokens as t
from mimir_rw.promql.ast import BinaryOp, DurationExpr, Expr, NumberLiteral, Span, VectorMatching, VectorSelector
from mimir_rw.promql.checks import check_expression
from mimir_rw.promql.durations import read_duration, read_offset
from mimir_rw.promql.functions import FUNCTIONS, Function, ValueType
from mimir_rw.promql.literals import format_float, seconds_to_ms
from mimir_rw.promql.quoting import quote, unquote
from mimir_rw.promql.reader import DEPTH_MAX, TokenReader
from mimir_rw.promql.tokens import Token


def parse_expression(query: str) -> Expr:
    """The checked tree of a query, with everything experimental (see `experimental.py`). Raises ParseError."""
    parser = _Parser(query)
    expr = parser.whole_expression()
    check_expression(expr, query, parser.misplaced_matching)
    return expr


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Matchers of a lone series selector, as in `match[]`. Raises ParseError."""
    return _Parser(text).whole_selector().matchers


class _Pending(NamedTuple):
    """An operator whose right side is being read. modifiers: None for a sign."""

    precedence: int
    token: Token
    modifiers: tuple[VectorMatching, bool] | None


_SIGN_PRECEDENCE: Final = 5
_PRECEDENCE: Final[dict[str, int]] = {
    "or": 1, "and": 2, "unless": 2,
    "==": 3, "!=": 3, "<=": 3, "<": 3, ">=": 3, ">": 3, "</": 3, ">/": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_MATCH_TYPES: Final = {
    "=": MatchType.EQUAL,
    "!=": MatchType.NOT_EQUAL,
    "=~": MatchType.REGEX,
    "!~": MatchType.NOT_REGEX,
}
_NO_MATCHING: Final = VectorMatching()
_AGGREGATION: Final = ("aggregation", "")
_GROUPING: Final = "grouping opts"


class _Parser(TokenReader):
    def __init__(self, query: str) -> None:
        super().__init__(query)
        self.depth = 0  # of the expression read last
        self.misplaced_matching: dict[int, VectorMatching] = {}
        """Matching clauses on operators that cannot have one, by id of the node."""

    def deepen(self, depth: int, span: Span) -> None:
        self.depth = depth
        if depth > DEPTH_MAX:
            self.fail(f"expression is too deep, at most {DEPTH_MAX} operators can follow on one another", span)

    # -- expressions --

    def whole_expression(self) -> Expr:
        if self.token.kind == t.END:
            self.fail("no expression found in input", Span(0, 0))
        expr = self.expression()
        if self.token.kind != t.END:
            self.unexpected()
        return expr

    def whole_selector(self) -> VectorSelector:
        if self.token.kind not in t.METRIC_NAMES and self.token.kind != "{":
            self.unexpected()
        selector = self.selector()
        if self.token.kind != t.END:
            self.unexpected()
        return selector

    def expression(self) -> Expr:
        operands: list[Expr] = []
        depths: list[int] = []
        pending: list[_Pending] = []
        nesting = self.nesting
        while True:
            while self.token.kind in ("+", "-"):
                self.nest(self.token)
                pending.append(_Pending(_SIGN_PRECEDENCE, self.advance(), None))
            operands.append(self.operand())
            depths.append(self.depth)
            precedence = _PRECEDENCE.get(self.token.kind, 0)
            while (
                pending
                and pending[-1].precedence >= precedence
                and not (precedence == _PRECEDENCE["^"] and pending[-1].precedence == precedence)
            ):
                self.reduce(operands, depths, pending.pop())
            self.nesting = nesting + len(pending)
            if not precedence:
                self.depth = depths[-1]
                return operands[-1]
            self.nest(self.token)
            operator = self.advance()
            pending.append(_Pending(precedence, operator, self.binary_modifiers()))

    def reduce(self, operands: list[Expr], depths: list[int], operator: _Pending) -> None:
        rhs, depth = operands.pop(), depths.pop()
        if operator.modifiers is None:
            span = Span(operator.token.start, rhs.span.end)
            if isinstance(rhs, NumberLiteral):
                value = -rhs.value if operator.token.kind == "-" else rhs.value
                operands.append(NumberLiteral(value, rhs.is_duration, span))
            else:
                depth += 1
                operands.append(ast.UnaryExpr(BinaryOp(operator.token.kind), rhs, span))
        else:
            lhs, depth = operands.pop(), max(depth, depths.pop()) + 1
            span = Span(lhs.span.start, rhs.span.end)
            operands.append(self.binary(operator.token, operator.modifiers, lhs, rhs, span))
        self.deepen(depth, span)
        depths.append(depth)

    def binary(
        self, operator: Token, modifiers: tuple[VectorMatching, bool], lhs: Expr, rhs: Expr, span: Span
    ) -> ast.BinaryExpr:
        given, return_bool = modifiers
        op = t.BINARY_OPERATORS[operator.kind]
        matching: VectorMatching | None = None
        if lhs.type is ValueType.VECTOR and rhs.type is ValueType.VECTOR:
            matching = given
            if op.is_set and given.card is ast.Cardinality.ONE_TO_ONE:
                matching = replace(given, card=ast.Cardinality.MANY_TO_MANY)
        node = ast.BinaryExpr(op, lhs, rhs, matching, return_bool, span)
        if matching is None and given is not _NO_MATCHING:
            self.misplaced_matching[id(node)] = given
        return node

    # -- what stands after a binary operator --

    def binary_modifiers(self) -> tuple[VectorMatching, bool]:
        return_bool = self.token.kind == "bool"
        if return_bool:
            self.advance()
        matching = _NO_MATCHING
        if self.token.kind in ("on", "ignoring"):
            on = self.advance().kind == "on"
            labels = self.grouping_labels()
            card = ast.Cardinality.ONE_TO_ONE
            include: tuple[str, ...] = ()
            if self.token.kind in ("group_left", "group_right"):
                left = self.advance().kind == "group_left"
                card = ast.Cardinality.MANY_TO_ONE if left else ast.Cardinality.ONE_TO_MANY
                if self.token.kind == "(" or self.token.kind not in t.EXPRESSION_STARTS:
                    include = self.grouping_labels()
            matching = VectorMatching(card, labels, on, include)
        if self.token.kind == "fill":
            self.advance()
            value = self.fill_value()
            matching = replace(matching, fill_left=value, fill_right=value)
        elif self.token.kind in ("fill_left", "fill_right"):
            matching = self.fill_sides(matching)
        return matching, return_bool

    def fill_sides(self, matching: VectorMatching) -> VectorMatching:
        values: dict[str, float] = {}
        while self.token.kind in ("fill_left", "fill_right") and self.token.kind not in values:
            side = self.advance().kind
            values[side] = self.fill_value()
        return replace(matching, fill_left=values.get("fill_left"), fill_right=values.get("fill_right"))

    def fill_value(self) -> float:
        self.expect("(")
        value = self.signed_number()
        self.expect(")")
        return value

    def grouping_labels(self) -> tuple[str, ...]:
        if self.token.kind != "(":
            self.unexpected(_GROUPING, '"("')
        self.advance()
        if self.token.kind == ")":
            self.advance()
            return ()
        labels = []
        while True:
            labels.append(self.grouping_label())
            if self.token.kind not in (",", ")"):
                self.unexpected(_GROUPING, '"," or ")"')
            if self.advance().kind == "," and self.token.kind == ")":
                self.advance()
            elif self.tokens[self.index - 1].kind == ",":
                continue
            return tuple(labels)

    def grouping_label(self) -> str:
        if self.token.kind in t.LABEL_NAMES:
            return self.advance().text
        if self.token.kind != t.STRING:
            self.unexpected(_GROUPING, "label")
        name = unquote(self.token.text)
        if not name or not _is_utf8(name):
            self.fail(f"invalid label name for grouping: {quote(name)}", self.token.span)
        self.advance()
        return name

    # -- operands --

    def operand(self) -> Expr:
        kind = self.token.kind
        self.depth = 1
        expr: Expr
        if kind == "{":
            expr = self.selector()
        elif kind in (t.NUMBER, t.DURATION):
            expr = self.number()
        elif kind == "(":
            expr = self.paren()
        elif kind == t.STRING:
            token = self.advance()
            expr = ast.StringLiteral(unquote(token.text), token.span)
        elif kind in t.METRIC_NAMES:
            following = self.peek()
            if kind in t.AGGREGATORS and following in ("(", "by", "without"):
                expr = self.aggregate()
            elif kind in t.FUNCTION_NAMES and following == "(":
                expr = self.call()
            else:
                expr = self.selector()
        else:
            self.unexpected()
        return self.suffixes(expr) if self.token.kind in _SUFFIXES else expr

    def paren(self) -> ast.ParenExpr:
        left = self.advance()
        self.nest(left)
        inner = self.expression()
        right = self.expect(")")
        self.nesting -= 1
        span = Span(left.start, right.end)
        self.deepen(self.depth + 1, span)
        return ast.ParenExpr(inner, span)

    def arguments(self) -> tuple[tuple[Expr, ...], int]:
        """The list in parentheses, and where it ends. Sets `depth` to that of the deepest argument."""
        self.nest(self.expect("("))
        args: list[Expr] = []
        depth = 0
        if self.token.kind != ")":
            while True:
                args.append(self.expression())
                depth = max(depth, self.depth)
                if self.token.kind != ",":
                    break
                comma = self.advance()
                if self.token.kind not in t.EXPRESSION_STARTS:
                    self.refuse_error()
                    self.fail("trailing commas not allowed in function call args", comma.span)
        end = self.expect(")").end
        self.nesting -= 1
        self.depth = depth
        return tuple(args), end

    def call(self) -> ast.Call:
        name = self.advance()
        args, end = self.arguments()
        function = self.function(name)
        span = Span(name.start, end)
        self.deepen(self.depth + 1, span)
        return ast.Call(function, args, span)

    def function(self, name: Token) -> Function:
        function = FUNCTIONS.get(name.text)
        if function is None:
            self.fail(f"unknown function with name {quote(name.text)}", name.span)
        return function

    def aggregate(self) -> ast.AggregateExpr:
        operator = self.advance()
        self.contexts.append(_AGGREGATION)
        clause = self.token.kind if self.token.kind in ("by", "without") else ""
        grouping: tuple[str, ...] = ()
        if clause:
            self.advance()
            grouping = self.grouping_labels()
        args, end = self.arguments()
        depth = self.depth
        if not clause and self.token.kind in ("by", "without"):
            clause = self.advance().kind
            grouping = self.grouping_labels()
            end = self.tokens[self.index - 1].end
        self.contexts.pop()
        if not clause:
            self.refuse_error()
        span = Span(operator.start, end)
        self.deepen(depth + 1, span)
        op = t.AGGREGATORS[operator.kind]
        self.check_aggregate(op, len(args), span)
        return ast.AggregateExpr(op, args[-1], args[0] if op.has_param else None, grouping, clause == "without", span)

    def check_aggregate(self, op: ast.AggregateOp, count: int, span: Span) -> None:
        if not count:
            self.fail("no arguments for aggregate expression provided", span)
        wanted = 2 if op.has_param else 1
        if count != wanted:
            self.fail(
                f"wrong number of arguments for aggregate expression provided, expected {wanted}, got {count}", span
            )

    # -- selectors --

    def selector(self) -> VectorSelector:
        start = self.token.start
        name, end = "", 0
        if self.token.kind != "{":
            token = self.advance()
            name, end = token.text, token.end
        matchers: list[Matcher] = []
        if self.token.kind == "{":
            matchers, end = self.matchers()
        if name:
            matchers.append(Matcher(MatchType.EQUAL, METRIC_NAME, name))
        return VectorSelector(name, tuple(matchers), span=Span(start, end))

    def matchers(self) -> tuple[list[Matcher], int]:
        self.advance()
        matchers: list[Matcher] = []
        while self.token.kind != "}" or self.tokens[self.index - 1].kind not in ("{", ","):
            matchers.append(self.matcher())
            if self.token.kind == ",":
                self.advance()
            elif self.token.kind == "}":
                break
            else:
                self.unexpected("label matching", '"," or "}"')
        return matchers, self.advance().end

    def matcher(self) -> Matcher:
        label = self.token
        if label.kind not in (t.IDENTIFIER, t.STRING):
            self.unexpected("label matching", 'identifier or "}"')
        self.advance()
        name = unquote(label.text) if label.kind == t.STRING else label.text
        if self.token.kind not in t.MATCH_OPERATORS:
            if label.kind == t.STRING:
                return self.make_matcher(MatchType.EQUAL, METRIC_NAME, name, label.span)
            self.unexpected("label matching", "label matching operator")
        operator = self.advance()
        if self.token.kind != t.STRING:
            self.unexpected("label matching", "string")
        value = self.advance()
        span = Span(label.start, value.end)
        return self.make_matcher(_MATCH_TYPES[operator.kind], name, unquote(value.text), span)

    def make_matcher(self, kind: MatchType, name: str, value: str, span: Span) -> Matcher:
        if not _is_utf8(name) or not _is_utf8(value):
            self.fail("label matcher is not valid UTF-8", span)
        matcher = Matcher(kind, name, value)
        if kind in (MatchType.REGEX, MatchType.NOT_REGEX):
            try:
                CompiledMatcher(*matcher.as_tuple())
            except RegexError as error:
                self.fail(str(error), span)
        return matcher

    # -- what can follow an operand --

    def suffixes(self, expr: Expr) -> Expr:
        while True:
            suffix = _SUFFIXES.get(self.token.kind)
            if suffix is None:
                return expr
            expr = suffix(self, expr)

    def bracket(self, expr: Expr) -> Expr:
        left = self.advance()
        self.contexts.append(("subquery or range selector", "number, duration, step(), or range()"))
        range_ms, range_expr = self.positive_duration()
        if self.token.kind == "]":
            right = self.advance()
            self.contexts.pop()
            return self.matrix(expr, range_ms, range_expr, Span(left.start, right.end))
        if self.token.kind != ":":
            self.unexpected("subquery or range", '":" or "]"')
        self.advance()
        self.contexts[-1] = ("subquery selector", 'number, duration, step(), range(), or "]"')
        step_ms, step_expr = 0, None
        if self.token.kind != "]":
            step_ms, step_expr = self.positive_duration()
            if self.token.kind != "]":
                self.unexpected("subquery selector", '"]"')
        end = self.advance().end
        self.contexts.pop()
        span = Span(expr.span.start, end)
        self.deepen(self.depth + 1, span)
        return ast.SubqueryExpr(expr, range_ms, step_ms, range_expr, step_expr, span=span)

    def matrix(self, expr: Expr, range_ms: int, range_expr: DurationExpr | None, brackets: Span) -> ast.MatrixSelector:
        if not isinstance(expr, VectorSelector):
            self.fail("ranges only allowed for vector selectors", brackets)
        if expr.offset_ms:
            self.fail("no offset modifiers allowed before range", brackets)
        if isinstance(expr.at, int):
            self.fail("no @ modifiers allowed before range", brackets)
        self.depth = 2
        return ast.MatrixSelector(expr, range_ms, range_expr, Span(expr.span.start, brackets.end))

    def positive_duration(self) -> tuple[int, DurationExpr | None]:
        value = read_duration(self)
        self.refuse_error()
        if isinstance(value, DurationExpr):
            return 0, value
        if math.isnan(value.value):
            self.fail("duration out of range", value.span)
        if value.value <= 0:
            self.fail("duration must be greater than 0", value.span)
        return seconds_to_ms(value.value), None

    def offset(self, expr: Expr) -> Expr:
        self.advance()
        self.contexts.append(("offset", "number, duration, step(), or range()"))
        value = read_offset(self)
        self.contexts.pop()
        target = self.selector_of(expr, "offset modifier")
        if target.offset_ms or target.offset_expr is not None:
            self.fail("offset may not be set multiple times", expr.span)
        if isinstance(value, DurationExpr):
            return self.modified(expr, offset_expr=value)
        if math.isnan(value.value):
            self.fail("duration out of range", value.span)
        return self.modified(expr, offset_ms=seconds_to_ms(value.value))

    def at(self, expr: Expr) -> Expr:
        self.advance()
        self.contexts.append(("@", "timestamp"))
        at: int | ast.AtBound
        if self.token.kind in ("start", "end"):
            at = ast.AtBound(self.advance().kind)
            self.expect("(")
            self.expect(")")
        else:
            at = self.timestamp(self.signed_number(), expr.span)
        self.contexts.pop()
        target = self.selector_of(expr, "@ modifier")
        if target.at is not None:
            self.fail("@ <timestamp> may not be set multiple times", expr.span)
        return self.modified(expr, at=at)

    def timestamp(self, seconds: float, span: Span) -> int:
        if not math.isfinite(seconds) or abs(seconds) * 1000 >= 2.0**63:
            shown = f"{seconds:f}" if math.isfinite(seconds) else format_float(seconds)
            self.fail(f"timestamp out of bounds for @ modifier: {shown}", span)
        ms = math.floor(abs(seconds) * 1000 + 0.5)
        return ms if seconds >= 0 else -ms

    def selector_of(self, expr: Expr, modifier: str) -> VectorSelector | ast.SubqueryExpr:
        if isinstance(expr, ast.MatrixSelector):
            return expr.selector
        if not isinstance(expr, VectorSelector | ast.SubqueryExpr):
            self.fail(
                f"{modifier} must be preceded by an instant vector selector or range vector selector or a subquery",
                expr.span,
            )
        return expr

    def modified(self, expr: Expr, **changes: Any) -> Expr:
        """`expr`, a selector or subquery, with `changes` on it and its span reaching to here."""
        span = Span(expr.span.start, self.tokens[self.index - 1].end)
        if isinstance(expr, ast.MatrixSelector):
            return replace(expr, selector=replace(expr.selector, **changes), span=span)
        return replace(expr, span=span, **changes)

    def extended(self, expr: Expr) -> Expr:
        modifier = self.advance().kind
        if isinstance(expr, ast.SubqueryExpr):
            self.fail(f"{modifier} modifier is not supported for subqueries", expr.span)
        selector = expr.selector if isinstance(expr, ast.MatrixSelector) else expr
        if not isinstance(selector, VectorSelector):
            self.fail(f"{modifier} modifier not implemented", expr.span)
        if selector.smoothed if modifier == "anchored" else selector.anchored:
            self.fail("anchored and smoothed modifiers cannot be used together", expr.span)
        return self.modified(expr, **{modifier: True})


_SUFFIXES: Final[dict[str, Callable[[_Parser, Expr], Expr]]] = {
    "[": _Parser.bracket,
    "offset": _Parser.offset,
    "@": _Parser.at,
    "anchored": _Parser.extended,
    "smoothed": _Parser.extended,
}


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
