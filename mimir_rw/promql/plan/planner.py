"""From a parsed expression to a `Plan`: all rewrites, in the order in which they build on each other."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.promql.ast import Expr
from mimir_rw.promql.plan.constant_folding import fold_constants
from mimir_rw.promql.plan.durations import resolve_times
from mimir_rw.promql.plan.info_selector import complete_info_calls
from mimir_rw.promql.plan.parens import strip_parens
from mimir_rw.promql.plan.selects import SelectSpec, plan_selects
from mimir_rw.promql.plan.step_invariant import hoisted_nodes
from mimir_rw.promql.steps import Bounds, TimeDefaults


@dataclass(frozen=True, slots=True)
class Plan:
    """query: the text that positions refer to. hoisted: ids of nodes of `expr` that are evaluated once."""

    query: str
    expr: Expr
    bounds: Bounds
    defaults: TimeDefaults
    hoisted: frozenset[int]
    selects: tuple[SelectSpec, ...]


def make_plan(query: str, expr: Expr, bounds: Bounds, defaults: TimeDefaults) -> Plan:
    """Raises InvalidQuery for duration arithmetic that has no result."""
    expr = complete_info_calls(fold_constants(strip_parens(resolve_times(expr, bounds, query))))
    return Plan(
        query=query,
        expr=expr,
        bounds=bounds,
        defaults=defaults,
        hoisted=frozenset() if bounds.is_instant else hoisted_nodes(expr),
        selects=tuple(plan_selects(expr, bounds.steps(), defaults)),
    )
