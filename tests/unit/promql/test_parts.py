"""Queries in parts, by series (sharding) and by time (splitting): the answers are those of the whole."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import LimitExceeded, QueryFailed
from mimir_rw.promql.engine import ANSWER_POINT_BYTES, Engine, EngineOptions, QueryLimits
from mimir_rw.promql.exec.memory import CELL_BYTES, MemoryAccount
from mimir_rw.promql.exec.values import Vector
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.plan.parens import strip_parens
from mimir_rw.promql.plan.sharding import shard_aggregations
from mimir_rw.promql.printer import format_expr
from mimir_rw.promql.result import Result
from tests.unit.promql.memory_storage import MemoryQueryable, series

MINUTE = 60_000
DATA = [
    *(
        series(f'requests_total{{job="{"abc"[i % 3]}",i="{i}"}} {" ".join(str(i * j % 17) for j in range(8))}')
        for i in range(25)
    ),
    series('late{job="a",i="2"} _ _ _ _ 4 5 6 7'),
    series('late{job="b",i="1"} 0 1 2 _ _ _ _ _'),
    series('tiny{i="1"} 1e100 1e100'),
    series('tiny{i="2"} 3 3'),
    series('tiny{i="3"} -1e100 -1e100'),
    series('bucket{le="1"} 9 9 9 9 9 9 9 9'),
    series('bucket{le="2"} 5 6 7 8 9 9 9 9'),
    series('bucket{le="+Inf"} 10 10 10 10 10 10 10 10'),
]
WHOLE = EngineOptions()
PARTS = {
    "shards": EngineOptions(shards=4),
    "steps": EngineOptions(steps_max=3),
    "both": EngineOptions(shards=2, steps_max=1, batch_bytes=1),
}


def run(query: str, options: EngineOptions, *, memory_bytes_max: int = 0) -> Result:
    engine = Engine(clock=SystemClock(), offload=InlineOffload(), options=options)
    limits = QueryLimits(explain=True, memory_bytes_max=memory_bytes_max)
    return asyncio.run(engine.range(MemoryQueryable(DATA), query, 0, 7 * MINUTE, MINUTE, limits=limits))


@pytest.mark.parametrize("options", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize(
    "query",
    [
        "sum by (job) (rate(requests_total[2m]))",
        "avg without (i) (requests_total)",
        "count(requests_total) / scalar(count(late))",
        "max(min by (job) (late))",
        "group by (job) (late)",
        "topk by (job) (2, requests_total)",
        "bottomk(1, requests_total * 3 + 1)",
        "sum(tiny)",
        "avg(tiny)",
        "late or requests_total",
        "limitk(2, requests_total)",
        "sum_over_time(sum(requests_total)[3m:1m])",
        "time() + start() + scalar(requests_total @ end())",
        "histogram_quantile(0.5, bucket)",
        "absent(late)",
        "nothing",
    ],
)
def test_answers_are_the_same(query: str, options: EngineOptions) -> None:
    expected, found = run(query, WHOLE), run(query, options)
    assert isinstance(expected.value, Vector)
    assert isinstance(found.value, Vector)
    assert found.value.labels.rows() == expected.value.labels.rows()
    np.testing.assert_array_equal(found.value.mask, expected.value.mask)
    mask = found.value.mask
    np.testing.assert_allclose(found.value.values[mask], expected.value.values[mask], rtol=1e-12)
    assert (found.warnings, found.infos) == (expected.warnings, expected.infos)
    assert found.steps == expected.steps


@pytest.mark.parametrize("options", PARTS.values(), ids=PARTS)
def test_errors_are_the_same(options: EngineOptions) -> None:
    for query in ("requests_total + on (job) requests_total", "sum(requests_total * on (job) late)"):
        with pytest.raises(QueryFailed) as expected:
            run(query, WHOLE)
        with pytest.raises(QueryFailed) as found:
            run(query, options)
        assert str(found.value) == str(expected.value)


def parts_of(query: str) -> list[str]:
    sharded = shard_aggregations(strip_parens(parse_expression(query)), 2)
    return [format_expr(part) for each in sharded.values() for concat in each.concats for part in concat.parts]


def test_parts_are_ordinary_expressions() -> None:
    assert parts_of('sum by (a) (rate(x{b="c"}[5m]) * 2)') == [
        f'sum by (a) (rate(x{{__query_shard__="{i}_of_2",b="c"}}[5m]) * 2)' for i in (1, 2)
    ]


@pytest.mark.parametrize(
    "query",
    [
        "stddev(x)",
        "quantile(0.5, x)",
        "limitk(1, x)",
        'sum({__name__=~"x|y"})',
        "sum(x + y)",
        "sum(absent(x))",
        'sum(label_replace(x, "a", "b", "c", "d"))',
        "avg by (__name__) (x)",
    ],
)
def test_what_is_not_sharded(query: str) -> None:
    assert parts_of(query) == []


def test_rewrites_are_named() -> None:
    explanation = run("sum(requests_total)", PARTS["both"]).explanation
    assert explanation is not None
    assert explanation.rewrites == ("projection", "sharding", "time splitting")


def test_results_of_earlier_parts_count_as_memory() -> None:
    account = MemoryAccount(bytes_max=100, samples_max=1_000)
    for _ in range(2):
        account.take(30)
        account.keep_result(30)
    account.take(40)
    with pytest.raises(LimitExceeded):
        account.take(1)


def test_the_answer_counts_as_memory() -> None:
    cells = 25 * 8
    run("requests_total", WHOLE, memory_bytes_max=cells * (ANSWER_POINT_BYTES + CELL_BYTES))
    with pytest.raises(LimitExceeded):
        run("requests_total", WHOLE, memory_bytes_max=cells * (ANSWER_POINT_BYTES + CELL_BYTES) - 1)
