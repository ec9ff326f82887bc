import pytest

from mimir_rw.promql.errors import InvalidQuery
from mimir_rw.promql.parsed import KEPT_CHARACTERS_MAX, ParsedTexts, check_result_type
from mimir_rw.promql.parser import parse_expression


def test_a_text_is_parsed_once():
    texts = ParsedTexts()
    assert texts.parse("a + b") is texts.parse("a + b")
    assert texts.parse("a + b") == parse_expression("a + b")


def test_the_least_used_is_dropped():
    texts = ParsedTexts(kept_max=2)
    first = texts.parse("a")
    texts.parse("b")
    assert texts.parse("a") is first
    texts.parse("c")
    assert len(texts) == 2
    assert texts.parse("a") is first


def test_long_texts_are_not_kept():
    texts = ParsedTexts()
    texts.parse("a" * (KEPT_CHARACTERS_MAX + 1))
    assert len(texts) == 0


def test_range_queries_have_steps():
    matrix = parse_expression("a[1m]")
    check_result_type(matrix, instant=True)
    with pytest.raises(InvalidQuery, match="must be Scalar or instant Vector"):
        check_result_type(matrix, instant=False)
