"""Evaluation some series at a time gives what evaluation of all gives."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.engine import Engine, EngineOptions, QueryLimits
from mimir_rw.promql.exec.values import Vector
from mimir_rw.promql.explain import OperatorTrace
from mimir_rw.promql.result import Result
from tests.unit.promql.memory_storage import MemoryQueryable, series

MINUTE = 60_000
DATA = [
    series(f'requests_total{{job="{"abc"[i % 3]}",i="{i}"}} {" ".join(str(i * j % 17) for j in range(8))}')
    for i in range(25)
] + [
    series('errors_total{job="b",i="1"} 0 1 2 3 4 5 6 7'),
    series('late{job="a",i="2"} _ _ _ _ 4 5 6 7'),
    series('late{job="b",i="1"} 0 1 2 _ _ _ _ _'),
]


def run(query: str, batch_bytes: int, *, delayed: bool = False, explain: bool = False) -> Result:
    engine = Engine(
        clock=SystemClock(),
        offload=InlineOffload(),
        options=EngineOptions(batch_bytes=batch_bytes, delayed_name_removal=delayed),
    )
    limits = QueryLimits(explain=explain)
    return asyncio.run(engine.range(MemoryQueryable(DATA), query, 0, 7 * MINUTE, MINUTE, limits=limits))


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize(
    "query",
    [
        "sum by (job) (rate(requests_total[2m]))",
        "avg(requests_total * 3 > scalar(sum(requests_total)) / 20)",
        "max without (i) (-requests_total)",
        "count by (job) (max_over_time(rate(requests_total[2m])[4m:1m]))",
        "group by (job) (late)",
        "stddev by (job) (clamp(requests_total, 1, 5))",
        "sum by (job) (requests_total @ 120)",
        "sum by (__name__) (last_over_time(requests_total[3m]))",
        'sum by (half) (label_replace(requests_total, "half", "$1", "i", ".*(.)"))',
        "sum by (job) (timestamp(late))",
        'sum({__name__=~"requests_total|late"})',
    ],
)
def test_answers_are_the_same(query: str, rows: int, delayed: bool) -> None:
    expected, found = run(query, 1 << 30, delayed=delayed), run(query, rows * 8 * 9, delayed=delayed)
    assert isinstance(expected.value, Vector)
    assert isinstance(found.value, Vector)
    assert found.value.labels.rows() == expected.value.labels.rows()
    np.testing.assert_array_equal(found.value.mask, expected.value.mask)
    np.testing.assert_array_equal(found.value.values[found.value.mask], expected.value.values[expected.value.mask])
    assert (found.warnings, found.infos) == (expected.warnings, expected.infos)


@pytest.mark.parametrize(
    "query",
    [
        'sum(rate({__name__=~"requests_total|errors_total"}[2m]))',
        'sum(label_replace(requests_total, "i", "", "i", ".*"))',
    ],
)
def test_equal_labels_of_different_batches_are_an_error(query: str) -> None:
    with pytest.raises(QueryFailed, match="vector cannot contain metrics with the same labelset"):
        run(query, 1)


def operators(root: OperatorTrace) -> list[OperatorTrace]:
    return [root, *(each for child in root.children for each in operators(child))]


def test_only_a_batch_is_ever_held() -> None:
    result = run("sum by (job) (rate(requests_total[2m]) / scalar(sum(late)))", 3 * 8 * 9, explain=True)
    assert result.explanation is not None
    assert result.explanation.root is not None
    by_kind = {each.kind: each for each in operators(result.explanation.root)}
    assert by_kind["rate"].evaluations == 9
    assert by_kind["rate"].rows_out == 25
    assert by_kind["rate"].bytes == 3 * 8 * 9
    assert by_kind["scalar"].evaluations == 1
