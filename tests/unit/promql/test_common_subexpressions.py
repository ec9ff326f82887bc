"""What stands in a query more than once is evaluated once, and nobody can tell."""

from __future__ import annotations

import asyncio

import pytest

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import LimitExceeded
from mimir_rw.promql.ast import walk
from mimir_rw.promql.engine import Engine, QueryLimits
from mimir_rw.promql.exec.memory import MemoryAccount
from mimir_rw.promql.exec.values import Vector
from mimir_rw.promql.explain import OperatorTrace
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.plan.common_subexpressions import repeated_nodes
from mimir_rw.promql.plan.parens import strip_parens
from mimir_rw.promql.printer import format_expr
from mimir_rw.promql.result import Result
from tests.unit.promql.memory_storage import MemoryQueryable, series

MINUTE = 60_000
DATA = [
    series('depth{job="a",i="0"} 0 10 20 30 40 50'),
    series('depth{job="a",i="1"} 0 20 40 60 80 100'),
    series('depth{job="b",i="1"} 0 20 40 0 20 40'),
]


def run(query: str) -> Result:
    engine = Engine(clock=SystemClock(), offload=InlineOffload())
    limits = QueryLimits(explain=True)
    return asyncio.run(engine.range(MemoryQueryable(DATA), query, 0, 5 * MINUTE, MINUTE, limits=limits))


def shared_texts(query: str) -> list[str]:
    expr = strip_parens(parse_expression(query))
    classes = repeated_nodes(expr, ()).classes
    return [format_expr(node) for node in walk(expr) if id(node) in classes]


@pytest.mark.parametrize(
    ("query", "shared"),
    [
        ("rate(depth[5m]) + 1", []),
        ("depth + depth", ["depth", "depth"]),
        ("(depth) / sum( depth )", ["depth", "depth"]),
        ("sum(rate(depth[5m])) / (sum(rate(depth[5m])) + 1)", ["sum(rate(depth[5m]))"] * 2),
        ("sum(rate(depth[5m])) + max(rate(depth[5m]))", ["rate(depth[5m])"] * 2),
        ("rate(depth[5m]) + rate(depth[6m]) + rate(depth[5m] offset 1s)", []),
        ("depth * 0 + depth * -0", ["depth", "depth"]),
        ("(depth + 1) * 2 - depth + 1 * 2", ["depth", "depth"]),
        ("max_over_time(sum(depth)[5m:1m]) + sum(depth)", []),
        ("max_over_time(sum(depth)[5m:1m]) + min_over_time(sum(depth)[5m:1m])", ["sum(depth)"] * 2),
        ("timestamp(depth) - depth", []),
        ("time() - time()", []),
    ],
)
def test_what_is_shared(query: str, shared: list[str]) -> None:
    assert shared_texts(query) == shared


def seconds_and_reads(root: OperatorTrace) -> int:
    return root.samples + sum(seconds_and_reads(child) for child in root.children)


def test_the_second_use_reads_nothing() -> None:
    result = run("sum(rate(depth[2m])) / (sum(rate(depth[2m])) + 1)")
    assert result.explanation is not None
    assert result.explanation.root is not None
    assert "common subexpressions" in result.explanation.rewrites
    assert seconds_and_reads(result.explanation.root) == 18
    assert result.stats.samples_read == 18


def test_answers_and_annotations_are_those_of_two_evaluations() -> None:
    once = run("sum(rate(depth[2m])) * 2")
    twice = run("sum(rate(depth[2m])) +   sum( rate(depth[2m]) )")
    assert isinstance(once.value, Vector)
    assert isinstance(twice.value, Vector)
    assert twice.value.values.tolist() == once.value.values.tolist()
    assert once.infos == (
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "depth" (1:10)',
    )
    assert twice.infos == (
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "depth" (1:36)',
    )


def test_what_is_held_for_a_later_use_is_in_the_account() -> None:
    account = MemoryAccount(bytes_max=100, samples_max=1_000)
    account.hold(60)
    account.take(40)
    assert account.peak_bytes == 100
    with pytest.raises(LimitExceeded):
        account.take(1)
    account.release(60)
    account.settle(0, 90)
    assert account.peak_bytes == 101
