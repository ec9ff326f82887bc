"""From a parsed expression to a `Plan`: all rewrites, in the order in which they build on each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mimir_rw.promql.ast import Expr
from mimir_rw.promql.plan.common_subexpressions import Repeated, repeated_nodes
from mimir_rw.promql.plan.constant_folding import fold_constants
from mimir_rw.promql.plan.durations import resolve_times
from mimir_rw.promql.plan.histogram_statistics import mark_statistics
from mimir_rw.promql.plan.info_selector import complete_info_calls
from mimir_rw.promql.plan.matcher_pushdown import push_matchers
from mimir_rw.promql.plan.parens import strip_parens
from mimir_rw.promql.plan.projection import needed_labels
from mimir_rw.promql.plan.selects import SelectSpec, plan_selects
from mimir_rw.promql.plan.sharding import Sharded, shard_aggregations
from mimir_rw.promql.plan.step_invariant import hoisted_nodes
from mimir_rw.promql.steps import Bounds, Steps, TimeDefaults


@dataclass(frozen=True, slots=True)
class Plan:
    """query: the text that positions refer to. hoisted: ids of nodes of `expr` that are evaluated once.

    steps: those of the bounds, or some of them in a part of a split plan.
    rewrites: names of those that changed something, in their order.
    """

    query: str
    expr: Expr
    bounds: Bounds
    steps: Steps
    defaults: TimeDefaults
    hoisted: frozenset[int]
    selects: tuple[SelectSpec, ...]
    repeated: Repeated = field(default_factory=Repeated)
    sharded: dict[int, Sharded] = field(default_factory=dict)
    needed_labels: dict[int, tuple[str, ...]] = field(default_factory=dict)
    rewrites: tuple[str, ...] = ()

    def notes(self) -> dict[int, list[str]]:
        """What the plan does to nodes, by their ids."""
        notes: dict[int, list[str]] = {}
        for node in self.hoisted:
            notes.setdefault(node, []).append("evaluated once for all steps")
        for node in self.repeated.classes:
            notes.setdefault(node, []).append("evaluated once for all places that it stands in")
        for node, names in self.needed_labels.items():
            notes.setdefault(node, []).append(f"labels {', '.join(names)}")
        return notes


def make_plan(
    query: str, expr: Expr, bounds: Bounds, defaults: TimeDefaults, *, shards: int = 0, narrow: bool = True
) -> Plan:
    """shards: of the aggregations that can be sharded; 0 and 1: none are. narrow: do not read what nobody can see.

    Raises InvalidQuery for duration arithmetic that has no result.
    """
    rewrites = []
    for name, rewrite in _REWRITES:
        rewritten = rewrite(expr, bounds, query)
        if rewritten is not expr:
            rewrites.append(name)
        expr = rewritten
    if narrow and (narrowed := push_matchers(expr)) is not expr:
        rewrites.append("matcher push-down")
        expr = narrowed
    hoisted = frozenset() if bounds.is_instant else hoisted_nodes(expr)
    repeated = repeated_nodes(expr, hoisted)
    sharded = shard_aggregations(expr, shards) if shards > 1 else {}
    needed = needed_labels(expr, repeated.classes)
    return Plan(
        query=query,
        expr=expr,
        bounds=bounds,
        steps=bounds.steps(),
        defaults=defaults,
        hoisted=hoisted,
        selects=tuple(plan_selects(expr, bounds.steps(), defaults)),
        repeated=repeated,
        sharded=sharded,
        needed_labels=needed,
        rewrites=(
            *rewrites,
            *(["step invariant"] if hoisted else []),
            *(["common subexpressions"] if repeated.classes else []),
            *(["projection"] if needed else []),
            *(["sharding"] if sharded else []),
        ),
    )


_REWRITES: tuple[tuple[str, Callable[[Expr, Bounds, str], Expr]], ...] = (
    ("durations", resolve_times),
    ("parentheses", lambda expr, bounds, query: strip_parens(expr)),
    ("constant folding", lambda expr, bounds, query: fold_constants(expr)),
    ("info selector", lambda expr, bounds, query: complete_info_calls(expr)),
    ("histogram statistics", lambda expr, bounds, query: mark_statistics(expr)),
)
