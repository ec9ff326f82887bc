"""What nobody can see is not read: labels (projection) and series (matcher push-down). Answers stay as they are."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import VectorSelector, walk
from mimir_rw.promql.engine import Engine, QueryLimits
from mimir_rw.promql.exec.values import Vector
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.plan.matcher_pushdown import push_matchers
from mimir_rw.promql.plan.parens import strip_parens
from mimir_rw.promql.plan.projection import needed_labels
from mimir_rw.promql.printer import format_expr
from mimir_rw.promql.result import Result
from tests.unit.promql.memory_storage import MemoryQueryable, series

MINUTE = 60_000
DATA = [
    *(series(f'a{{x="{i % 3}",i="{i}"}} {i} {i + 1} {i + 2}') for i in range(9)),
    *(series(f'b{{x="{i % 3}",i="{i}"}} {i} {i + 3} {i + 2}') for i in range(9)),
    series('typed{__type__="gauge",x="1",i="1"} 1 2 3'),
    series('typed{__type__="counter",x="1",i="2"} 1 2 3'),
]


def run(query: str, *, narrow: bool = True) -> Result:
    engine = Engine(clock=SystemClock(), offload=InlineOffload())
    limits = QueryLimits(count_samples=not narrow)
    return asyncio.run(engine.range(MemoryQueryable(DATA), query, 0, 2 * MINUTE, MINUTE, limits=limits))


@pytest.mark.parametrize(
    ("query", "pushed"),
    [
        ('a{x="1"} / b', 'a{x="1"} / b{x="1"}'),
        ('a / b{x=~"1|2"}', 'a{x=~"1|2"} / b{x=~"1|2"}'),
        ('abs(a{x="1"}) > bool b offset 5m', 'abs(a{x="1"}) > bool b{x="1"} offset 5m'),
        ('a{x="1",y="2"} and on (x) b', 'a{x="1",y="2"} and on (x) b{x="1"}'),
        ('a and ignoring (y) b{x="1",y="2"}', 'a{x="1"} and ignoring (y) b{x="1",y="2"}'),
        ('a{x="1"} unless on (x) b{x!="2"}', 'a{x="1"} unless on (x) b{x!="2",x="1"}'),
        ('a{x="1"} or b', None),
        ('a{x="1"} / on (x) b', None),
        ('a{x="1"} / ignoring (i) b', None),
        ('a{x="1"} / rate(b[5m])', None),
        ('a{x="1"} / (b * 2)', None),
        ('a{x="1"} + fill (0) b', None),
        ('{__name__=~"a|c",x="1"} / b', None),
        ('a{x="1"} / sum by (x) (b)', None),
        ("a / b", None),
    ],
)
def test_what_is_pushed(query: str, pushed: str | None) -> None:
    expr = strip_parens(parse_expression(query))
    found = push_matchers(expr)
    if pushed is None:
        assert found is expr
    else:
        assert format_expr(found) == format_expr(parse_expression(pushed))


@pytest.mark.parametrize(
    ("query", "needed"),
    [
        ("sum by (x) (a)", ["x"]),
        ("quantile by (x, i) (0.5, rate(a[5m]) * 2)", ["x", "i"]),
        ("count(a)", []),
        ("sum without (x) (a)", None),
        ("topk by (x) (1, a)", None),
        ('count_values by (x) ("i", a)', None),
        ('sum by (x) ({__name__=~"a|b"})', None),
        ('sum by (x) (label_replace(a, "x", "$1", "i", "(.*)"))', None),
        ("sum by (x) (a / b)", None),
        ("limit_ratio by (x) (0.5, a)", None),
    ],
)
def test_which_labels_are_needed(query: str, needed: list[str] | None) -> None:
    expr = parse_expression(query)
    (selector, *_) = [node for node in walk(expr) if isinstance(node, VectorSelector)]
    names = needed_labels(expr, ()).get(id(selector))
    assert (None if names is None else [name for name in names if not name.startswith("__")]) == needed


@pytest.mark.parametrize(
    "query",
    [
        "sum by (x) (rate(a[2m]))",
        "count(a) by (nothing)",
        "sum(rate(typed[2m]))",
        'a{x="1"} / b',
        'a and on (x) b{x="1"}',
        'a unless on (x) b{x="1"}',
        'a{x="1"} unless on (x) b',
        "+a * pi()",
    ],
)
def test_answers_are_the_same(query: str) -> None:
    narrow, wide = run(query), run(query, narrow=False)
    assert isinstance(narrow.value, Vector)
    assert isinstance(wide.value, Vector)
    assert narrow.value.labels.rows() == wide.value.labels.rows()
    np.testing.assert_array_equal(narrow.value.mask, wide.value.mask)
    np.testing.assert_array_equal(narrow.value.values[narrow.value.mask], wide.value.values[wide.value.mask])
    assert (narrow.warnings, narrow.infos) == (wide.warnings, wide.infos)


def test_errors_about_series_without_a_partner_stay() -> None:
    with pytest.raises(QueryFailed, match="found duplicate series for the match group"):
        run('a{x="1"} / on (x) b')


def test_less_is_read() -> None:
    assert run('a{x="1"} / b').stats.samples_read < run('a{x="1"} / b', narrow=False).stats.samples_read
