"""Parsing: trees of good expressions, texts and places of errors, bounds."""

from __future__ import annotations

import pytest

from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.promql import ast
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.functions import FUNCTIONS, ValueType
from mimir_rw.promql.parser import parse_expression, parse_selector
from mimir_rw.promql.reader import DEPTH_MAX, NESTING_MAX


def _selector(name: str, **fields: object) -> ast.VectorSelector:
    return ast.VectorSelector(name, (Matcher(MatchType.EQUAL, "__name__", name),), **fields)  # type: ignore[arg-type]


FOO = _selector("foo")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("+0.5", 0.5), ("-1", -1), (".5", 0.5), ("2.", 2), ("1e3", 1000), ("1E-3", 0.001), ("0x1F", 31),
        ("0xee", 238), ("010", 8), ("08", 8), ("1_000", 1000), ("5m", 300), ("1h30m", 5400), ("100ms", 0.1),
        ("1y", 31536000), ("inf", float("inf")), ("-Inf", float("-inf")), ("--1", 1),
    ],
)  # fmt: skip
def test_numbers(text: str, value: float) -> None:
    expr = parse_expression(text)
    assert isinstance(expr, ast.NumberLiteral)
    assert expr.value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\n\t\"\\"', 'a\n\t"\\'), (r"'\''", "'"), (r"`\n`", r"\n"), (r'"\x41\101\u0041\U00000041"', "AAAA"),
        ('"é"', "é"), (r'"\xc3\xa9"', "é"), (r'"\xff"', "\udcff"),
    ],
)  # fmt: skip
def test_strings(text: str, value: str) -> None:
    assert parse_expression(text) == ast.StringLiteral(value)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("foo", FOO),
        ("foo[5m]", ast.MatrixSelector(FOO, 300_000)),
        ("foo[0.5]", ast.MatrixSelector(FOO, 500)),
        ("foo offset 5m", _selector("foo", offset_ms=300_000)),
        ("foo offset -60", _selector("foo", offset_ms=-60_000)),
        ("foo @ 1.5 offset 1s", _selector("foo", at=1500, offset_ms=1000)),
        ("foo offset 1s @ end()", _selector("foo", at=ast.AtBound.END, offset_ms=1000)),
        ("foo[5m] smoothed", ast.MatrixSelector(_selector("foo", smoothed=True), 300_000)),
        ("foo anchored", _selector("foo", anchored=True)),
        ("foo[5m:]", ast.SubqueryExpr(FOO, 300_000)),
        ("foo[5m:30] @ start()", ast.SubqueryExpr(FOO, 300_000, 30_000, at=ast.AtBound.START)),
        ("-foo", ast.UnaryExpr(ast.BinaryOp.SUB, FOO)),
        ("Sum(foo)", ast.AggregateExpr(ast.AggregateOp.SUM, FOO)),
        ("sum without (a, by,) (foo)", ast.AggregateExpr(ast.AggregateOp.SUM, FOO, None, ("a", "by"), True)),
        ("topk(3, foo) by (a)", ast.AggregateExpr(ast.AggregateOp.TOPK, FOO, ast.NumberLiteral(3), ("a",))),
        ("abs(foo)", ast.Call(FUNCTIONS["abs"], (FOO,))),
        ("time()", ast.Call(FUNCTIONS["time"], ())),
        ("offset offset 1s", _selector("offset", offset_ms=1000)),
        ("fill", _selector("fill")),
    ],
)  # fmt: skip
def test_trees(text: str, tree: ast.Expr) -> None:
    assert parse_expression(text) == tree


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("1 + 2 * 3", "1 + (2 * 3)"), ("1 * 2 + 3", "(1 * 2) + 3"), ("2 ^ 3 ^ 2", "2 ^ (3 ^ 2)"),
        ("-1 ^ 2", "-(1 ^ 2)"),
        ("-a * b", "(-a) * b"), ("a or b and c", "a or (b and c)"), ("a - b - c", "(a - b) - c"),
        ("a unless b and c", "(a unless b) and c"), ("a > b + 1", "a > (b + 1)"), ("a atan2 b % c", "(a atan2 b) % c"),
        ("a ^ -b", "a ^ (-b)"), ("a offset -2 ^ 2", "(a offset -2) ^ 2"),
        ("a offset step() + 1", "(a offset step()) + 1"),
    ],
)  # fmt: skip
def test_precedence(text: str, same: str) -> None:
    def bare(expr: ast.Expr) -> ast.Expr:
        return ast.transform(expr, lambda e: e.expr if isinstance(e, ast.ParenExpr) else e)

    def outer(expr: ast.Expr) -> ast.Expr:
        return ast.transform(expr, lambda e: e)

    assert bare(parse_expression(text)) == bare(parse_expression(same))
    assert outer(parse_expression(text)) != outer(parse_expression(same))


