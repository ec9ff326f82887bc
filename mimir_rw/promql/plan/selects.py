"""What an expression asks of storage: one select per matcher set and stretch of time, shared by all selectors that
lie in it.

`plan_selects` is pure; `gather` awaits the selects on the event loop; a `Gathered` then answers the evaluation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mimir_rw.model.labels import Matcher
from mimir_rw.promql.ast import AggregateExpr, Call, Expr, MatrixSelector, SubqueryExpr, VectorSelector, children
from mimir_rw.promql.plan.sharding import shard_in
from mimir_rw.promql.steps import Steps, TimeDefaults, selector_ends, subquery_steps
from mimir_rw.storage.contract import Queryable, SelectHints, SeriesSet
from mimir_rw.storage.shard import shard_of

MatcherKey = tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class SelectSpec:
    matchers: MatcherKey
    hints: SelectHints


class Gathered:
    """The series of every select of a query. Immutable."""

    def __init__(self, selected: Sequence[tuple[SelectSpec, SeriesSet]]) -> None:
        self.selected = tuple(selected)
        self._by_matchers: dict[MatcherKey, list[tuple[SelectSpec, SeriesSet]]] = {}
        for spec, series in selected:
            self._by_matchers.setdefault(spec.matchers, []).append((spec, series))

    def lookup(self, matchers: MatcherKey, mint: int, maxt: int) -> SeriesSet:
        """The series set that covers mint..maxt for these matchers; that there is one is the planner's promise."""
        shard = shard_in(matchers)
        if shard is not None and matchers not in self._by_matchers:
            return shard_of(self.lookup(matchers[:-1], mint, maxt), *shard)
        for spec, series in self._by_matchers[matchers]:
            if spec.hints.mint <= mint and maxt <= spec.hints.maxt:
                return series
        raise AssertionError(f"no select covers {matchers} at {mint}..{maxt}")


async def gather(specs: Sequence[SelectSpec], queryable: Queryable) -> Gathered:
    """Run all selects at once; the first failure cancels the rest. Errors are those of `Queryable.select`."""
    if len(specs) == 1:
        return Gathered([(specs[0], await queryable.select(specs[0].matchers, specs[0].hints))])
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(queryable.select(spec.matchers, spec.hints)) for spec in specs]
    except* Exception as failures:
        raise first_leaf(failures) from None
    return Gathered([(spec, task.result()) for spec, task in zip(specs, tasks, strict=True)])


def first_leaf(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


def plan_selects(expr: Expr, steps: Steps, defaults: TimeDefaults) -> list[SelectSpec]:
    """Selects that cover every selector of `expr`; those of equal matchers whose times overlap are one."""
    wanted: dict[MatcherKey, list[SelectHints]] = {}
    for matchers, hints in _selectors(expr, steps, defaults, SelectHints(0, 0)):
        wanted.setdefault(matchers, []).append(hints)
    return [SelectSpec(matchers, h) for matchers, hints in wanted.items() for h in _merged(hints)]


def _merged(hints: list[SelectHints]) -> list[SelectHints]:
    merged: list[SelectHints] = []
    for one in sorted(hints, key=lambda h: (h.mint, h.maxt)):
        if merged and one.mint <= merged[-1].maxt:
            last = merged[-1]
            advice = (
                last if (last.func, last.grouping, last.by) == (one.func, one.grouping, one.by) else SelectHints(0, 0)
            )
            merged[-1] = replace(
                advice,
                mint=last.mint,
                maxt=max(last.maxt, one.maxt),
                step_ms=last.step_ms,
                range_ms=max(last.range_ms, one.range_ms),
            )
        else:
            merged.append(one)
    return merged


def _selectors(
    node: Expr, steps: Steps, defaults: TimeDefaults, advice: SelectHints
) -> Iterator[tuple[MatcherKey, SelectHints]]:
    """Every selector below with its time range. advice: function and grouping of the parents."""
    if isinstance(node, VectorSelector):
        mint, maxt = instant_range(node, steps, defaults)
        yield node.matchers, replace(advice, mint=mint, maxt=maxt, step_ms=steps.step)
        return
    if isinstance(node, MatrixSelector):
        mint, maxt = window_range(node, steps, defaults)
        yield node.selector.matchers, replace(advice, mint=mint, maxt=maxt, step_ms=steps.step, range_ms=node.range_ms)
        return
    if isinstance(node, SubqueryExpr):
        yield from _selectors(node.expr, subquery_steps(node, steps, defaults), defaults, SelectHints(0, 0))
        return
    if isinstance(node, Call):
        advice = replace(advice, func=node.func.name)
    elif isinstance(node, AggregateExpr):
        advice = SelectHints(0, 0, func=str(node.op), grouping=node.grouping, by=not node.without)
    else:
        advice = SelectHints(0, 0)
    for child in children(node):
        yield from _selectors(child, steps, defaults, advice)


def instant_range(node: VectorSelector, steps: Steps, defaults: TimeDefaults) -> tuple[int, int]:
    """First and last ms that an instant selector reads."""
    ends = selector_ends(node.at, node.offset_ms, steps)
    return ends.start - defaults.lookback_ms + 1, ends.last + (defaults.lookback_ms if node.smoothed else 0)


def window_range(node: MatrixSelector, steps: Steps, defaults: TimeDefaults) -> tuple[int, int]:
    """First and last ms that a range selector reads; anchored and smoothed ones look beyond their windows."""
    selector = node.selector
    ends = selector_ends(selector.at, selector.offset_ms, steps)
    before = defaults.lookback_ms if selector.anchored or selector.smoothed else 0
    after = defaults.lookback_ms if selector.smoothed else 0
    return ends.start - node.range_ms - before + 1, ends.last + after
