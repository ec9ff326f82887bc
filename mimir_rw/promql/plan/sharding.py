"""Rewrite: an aggregation over series that do not meet becomes one of aggregations over shards of the series.

A shard is a selector with the matcher `__query_shard__="2_of_3"`: those of its series whose hash of labels falls to it.
What the parts give is put together by another aggregation over `Concat`:

    sum, min, max, group    the same        sum by (a) (x)   ->  sum by (a) (concat(sum by (a) (x{shard 1}), ...))
    count                   sum             count(x)         ->  sum(concat(count(x{shard 1}), ...))
    topk, bottomk           the same        which of equal values stay may differ
    avg                     sum / count

Sums of floats are compensated in the order of their input: those of shards may differ in the last bit.

Only selectors of one metric name are shared out, so that no two series can become equal by losing their names. The
executor takes back a sharded aggregation that could differ from the whole one: when a part fails, where native
histograms take part, where a sum overflows or its parts cancel each other out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mimir_rw.model.labels import METRIC_NAME, Matcher, MatchType
from mimir_rw.promql.ast import (
    AggregateExpr,
    AggregateOp,
    BinaryExpr,
    BinaryOp,
    Expr,
    VectorMatching,
    VectorSelector,
    walk,
)
from mimir_rw.promql.plan.concat import Concat
from mimir_rw.promql.plan.row_wise import RowWise, row_wise, with_selector

SHARD_LABEL = "__query_shard__"

_COMBINED_BY = {
    AggregateOp.SUM: AggregateOp.SUM,
    AggregateOp.COUNT: AggregateOp.SUM,
    AggregateOp.MIN: AggregateOp.MIN,
    AggregateOp.MAX: AggregateOp.MAX,
    AggregateOp.GROUP: AggregateOp.GROUP,
    AggregateOp.TOPK: AggregateOp.TOPK,
    AggregateOp.BOTTOMK: AggregateOp.BOTTOMK,
}


@dataclass(frozen=True, slots=True)
class Sharded:
    """What stands for an aggregation: combined, with the Concats in it."""

    combined: Expr
    concats: tuple[Concat, ...]


def shard_aggregations(expr: Expr, shards: int) -> dict[int, Sharded]:
    """By id of the node that each stands for."""
    found = {}
    for node in walk(expr):
        sharded = _sharded(node, shards) if isinstance(node, AggregateExpr) else None
        if sharded is not None:
            found[id(node)] = sharded
    return found


def _sharded(node: AggregateExpr, shards: int) -> Sharded | None:
    shape = row_wise(node.expr)
    if shape is None or shape.sets_labels or not names_one_metric(shape):
        return None
    if node.op is AggregateOp.AVG and METRIC_NAME not in node.grouping:
        total, count = (_combined(replace(node, op=op), shape, shards) for op in (AggregateOp.SUM, AggregateOp.COUNT))
        matching = VectorMatching()
        ratio = BinaryExpr(BinaryOp.DIV, total.combined, count.combined, matching, span=node.span)
        return Sharded(ratio, (*total.concats, *count.concats))
    return _combined(node, shape, shards) if node.op in _COMBINED_BY else None


def names_one_metric(shape: RowWise) -> bool:
    selector = shape.path[-1]
    assert isinstance(selector, VectorSelector)
    return any(m.name == METRIC_NAME and m.type is MatchType.EQUAL and m.value for m in selector.matchers)


def _combined(node: AggregateExpr, shape: RowWise, shards: int) -> Sharded:
    parts = tuple(
        replace(node, expr=with_selector(shape, _shard_of(shape.path[-1], number, shards)))
        for number in range(1, shards + 1)
    )
    concat = Concat(parts, span=node.expr.span)
    return Sharded(replace(node, op=_COMBINED_BY[node.op], expr=concat), (concat,))  # type: ignore[arg-type]


def _shard_of(selector: Expr, number: int, shards: int) -> VectorSelector:
    assert isinstance(selector, VectorSelector)
    matcher = Matcher(MatchType.EQUAL, SHARD_LABEL, f"{number}_of_{shards}")
    return replace(selector, matchers=(*selector.matchers, matcher))


def shard_in(matchers: tuple[Matcher, ...]) -> tuple[int, int] | None:
    """Number (from 0) and count of shards that a selector of a part is for; it is the last matcher."""
    last = matchers[-1] if matchers else None
    if last is None or last.name != SHARD_LABEL:
        return None
    number, _, shards = last.value.partition("_of_")
    return int(number) - 1, int(shards)
