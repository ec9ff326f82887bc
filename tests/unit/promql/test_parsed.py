import pytest

from mimir_rw.promql.errors import InvalidQuery, ParseError
from mimir_rw.promql.parsed import KEPT_CHARACTERS_MAX, ParsedTexts, check_result_type, syntax_with
from mimir_rw.promql.parser import ParserOptions, parse_expression

PLAIN = ParserOptions()


def test_a_text_is_parsed_once():
    texts = ParsedTexts()
    assert texts.parse("a + b", PLAIN) is texts.parse("a + b", PLAIN)
    assert texts.parse("a + b", PLAIN) == parse_expression("a + b", PLAIN)


def test_what_one_may_write_another_may_not():
    texts = ParsedTexts()
    texts.parse("limitk(1, a)", syntax_with(["limitk"]))
    with pytest.raises(ParseError):
        texts.parse("limitk(1, a)", syntax_with([]))


def test_the_least_used_is_dropped():
    texts = ParsedTexts(kept_max=2)
    first = texts.parse("a", PLAIN)
    texts.parse("b", PLAIN)
    assert texts.parse("a", PLAIN) is first
    texts.parse("c", PLAIN)
    assert len(texts) == 2
    assert texts.parse("a", PLAIN) is first


def test_long_texts_are_not_kept():
    texts = ParsedTexts()
    texts.parse("a" * (KEPT_CHARACTERS_MAX + 1), PLAIN)
    assert len(texts) == 0


def test_experimental_functions():
    assert not syntax_with(()).allows("limitk")
    assert syntax_with(("limitk",)).allows("limitk")
    assert syntax_with(("all",)).allows("anything")


def test_range_queries_have_steps():
    matrix = parse_expression("a[1m]", PLAIN)
    check_result_type(matrix, instant=True)
    with pytest.raises(InvalidQuery, match="must be Scalar or instant Vector"):
        check_result_type(matrix, instant=False)
