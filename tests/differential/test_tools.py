"""The tester itself: what it calls a difference, how it shrinks one, what its rules cover, what a seed says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.parser import parse_expression
from tests.differential.compare import difference
from tests.differential.data import series
from tests.differential.exceptions import OLDER_RULES, Case, excused
from tests.differential.generator import Dialect, Request, requests
from tests.differential.shrink import shrunk


def vector(*rows: tuple[dict[str, str], object], infos: list[str] | None = None) -> Any:
    result = [{"metric": labels, "histogram" if isinstance(v, dict) else "value": ["1", v]} for labels, v in rows]
    answer: dict[str, Any] = {"status": "success", "data": {"resultType": "vector", "result": result}}
    return answer | ({"infos": infos} if infos else {})


def failed(text: str) -> Any:
    return {"status": "error", "errorType": "execution", "error": text}


A, B = {"a": "1"}, {"b": "1"}
HISTOGRAM = {"count": "3", "sum": "0.5", "buckets": [["0", "1", "2", "3"]]}


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        (vector((A, "1"), (B, "2")), vector((B, "2"), (A, "1")), ""),
        (vector((A, "1")), vector((A, "1.0000000000000002")), "inexact"),
        (vector((A, "1")), vector((A, "1.1")), "value"),
        (vector((A, "NaN")), vector((A, "0")), "value"),
        (vector((A, "1")), vector((B, "1")), "series"),
        (vector((A, "1"), (A, "1")), vector((A, "1")), "twice"),
        (vector((A, HISTOGRAM)), vector((A, HISTOGRAM)), ""),
        (vector((A, HISTOGRAM)), vector((A, HISTOGRAM | {"sum": "0.6"})), "value"),
        (vector((A, HISTOGRAM)), vector((A, "3")), "points"),
        (vector((A, "1"), infos=["x (1:1)"]), vector((A, "1"), infos=["x (1:2)"]), "infos"),
        (vector((A, "1")), failed("x"), "status"),
        (failed("y"), failed("x"), "error"),
        (failed("x"), failed("x"), ""),
    ],
)
def test_differences(ours: Any, theirs: Any, kind: str) -> None:
    found = difference(ours, theirs, messages=True, ordered=False)
    assert (found.kind if found else "") == kind


def test_order_where_the_query_orders() -> None:
    ours, theirs = vector((A, "1"), (B, "2")), vector((B, "2"), (A, "1"))
    found = difference(ours, theirs, messages=True, ordered=True)
    assert found is not None
    assert found.kind == "order"
    equal = vector((A, "1"), (B, "1")), vector((B, "1"), (A, "1"))
    assert difference(*equal, messages=True, ordered=True) is None


def instant(query: str) -> Request:
    return Request("query", (("query", query), ("time", "1")))


@pytest.mark.parametrize(
    ("query", "wrong", "smallest"),
    [
        ("sum by (a, b) (abs(rate(foo{x='1', y='2'}[5m] offset 1m)) + on (a) bar) * 2", r"rate\(", "rate(foo[5m])"),
        ("sum(foo) / on (a, b) group_left (c) fill (0) max(bar)", r"fill", "foo / fill (0) bar"),
        ("foo offset 1m @ 20 + 3", "@", "foo @ 20.000"),
        ("((foo)) $ bar", r"\$", "$"),
    ],
)
def test_shrinking(query: str, wrong: str, smallest: str) -> None:
    assert shrunk(instant(query), lambda request: re.search(wrong, request.query) is not None).query == smallest


def test_ranges_shrink_to_one_step() -> None:
    params = (("query", "foo"), ("start", "1"), ("end", "9"), ("step", "1"), ("lookback_delta", "1m"))
    smallest = shrunk(Request("query_range", params), lambda request: True)
    assert dict(smallest.params)["start"] == dict(smallest.params)["end"]
    assert "lookback_delta" not in dict(smallest.params)


def case(query: str, ours: Any, theirs: Any, path: str = "query") -> Case:
    found = difference(ours, theirs, messages=True, ordered=False)
    assert found is not None
    return Case.of(Request(path, (("query", query), ("time", "1"))), ours, theirs, found)


def test_rules_are_narrow() -> None:
    assert excused(case("sum(foo)", vector((A, "1")), vector((A, "1.0000000000000002")))) == ""
    close = vector((A, "1")), vector((A, "1.0000000000000002"))
    assert excused(case("sum(foo)", *close, path="query_range")) == "order of a sum"
    assert excused(case("sum(foo)", vector((A, "1")), vector((A, "2")), path="query_range")) == ""
    chosen = vector((A, "1")), vector((B, "1"))
    assert excused(case("topk(1, foo)", *chosen)) == "chosen among equals"
    assert excused(case("topk(1, foo)", vector((A, "1")), vector((B, "2")))) == ""
    assert excused(case("foo", *chosen)) == ""
    twice = "found duplicate series for the match group {} on the right hand-side of the operation: [%s];many-to-many"
    assert excused(case("a + b", failed(twice % "x, y"), failed(twice % "y, x"))) == "which duplicates"
    same = failed("vector cannot contain metrics with the same labelset")
    named = vector(({"__name__": "a"}, "1"), ({"__name__": "b"}, "2"))
    assert excused(case("info(deriv(foo[1m]))", same, named)) == "info forgets"
    assert excused(case("info(deriv(foo[1m]))", same, vector((A, "1"), (B, "1")))) == ""
    assert excused(case("foo", same, named)) == ""
    assert excused(case("info(foo @ 5)", vector((A, "1")), vector((B, "1")))) == "info elsewhere"
    assert excused(case("info(foo)", vector((A, "1")), vector((B, "1")))) == ""
    later = vector((A, "2")), vector((A, "1"))
    assert excused(case("timestamp(foo @ 5 offset 1m)", *later)) == "timestamp forgets"
    assert excused(case("timestamp(foo offset 1m)", *later)) == ""


def test_every_rule_cites_the_specification() -> None:
    assert all(rule.why and 1 <= int(rule.section) <= 22 for rule in OLDER_RULES)
    assert len({rule.name for rule in OLDER_RULES}) == len(OLDER_RULES)


def test_a_seed_and_a_number_say_everything() -> None:
    asked = list(requests(3, range(40), Dialect()))
    assert asked == list(requests(3, range(40), Dialect()))
    assert list(requests(3, [17], Dialect())) == [asked[17]]
    assert json.dumps([w.labels for w in series()]) == json.dumps([w.labels for w in series()])


def test_most_queries_are_valid() -> None:
    valid = 0
    for request in requests(4, range(400), Dialect(damage=0)):
        try:
            parse_expression(request.query)
            valid += 1
        except ParseError:
            pass
    assert valid > 380
