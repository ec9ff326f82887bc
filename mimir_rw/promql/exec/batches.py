"""Evaluation in batches of series: an expression that works row by row is evaluated over some of its series at a time,
so that no matrix of all of them ever exists.

A batch is an evaluation of its own (`Evaluation.batch`): its selector reads some rows of its select, the operators
above know nothing of it. What the operators ask for beside the series (parameters, scalars) is evaluated once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mimir_rw.promql.ast import Expr, MatrixSelector, SubqueryExpr
from mimir_rw.promql.exec.evaluation import Batch, Evaluation
from mimir_rw.promql.exec.memory import CELL_BYTES
from mimir_rw.promql.exec.values import Vector
from mimir_rw.promql.plan.row_wise import RowWise, row_wise
from mimir_rw.promql.plan.selects import instant_range, window_range
from mimir_rw.promql.steps import Steps, subquery_steps
from mimir_rw.storage.contract import SeriesSet
from mimir_rw.storage.shard import SeriesSlice

_SHARED_BATCHES_MAX = 16


@dataclass(frozen=True, slots=True)
class Batches:
    """An expression and its series, still to be evaluated."""

    node: Expr
    shape: RowWise
    series: SeriesSet
    rows_per_batch: int

    def vectors(self, ev: Evaluation) -> Iterator[Vector]:
        """The value of the expression for each batch; series without samples are missing. What a batch took of the
        memory account is for the caller to give back."""
        labels = self.series.labels
        first = Batch(
            selector=id(self.shape.path[-1]),
            series=self.series,
            path=frozenset(map(id, self.shape.path)),
            sides=frozenset(map(id, self.shape.sides)),
        )
        for start in range(0, len(labels), self.rows_per_batch):
            end = min(len(labels), start + self.rows_per_batch)
            part = labels.take(np.arange(start, end, dtype=np.int64))
            batch = replace(first, series=SeriesSlice(self.series, start, end, part))
            yield replace(ev, batch=batch).vector(self.node)


def in_batches(ev: Evaluation, node: Expr) -> Batches | None:
    """None where the series of `node` must meet, or are few enough to be taken at once."""
    if ev.batch is not None or not ev.steps.count:
        return None
    shape = row_wise(node)
    if shape is None:
        return None
    steps, widest = _steps_at_selector(ev, shape)
    selector = shape.selector
    if isinstance(selector, MatrixSelector):
        series = ev.series(selector.selector, *window_range(selector, steps, ev.defaults))
    else:
        series = ev.series(selector, *instant_range(selector, steps, ev.defaults))
    rows_per_batch = max(1, ev.batch_bytes // max(1, widest * CELL_BYTES))
    if len(series.labels) <= rows_per_batch or _had_better_be_shared(ev, shape, len(series.labels) * widest):
        return None
    return Batches(node, shape, series, rows_per_batch)


def _had_better_be_shared(ev: Evaluation, shape: RowWise, cells: int) -> bool:
    """Another part of the query asks for the same, and to keep it is not too much."""
    return (
        ev.shared is not None
        and any(node in ev.shared for node in shape.path)
        and cells * CELL_BYTES <= ev.batch_bytes * _SHARED_BATCHES_MAX
    )


def _steps_at_selector(ev: Evaluation, shape: RowWise) -> tuple[Steps, int]:
    """The steps that the selector is evaluated at, and the most of any operator on the way to it."""
    steps, widest = ev.steps, ev.steps.count
    for node in shape.path:
        if id(node) in ev.hoisted and steps.step:
            steps = Steps(steps.start, 0, 1)
        if isinstance(node, SubqueryExpr):
            steps = subquery_steps(node, steps, ev.defaults)
            widest = max(widest, steps.count)
    return steps, widest