def test_vector_matching() -> None:
    expr = parse_expression("a / on (x, 'y z') group_left (z) fill_right(-1) fill_left(2m) b")
    assert isinstance(expr, ast.BinaryExpr)
    assert expr.matching == ast.VectorMatching(ast.Cardinality.MANY_TO_ONE, ("x", "y z"), True, ("z",), 120.0, -1.0)


def test_set_operators_are_many_to_many_and_scalars_have_no_matching() -> None:
    both, scalar = parse_expression("a and ignoring (x) b"), parse_expression("a + 1")
    assert isinstance(both, ast.BinaryExpr)
    assert both.matching == ast.VectorMatching(ast.Cardinality.MANY_TO_MANY, ("x",))
    assert isinstance(scalar, ast.BinaryExpr)
    assert scalar.matching is None
    assert scalar.type is ValueType.VECTOR


def test_utf8_names() -> None:
    expr = parse_expression('sum by ("é", a) ({"my.metric", "label.name"=~"v|w"})')
    assert isinstance(expr, ast.AggregateExpr)
    assert expr.grouping == ("é", "a")
    assert isinstance(expr.expr, ast.VectorSelector)
    assert expr.expr.matchers == (
        Matcher(MatchType.EQUAL, "__name__", "my.metric"),
        Matcher(MatchType.REGEX, "label.name", "v|w"),
    )


def test_duration_expressions() -> None:
    expr = parse_expression("foo[max_of(5m, 2*step())] offset -(range()/2)")
    assert isinstance(expr, ast.MatrixSelector)
    assert expr.range_ms == 0
    assert expr.range_expr == ast.DurationExpr(
        ast.DurationOp.MAX_OF,
        ast.NumberLiteral(300, True),
        ast.DurationExpr(ast.DurationOp.MUL, ast.NumberLiteral(2), ast.DurationExpr(ast.DurationOp.STEP)),
    )
    offset = expr.selector.offset_expr
    assert offset is not None
    assert (offset.op, offset.lhs) == (ast.DurationOp.SUB, None)


def test_positions_count_characters_and_errors_count_bytes() -> None:
    expr = parse_expression('"é" # comment\n')
    assert expr.span == ast.Span(0, 3)
    with pytest.raises(ParseError) as caught:
        parse_expression('a{b="é"} +\n foo{b="é"} 5')
    assert caught.value.span == ast.Span(23, 24)
    assert str(caught.value) == '2:14: parse error: unexpected number "5"'


def test_selector_alone() -> None:
    assert parse_selector('foo{a!="b"}') == (
        Matcher(MatchType.NOT_EQUAL, "a", "b"),
        Matcher(MatchType.EQUAL, "__name__", "foo"),
    )
    assert parse_selector("{}") == ()
    for bad in ("", "foo[5m]", "1", "sum(foo)", "foo offset 5m"):
        with pytest.raises(ParseError):
            parse_selector(bad)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000, "(" * 100_000 + "1" + ")" * 100_000, "-" * 100_000 + "a", "abs(" * 50_000, "sum(" * 50_000,
        "2^" * 100_000 + "2", "1+" * 100_000 + "1", "foo[" + "(" * 100_000, "foo[" + "-" * 100_000 + "1]",
        "foo[1" + "+1" * 100_000 + "]", "foo" + "[5m:]" * 100_000, "{" * 100_000, "a[" * 100_000, "min_of(" * 99_999,
        "foo[" + "min_of(1," * 99_999, '"' + "\\" * 200_000, "#" * 1_000_000, "0x" + "f" * 100_000, "9" * 100_000,
        "1" * 100_000 + "h", "foo{" + 'a="b",' * 1000 + "," * 100_000, "1e" + "9" * 100_000,
    ],
)  # fmt: skip
def test_bombs_end_in_a_parse_error(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_expression(text)
    assert len(caught.value.message) < 300_000


@pytest.mark.parametrize("text", ["foo[0]", "foo[5m:0s]", "foo[-1s]"])
def test_ranges_and_steps_are_more_than_nothing(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_expression(text)
    assert caught.value.message == "duration must be greater than 0"


def test_text_that_is_not_utf8_has_a_position() -> None:
    with pytest.raises(ParseError) as caught:
        parse_expression("# \udcff \ud800\n \udcff")
    assert str(caught.value) == "2:2: parse error: unexpected character: '\ufffd'"


def test_nesting_up_to_the_bound_is_fine() -> None:
    levels = NESTING_MAX - 1
    parse_expression("(" * levels + "1" + ")" * levels)
    parse_expression("+".join(["1"] * (DEPTH_MAX - 1)))
    parse_expression("-" * levels + "a")
