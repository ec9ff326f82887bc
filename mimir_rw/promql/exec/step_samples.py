"""How many samples each step of a query looks at, by Prometheus' rules: the numbers behind `stats` of the API.

Counted from the plan and the data after the evaluation, and only for a query that asks: an evaluation that shares,
batches or hoists does not do its work step by step, and should not be slower for those who do not ask. Selectors, and
the insides of subqueries, are read once more for it. A histogram counts as one sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import SampleColumns
from mimir_rw.promql.ast import Call, Expr, MatrixSelector, SubqueryExpr, VectorSelector, children
from mimir_rw.promql.exec.annotations import Annotations
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.selectors import WindowSource, select_vector, selector_windows
from mimir_rw.promql.exec.subquery import subquery_windows
from mimir_rw.promql.steps import Steps, subquery_steps

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StepSamples:
    """By step. queryable: samples that the step would look at if it were a query of its own; read: those of them that
    no step before has looked at."""

    queryable: Counts
    read: Counts

    def __add__(self, other: StepSamples) -> StepSamples:
        return StepSamples(self.queryable + other.queryable, self.read + other.read)


def count_samples(ev: Evaluation, node: Expr) -> StepSamples:
    """What `ev` looks at for `node`. Raises as the evaluation does."""
    return _counted(replace(ev, annotations=Annotations(query=""), tracer=None, shared=None), node)


def _counted(ev: Evaluation, node: Expr) -> StepSamples:
    if ev.steps.count and ev.steps.step and id(node) in ev.hoisted:
        return _spread(_counted(ev.over(Steps(ev.steps.start, 0, 1)), node), ev.steps.count)
    if isinstance(node, VectorSelector):
        present = select_vector(ev, node).present().sum(axis=0, dtype=np.int64)
        return StepSamples(present, present)
    if isinstance(node, MatrixSelector):
        return _of_windows(selector_windows(ev, node), ev.steps)
    if isinstance(node, SubqueryExpr):
        return _of_subquery(ev, node)
    # The labels that info() takes are written as a selector and are none.
    inside = node.args[:1] if isinstance(node, Call) and node.func.name == "info" else children(node)
    return sum((_counted(ev, child) for child in inside), _none(ev.steps.count))


def _none(count: int) -> StepSamples:
    zeros = np.zeros(count, dtype=np.int64)
    return StepSamples(zeros, zeros)


def _spread(once: StepSamples, count: int) -> StepSamples:
    """Of what is evaluated once for all steps: each looks at it, the first reads it."""
    read = np.zeros(count, dtype=np.int64)
    read[0] = once.read.sum()
    return StepSamples(np.repeat(once.queryable, count), read)


def _of_windows(source: WindowSource, steps: Steps) -> StepSamples:
    """queryable: samples of each window; read: of each, those after the end of the one before."""
    times = _times(source)
    right = source.ends.times()
    left = right - source.range_ms
    after = np.searchsorted(times, right, side="right")
    queryable = after - np.searchsorted(times, left, side="right")
    seen = np.maximum(left, np.concatenate([left[:1], right[:-1]]))
    read = after - np.searchsorted(times, seen, side="right")
    found = StepSamples(queryable.astype(np.int64), read.astype(np.int64))
    return found if len(right) == steps.count else _spread(found, steps.count)


def _times(source: WindowSource) -> Counts:
    """Of all samples of all series, ascending."""

    def parts() -> Iterator[Counts]:
        for columns in source.batches():
            yield from _sample_times(columns.drop_stale())

    found = list(parts()) if len(source.labels) else []
    return np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def _sample_times(columns: SampleColumns) -> Iterator[Counts]:
    yield columns.ts
    if columns.histogram_count:
        yield columns.histogram_ts


def _of_subquery(ev: Evaluation, node: SubqueryExpr) -> StepSamples:
    """The step looks at the subquery's own samples; what its inside reads is read for the first step that needs it."""
    outer = _of_windows(subquery_windows(ev, node), ev.steps)
    inner_steps = subquery_steps(node, ev.steps, ev.defaults)
    read = np.zeros(ev.steps.count, dtype=np.int64)
    if inner_steps.count:
        inner = _counted(ev.over(inner_steps), node.expr).read
        if ev.steps.count == 1:
            read[0] = inner.sum()
        else:
            at, window = inner_steps.times() + node.offset_ms, node.range_ms
            step = np.clip(-((ev.steps.start - at) // ev.steps.step), 0, ev.steps.count - 1)
            needed = at > ev.steps.start + step * ev.steps.step - window
            np.add.at(read, step[needed], inner[needed])
    return StepSamples(outer.queryable, read)
