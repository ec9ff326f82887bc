"""Which selectors are told that only count and sum of histograms are wanted."""

from __future__ import annotations

import pytest

from mimir_rw.promql.ast import VectorSelector, walk
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.plan.histogram_statistics import mark_statistics


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ("histogram_count(a)", ["a"]),
        ("histogram_avg(sum(rate(a[5m]))) + b", ["a"]),
        ("histogram_sum(a) / histogram_quantile(0.9, a + b)", ["a"]),
        ("histogram_quantile(0.9, histogram_count(a))", []),
        ("max_over_time(histogram_count(a)[5m:1m])", []),
        ("histogram_count(a </ 3)", []),
        ("histogram_stddev(a)", []),
        ("a", []),
    ],
)
def test_marked(query: str, marked: list[str]) -> None:
    expr = parse_expression(query)
    selectors = [node for node in walk(mark_statistics(expr)) if isinstance(node, VectorSelector)]
    assert [node.name for node in selectors if node.statistics] == marked


def test_nothing_marked_is_the_same_tree() -> None:
    expr = parse_expression("rate(a[5m])")
    assert mark_statistics(expr) is expr
