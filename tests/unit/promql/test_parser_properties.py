"""Properties of parser and printer over random expressions and random text."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.promql import ast
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.functions import FUNCTIONS
from mimir_rw.promql.lexer import Lexer
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.printer import format_expr, format_matcher, pretty
from mimir_rw.promql.quoting import quote, unquote

_names = st.sampled_from(["foo", "a:b", "sum", "offset", "start", "fill", "and", "up_total", "by", "_x"])
_labels = st.sampled_from(["job", "le", "without_x", "é", "a b", "on", "__name"])
_durations = st.integers(1, 10**9)
_texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\ufffd"), max_size=8)
_numbers = st.one_of(
    st.floats(allow_nan=False, width=64, min_value=0).map(ast.NumberLiteral),
    st.integers(0, 10**9).map(lambda ms: ast.NumberLiteral(ms / 1000, True)),
)


def _duration_exprs() -> st.SearchStrategy[ast.DurationExpr]:
    leaves = st.one_of(
        st.integers(1, 10**6).map(lambda ms: ast.NumberLiteral(ms / 1000, True)),
        st.sampled_from([ast.DurationExpr(ast.DurationOp.STEP), ast.DurationExpr(ast.DurationOp.RANGE)]),
    )

    def grow(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
        wrapped = inner.map(
            lambda e: ast.DurationExpr(e.op, e.lhs, e.rhs, True) if isinstance(e, ast.DurationExpr) else e
        )
        functions = st.sampled_from([ast.DurationOp.MIN_OF, ast.DurationOp.MAX_OF])
        operators = st.sampled_from([ast.DurationOp.ADD, ast.DurationOp.MUL, ast.DurationOp.DIV, ast.DurationOp.POW])
        return st.builds(ast.DurationExpr, functions, inner, inner) | st.builds(
            ast.DurationExpr, operators, wrapped, wrapped, st.just(True)
        )

    return st.recursive(leaves, grow, max_leaves=4).filter(lambda e: isinstance(e, ast.DurationExpr))


@st.composite
def _selectors(draw: st.DrawFn) -> ast.VectorSelector:
    name = draw(_names)
    kinds = st.sampled_from([MatchType.EQUAL, MatchType.NOT_EQUAL])
    matchers = draw(st.lists(st.builds(Matcher, kinds, _labels, _texts), max_size=3))
    matchers.sort(key=format_matcher)
    extension = draw(st.sampled_from(["", "anchored", "smoothed"]))
    expr = draw(st.none() | _duration_exprs())
    return ast.VectorSelector(
        name,
        (*matchers, Matcher(MatchType.EQUAL, "__name__", name)),
        offset_ms=0 if expr else draw(st.integers(-(10**8), 10**8)),
        offset_expr=expr and ast.DurationExpr(ast.DurationOp.MIN_OF, expr, expr),
        at=draw(st.none() | st.integers(-(10**12), 10**13) | st.sampled_from(list(ast.AtBound))),
        anchored=extension == "anchored",
        smoothed=extension == "smoothed",
    )


@st.composite
def _matchings(draw: st.DrawFn, op: ast.BinaryOp) -> ast.VectorMatching:
    on = draw(st.booleans())
    labels = tuple(draw(st.lists(_labels, max_size=2)))
    if op.is_set:
        return ast.VectorMatching(ast.Cardinality.MANY_TO_MANY, labels, on)
    sides = [ast.Cardinality.ONE_TO_ONE, ast.Cardinality.MANY_TO_ONE, ast.Cardinality.ONE_TO_MANY]
    card = draw(st.sampled_from(sides))
    include = draw(st.lists(_labels.filter(lambda label: label not in labels), max_size=2))
    fills = st.none() | st.integers(-5, 5).map(float)
    return ast.VectorMatching(
        card, labels, on, () if card is ast.Cardinality.ONE_TO_ONE else tuple(include), draw(fills), draw(fills)
    )


def _closed(expr: ast.Expr) -> ast.Expr:
    """In parentheses where an operator beside it could bind to a part of it."""
    return ast.ParenExpr(expr) if isinstance(expr, ast.BinaryExpr | ast.UnaryExpr) else expr


@st.composite
def _binaries(draw: st.DrawFn, vectors: st.SearchStrategy[ast.Expr]) -> ast.Expr:
    op = draw(st.sampled_from(list(ast.BinaryOp)))
    matching = draw(_matchings(op))
    return_bool = op.is_comparison and draw(st.booleans())
    return ast.ParenExpr(ast.BinaryExpr(op, _closed(draw(vectors)), _closed(draw(vectors)), matching, return_bool))


@st.composite
def _aggregates(draw: st.DrawFn, vectors: st.SearchStrategy[ast.Expr]) -> ast.Expr:
    op = draw(st.sampled_from(list(ast.AggregateOp)))
    param: ast.Expr | None = None
    if op.has_param:
        texts = op is ast.AggregateOp.COUNT_VALUES
        param = draw(_texts.map(ast.StringLiteral) if texts else _numbers)
    return ast.AggregateExpr(op, draw(vectors), param, tuple(draw(st.lists(_labels, max_size=2))), draw(st.booleans()))


@st.composite
def _ranges(draw: st.DrawFn, vectors: st.SearchStrategy[ast.Expr]) -> ast.Expr:
    expr = draw(st.none() | _duration_exprs())
    window = 0 if expr else draw(_durations)
    name = draw(st.sampled_from(["rate", "last_over_time"]))
    if draw(st.booleans()):
        return ast.Call(FUNCTIONS[name], (ast.MatrixSelector(draw(_selectors()), window, expr),))
    step = draw(st.integers(0, 10**6))
    subquery = ast.SubqueryExpr(
        ast.ParenExpr(draw(vectors)), window, step, expr, at=draw(st.none() | st.integers(0, 9))
    )
    return ast.Call(FUNCTIONS[name], (subquery,))


def _grow(vectors: st.SearchStrategy[ast.Expr]) -> st.SearchStrategy[ast.Expr]:
    return (
        _binaries(vectors)
        | _aggregates(vectors)
        | _ranges(vectors)
        | vectors.map(lambda e: ast.UnaryExpr(ast.BinaryOp.SUB, _closed(e)))
        | vectors.map(lambda e: ast.Call(FUNCTIONS["abs"], (e,)))
        | st.builds(lambda e, n: ast.BinaryExpr(ast.BinaryOp.MUL, ast.ParenExpr(e), n), vectors, _numbers)
    )


_expressions = st.recursive(_selectors(), _grow, max_leaves=8)


@settings(max_examples=150, deadline=None)
@given(_expressions)
def test_printed_expressions_read_back(expr: ast.Expr) -> None:
    assert parse_expression(format_expr(expr)) == expr
    assert parse_expression(pretty(expr)) == expr


@given(st.text(max_size=20))
def test_quoted_text_reads_back(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert unquote(quote(text)) == text
    if "\ufffd" not in text:
        assert parse_expression(quote(text)) == ast.StringLiteral(text)


def test_bytes_that_are_not_utf8_read_back() -> None:
    text = bytes(range(256)).decode("utf-8", "surrogateescape")
    assert unquote(quote(text)) == text


_PIECES = [
    "sum", "by", "(", ")", "(a, b)", "foo", '{a="b"}', "[5m]", "[", "5m", ":", "1", "+", "-", "*", "^", "==", "bool",
    "on", "ignoring(a)", "group_left", "offset", "@", "start()", "step()", "max_of(1,", "rate(", "and", '"s"', ",", "{",
    "}", "a=", "=~", "!=", "fill(1)", "smoothed", "without", "topk(1,", "]", "0", "inf", "time()", "#c\n", "</", "!",
    "é", "$", "\ud800", "\0", "`", "'\\x", "1e", "0x", "5h3", "__", "\n", "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_random_text_gives_a_tree_or_a_parse_error(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        text = rng.choice(["", " "]).join(rng.choice(_PIECES) for _ in range(rng.randint(0, 14)))
        try:
            expr = parse_expression(text)
        except ParseError:
            continue
        assert parse_expression(format_expr(expr)) == expr


def test_reading_stops_where_the_text_is_wrong() -> None:
    lexer = Lexer("(" * 1_000_000)
    lexer.read(256)
    assert len(lexer.tokens) == 256


def test_an_offset_of_several_terms_is_printed_in_parentheses() -> None:
    expr = parse_expression("foo offset --5 - 1")
    assert format_expr(expr) == "foo offset (5 - 1)"
    assert format_expr(parse_expression("foo offset (5 - 1) * 2")) == "foo offset (5 - 1) * 2"
