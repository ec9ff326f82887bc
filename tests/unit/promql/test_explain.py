"""What an evaluation tells of itself when asked."""

from __future__ import annotations

import asyncio
import json

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.promql.engine import Engine, EngineOptions, QueryLimits
from mimir_rw.promql.explain import OPERATORS_MAX, Explanation, OperatorTrace
from mimir_rw.promql.result import Result
from mimir_rw.promql.result_codec import Evaluated, decode_outcome, encode_outcome
from tests.unit.promql.memory_storage import MemoryQueryable, series

MINUTE = 60_000
DATA = [
    series('requests_total{job="a",i="0"} 0 10 20 30 40 50'),
    series('requests_total{job="a",i="1"} 0 20 40 60 80 100'),
    series('requests_total{job="b",i="1"} 0 20 40 0 20 40'),
]


class TickingClock:
    """Each question takes a second."""

    def __init__(self) -> None:
        self._now = 0.0

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        self._now += 1.0
        return self._now


def explained(query: str, *, explain: bool = True) -> Result:
    engine = Engine(clock=TickingClock(), offload=InlineOffload(), options=EngineOptions(timeout_s=1e9))
    limits = QueryLimits(explain=explain, timeout_s=1e6)
    return asyncio.run(engine.range(MemoryQueryable(DATA), query, 0, 5 * MINUTE, MINUTE, limits=limits))


def root_of(query: str) -> OperatorTrace:
    explanation = explained(query).explanation
    assert explanation is not None
    assert explanation.root is not None
    return explanation.root


def test_nothing_is_collected_unasked() -> None:
    assert explained("sum(requests_total)", explain=False).explanation is None


def test_operators_stand_as_they_ask_each_other() -> None:
    root = root_of("sum by (job) (requests_total * 2)")
    assert (root.kind, root.rows_in, root.rows_out, root.steps) == ("sum", 3, 2, 6)
    (product,) = root.children
    assert (product.kind, product.text, product.rows_out) == ("*", "requests_total * 2", 3)
    select, number = product.children
    assert (select.kind, select.rows_in, select.rows_out, select.samples) == ("select", 3, 3, 18)
    assert number.kind == "number"
    assert root.bytes == 2 * 6 * 9
    assert root.peak_bytes >= select.bytes > 0


def test_time_is_the_clock_s() -> None:
    root = root_of("sum(requests_total)")
    (select,) = root.children
    assert root.seconds > select.seconds > 0
    assert root.own_seconds == root.seconds - select.seconds


def test_selects_say_what_was_asked_and_read() -> None:
    explanation = explained('rate(requests_total{job="a"}[2m])').explanation
    assert explanation is not None
    (select,) = explanation.selects
    assert select.matchers == '{job="a", __name__="requests_total"}'
    assert (select.mint, select.maxt) == (-2 * MINUTE + 1, 5 * MINUTE)
    assert (select.series, select.samples) == (2, 12)


def test_rewrites_are_named_where_they_did_something() -> None:
    explanation = explained("(requests_total @ 60) + (1 + 2)").explanation
    assert explanation is not None
    assert explanation.rewrites == ("parentheses", "constant folding", "step invariant")
    assert explanation.root is not None
    assert explanation.root.kind == "+"
    assert explanation.root.children[0].notes == () or "evaluated once for all steps" in explanation.root.notes


def test_operators_of_a_huge_query_are_told_up_to_a_bound() -> None:
    sums = [f"({'+'.join(['requests_total'] * 200)})" for _ in range(12)]
    query = "+".join(f"{each} * {number}" for number, each in enumerate(sums))
    engine, limits = Engine(clock=SystemClock(), offload=InlineOffload()), QueryLimits(explain=True)
    explanation = asyncio.run(engine.instant(MemoryQueryable(DATA), query, MINUTE, limits=limits)).explanation
    assert explanation is not None
    assert explanation.root is not None
    stack, count = [explanation.root], 0
    while stack:
        count += 1
        stack.extend(stack.pop().children)
    assert count <= OPERATORS_MAX


def test_it_survives_json_and_the_wire() -> None:
    result = explained("sum(requests_total)")
    explanation = result.explanation
    assert explanation is not None
    assert Explanation.from_json(json.loads(json.dumps(explanation.as_json()))) == explanation
    outcome = decode_outcome(encode_outcome(Evaluated(result, 3, 100)))
    assert isinstance(outcome, Evaluated)
    assert outcome.result.explanation == explanation
