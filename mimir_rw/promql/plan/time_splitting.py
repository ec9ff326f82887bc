"""Rewrite: a range query becomes several, each over some of its steps, whose results are joined (promql/joining.py).

A part is an ordinary plan with the bounds of the whole query, so that `start()`, `@ end()` and `range()` mean the same,
and with selects of its own. What is evaluated at a step depends on no other step, but for the order of rows: groups
stand in order of first appearance. A query that chooses by order (topk among equal values, limitk) is split only where
the order is that of a selector. What an info about buckets that fall tells depends on the steps before: quantiles of
buckets are not split. If more than one part fails, the error is that of the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mimir_rw.promql.ast import AggregateExpr, AggregateOp, Call, Expr, walk
from mimir_rw.promql.plan.row_wise import row_wise
from mimir_rw.promql.plan.selects import plan_selects
from mimir_rw.promql.steps import Steps

if TYPE_CHECKING:
    from mimir_rw.promql.plan.planner import Plan

_COUNTING = ("histogram_quantile", "histogram_quantiles")
_CHOOSING = (AggregateOp.TOPK, AggregateOp.BOTTOMK, AggregateOp.LIMITK)


def split_plan(plan: Plan, steps_max: int) -> tuple[Plan, ...]:
    """Parts of at most steps_max steps (0: no bound) in order of time; the plan itself where it is not split."""
    if not 0 < steps_max < plan.steps.count or not _can_be_split(plan.expr):
        return (plan,)
    return tuple(
        replace(
            plan,
            steps=part,
            selects=tuple(plan_selects(plan.expr, part, plan.defaults)),
            rewrites=(*plan.rewrites, "time splitting"),
        )
        for part in _parts(plan.steps, steps_max)
    )


def _parts(steps: Steps, steps_max: int) -> Iterator[Steps]:
    for first in range(0, steps.count, steps_max):
        yield Steps(steps.start + first * steps.step, steps.step, min(steps_max, steps.count - first))


def _can_be_split(expr: Expr) -> bool:
    return all(_is_by_step(node) for node in walk(expr))


def _is_by_step(node: Expr) -> bool:
    if isinstance(node, Call):
        return node.func.name not in _COUNTING
    return not isinstance(node, AggregateExpr) or node.op not in _CHOOSING or _in_selector_order(node.expr)


def _in_selector_order(expr: Expr) -> bool:
    shape = row_wise(expr)
    return shape is not None and not shape.sets_labels
