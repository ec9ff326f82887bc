"""Sharded aggregations (plan/sharding.py): the parts one after the other, then what puts them together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimir_rw._native import aggregate
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import AggregateExpr, AggregateOp
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.values import Vector, concat_vectors
from mimir_rw.promql.plan.concat import Concat
from mimir_rw.promql.plan.sharding import Sharded

_SUMMING = (AggregateOp.SUM, AggregateOp.AVG)
_CANCELLED = 2.0**-20


def aggregate_shards(ev: Evaluation, node: AggregateExpr) -> Vector | None:
    """None where the whole might say something else, and so has to be asked; see plan/sharding.py."""
    sharded = ev.sharded.get(id(node))
    if sharded is None or ev.batch is not None:
        return None
    mark, own = ev.memory.current_bytes, ev.annotations.beside()
    try:
        vector = _combined(ev.with_annotations(own), node, sharded)
    except QueryFailed:
        vector = None
    if vector is None or own.mentions("histogram"):
        ev.memory.current_bytes = mark
        return None
    ev.annotations.absorb(own, {})
    return vector


def _combined(ev: Evaluation, node: AggregateExpr, sharded: Sharded) -> Vector | None:
    parts = {id(each): _parts(ev, each) for each in sharded.concats}
    if any(part.histograms is not None for part in parts.values()):
        return None
    if node.op in _SUMMING and _cancels(parts[id(sharded.concats[0])]):
        return None
    return replace(ev, concats=parts).vector(sharded.combined)


def _parts(ev: Evaluation, node: Concat) -> Vector:
    """Rows in the order of their labels: where the parts are rows of their selector, that is its order."""
    vector = concat_vectors([ev.vector(part) for part in node.parts])
    return vector.take(vector.labels.sort_order())


def _cancels(sums: Vector) -> bool:
    """Whether a total is infinite, or so much less than its parts that what was lost from them would show in it."""
    ids, count = sums.labels.row_ids()
    totals, mask = aggregate("sum", ids, count, sums.values, sums.mask)
    largest = aggregate("max", ids, count, np.abs(sums.values), sums.mask)[0]
    lost = (np.abs(totals) < largest * _CANCELLED) | np.isinf(totals)
    return bool((lost & mask).any())


def concat(ev: Evaluation, node: Concat) -> Vector:
    return ev.concats[id(node)]
