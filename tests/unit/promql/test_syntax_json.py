"""The shape that web pages and tools read; that it is Prometheus' is held by tests/differential/test_requests.py."""

from __future__ import annotations

from typing import Any

import pytest

from mimir_rw.promql.parser import DEPTH_MAX, parse_expression
from mimir_rw.promql.syntax_json import syntax_object


def objects(value: Any) -> list[dict[str, Any]]:
    """All objects with a place, outermost first."""
    found = [value] if isinstance(value, dict) and "start" in value else []
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return found + [each for child in inside for each in objects(child)]


def tree(text: str) -> dict[str, Any]:
    return syntax_object(parse_expression(text))


def test_a_selector() -> None:
    assert tree('up{job!="é"} @ end() offset 5m') == {
        "type": "vectorSelector",
        "name": "up",
        "matchers": [
            {"type": "!=", "name": "job", "value": "é"},
            {"type": "=", "name": "__name__", "value": "up"},
        ],
        "offset": 300_000,
        "offsetExpr": None,
        "timestamp": None,
        "startOrEnd": "end",
        "anchored": False,
        "smoothed": False,
        "start": 0,
        "end": 30,
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sum(up)", ["sum(up)", "up"]),
        ("topk(2, up) by (x)", ["topk(2, up) by (x)", "up", "2"]),
        ("-up ^ 2", ["-up ^ 2", "up ^ 2", "up", "2"]),
        ('{"é"} + (b)', ['{"é"} + (b)', '{"é"}', "(b)", "b"]),
        ("rate(a[5m * 2])", ["rate(a[5m * 2])", "a[5m * 2]", "5m * 2", "5m", "2"]),
        ("a[1h:step()] offset -(1m)", ["a[1h:step()] offset -(1m)", "a", "step()"]),
        ('"text"', ['"text"']),
    ],
)
def test_places_are_characters_of_the_query(text: str, parts: list[str]) -> None:
    assert [text[each["start"] : each["end"]] for each in objects(tree(text))] == parts


def test_numbers_that_json_has_not_are_text() -> None:
    assert tree("a + fill_left(NaN) b")["matching"]["fillValues"] == {"lhs": "NaN", "rhs": None}
    assert tree("-Inf")["val"] == "-Inf"


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert tree(r'"a\xff"')["val"] == "a\ufffd"


def test_the_deepest_tree_is_encoded() -> None:
    deep = tree("+".join(["1"] * (DEPTH_MAX - 1)))
    assert len(objects(deep)) == 2 * (DEPTH_MAX - 1) - 1
