"""Subqueries: the inside is evaluated once over all of its steps, and becomes samples at those times."""

from __future__ import annotations

from collections.abc import Iterator

from mimir_rw._native import SampleColumns
from mimir_rw.promql.ast import SubqueryExpr
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.memory import CELL_BYTES, SAMPLE_BYTES
from mimir_rw.promql.exec.selectors import WindowSource, no_windows
from mimir_rw.promql.exec.values import empty_vector
from mimir_rw.promql.steps import selector_ends, subquery_steps


def subquery_windows(ev: Evaluation, node: SubqueryExpr) -> WindowSource:
    if node.range_ms == 0:
        return no_windows(selector_ends(node.at, node.offset_ms, ev.steps))
    inner = subquery_steps(node, ev.steps, ev.defaults)
    ev.memory.take(inner.count * CELL_BYTES)  # refuses at once what a tiny step would make of a long range
    vector = ev.over(inner).vector(node.expr) if inner.count > 0 else empty_vector(inner)

    def batches() -> Iterator[SampleColumns]:
        cells = vector.histograms
        histograms = () if cells is None else (cells.index, cells.column)
        columns = SampleColumns.from_matrix(vector.values, vector.mask, inner.start, inner.step, *histograms)
        ev.memory.take(columns.sample_count * SAMPLE_BYTES + columns.histogram_count * SAMPLE_BYTES)
        yield columns

    return WindowSource(
        labels=vector.labels,
        unnamed=vector.unnamed,
        ends=selector_ends(node.at, node.offset_ms, ev.steps),
        range_ms=node.range_ms,
        batches=batches,
    )
