"""Rewrites before evaluation: folding, durations, step invariance, selects, info()."""

from __future__ import annotations

import pytest

from mimir_rw.model.errors import BadRequest
from mimir_rw.promql.ast import walk
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.plan.planner import Plan, make_plan
from mimir_rw.promql.printer import format_expr
from mimir_rw.promql.steps import Bounds, Steps, TimeDefaults, subquery_steps

DEFAULTS = TimeDefaults(lookback_ms=300_000, subquery_step_ms=60_000)
RANGE = Bounds(600_000, 1_200_000, 60_000)
INSTANT = Bounds(600_000, 600_000, 0)


def plan(query: str, bounds: Bounds = RANGE) -> Plan:
    return make_plan(query, parse_expression(query), bounds, DEFAULTS)


@pytest.mark.parametrize(
    ("query", "rewritten"),
    [
        ("1 + 2 * 3", "7"),
        ("-(2 ^ 3) + x", "-8 + x"),
        ("x > bool (2 > bool 1)", "x > bool 1"),
        ("((x))", "x"),
        ("x[2 * step()]", "x[2m]"),
        ("x[range() / 2:step()]", "x[5m:1m]"),
        ("x offset (-step() * 2)", "x offset -2m"),
        ("x[min_of(1m, 7s) ^ 2]", "x[49s]"),
        ("x @ start() + x @ end()", "x @ 600.000 + x @ 1200.000"),
        ("info(x offset 1m)", 'info(x offset 1m, {__name__="target_info"} offset 1m)'),
        ('info(x, {__name__!="a_info", b="c"})', 'info(x, {__name__!="a_info",__name__=~".+_info",b="c"})'),
        ("info(sum(x[5m:] @ 100 offset 1m))", None),
        (
            "info(rate((x offset 10s)[5m:] @ 100 offset 1m))",
            'info(rate(x offset 10s[5m:] @ 100.000 offset 1m), {__name__="target_info"} @ 100.000 offset 1m10s)',
        ),
    ],
)
def test_rewrites(query: str, rewritten: str | None) -> None:
    if rewritten is None:
        with pytest.raises(BadRequest):
            plan(query)
        return
    assert format_expr(plan(query).expr) == rewritten


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("x[1m / (step() - step())]", "2:23: division by zero"),
        ("x[1m % (step() * 0)]", "2:18: modulo by zero"),
        ("x[range() - 1h]", "2:14: duration must be greater than 0"),
        ("x[min_of(step(), range()) - 1h]", "9:30: duration must be greater than 0"),
        ("max_over_time(x[1h - 1h:step() - step()] offset (1m / (step() - step())))", "49:70: division by zero"),
        ('{"é"}[1m - 1m]', "7:14: duration must be greater than 0"),
        ("x[(0 ^ -1) % 2]", "3:14: duration is NaN or infinite"),
        ("x offset (10 ^ 100 * step())", "10:27: duration is out of range"),
    ],
)
def test_durations_without_a_result(query: str, message: str) -> None:
    with pytest.raises(BadRequest, match=f"^{message}$"):
        plan(query)


def test_step_is_nothing_in_an_instant_query() -> None:
    with pytest.raises(BadRequest, match="must be greater than 0"):
        plan("x[step()]", INSTANT)


@pytest.mark.parametrize(
    ("query", "hoisted"),
    [
        ("x", []),
        ("x @ 1", ["x @ 1.000"]),
        ("x + x @ 1", ["x @ 1.000"]),
        ("sum(rate(x[5m] @ 1))", ["sum(rate(x[5m] @ 1.000))"]),
        ("sum(rate(x[5m] @ 1)) + x", ["sum(rate(x[5m] @ 1.000))"]),
        ("predict_linear(x[5m] @ 1, 60)", []),
        ("time() + vector(1)", ["vector(1)"]),
        ("timestamp(x @ 1)", ["timestamp(x @ 1.000)"]),
        ("timestamp(abs(x @ 1))", ["abs(x @ 1.000)"]),
        ("max_over_time(abs(x @ 1)[5m:1m])", ["abs(x @ 1.000)"]),
        ("max_over_time(abs(x)[5m:1m] @ 1)", ["max_over_time(abs(x)[5m:1m] @ 1.000)"]),
        ("topk(2, x @ 1) - hour(y @ 1)", ["topk(2, x @ 1.000)", "y @ 1.000"]),
    ],
)
def test_step_invariant_parts(query: str, hoisted: list[str]) -> None:
    planned = plan(query)
    assert [format_expr(node) for node in walk(planned.expr) if id(node) in planned.hoisted] == hoisted
    assert plan(query, INSTANT).hoisted == frozenset()


def test_subqueries_are_read_over_all_their_steps() -> None:
    (select,) = plan("max_over_time(rate(x[5m])[10m:1m] offset 1m)").selects
    # Inner steps from 0 (excluded, so 1m) to 19m; each looks back 5m.
    assert (select.hints.mint, select.hints.maxt) == (60_000 - 60_000 - 300_000 + 1, 1_140_000)
    assert (select.hints.func, select.hints.range_ms) == ("rate", 300_000)


@pytest.mark.parametrize(
    ("start", "range_ms", "step", "first", "count"),
    [
        (70_000, 60_000, 20_000, 20_000, 3),
        (60_000, 60_000, 20_000, 20_000, 3),
        (0, 50_000, 20_000, -40_000, 3),
        (10_000, 15_000, 20_000, 0, 1),
        (19_000, 10_000, 20_000, 20_000, 0),
    ],
)
def test_alignment_of_subqueries(start: int, range_ms: int, step: int, first: int, count: int) -> None:
    node = parse_expression(f"x[{range_ms}ms:{step}ms]")
    steps = subquery_steps(node, Steps(start, 0, 1), DEFAULTS)  # type: ignore[arg-type]
    assert (steps.start, steps.step, steps.count) == (first, step, count)
