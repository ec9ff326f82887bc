"""Reading selectors: decode a batch of rows, turn it into step columns with a kernel, let it go.

Decoded samples never exist for a whole selector at once, only for a batch of about `BATCH_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mimir_rw._native import LabelFrame, SampleColumns, select_instant, select_instant_times, select_smoothed
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import MatrixSelector, VectorSelector
from mimir_rw.promql.exec.evaluation import BATCH_BYTES, Evaluation, repeat
from mimir_rw.promql.exec.memory import CELL_BYTES, SAMPLE_BYTES
from mimir_rw.promql.exec.values import BoolMatrix, FloatMatrix, Vector, empty_vector
from mimir_rw.promql.plan.selects import instant_range, window_range
from mimir_rw.promql.steps import Steps, selector_ends
from mimir_rw.storage.contract import SeriesSet

Kernel = Callable[[SampleColumns], tuple[FloatMatrix, BoolMatrix]]
InstantKernel = Callable[[SampleColumns, int, int, int, int], tuple[FloatMatrix, BoolMatrix]]


def decode_batches(ev: Evaluation, series: SeriesSet, mint: int, maxt: int, steps: int = 1) -> Iterator[SampleColumns]:
    """The samples with mint <= t <= maxt of all rows, in order of rows, batch by batch.

    A batch is small enough that neither its samples nor `steps` cells a row take more than about BATCH_BYTES.
    """
    rows = len(series.labels)
    row_bytes = max(series.sample_count_max(0, rows) * SAMPLE_BYTES // max(1, rows), steps * CELL_BYTES, 1)
    per_batch = max(1, BATCH_BYTES // row_bytes)
    for start in range(0, rows, per_batch):
        ev.deadline.check()
        columns = series.decode(start, min(rows, start + per_batch), mint, maxt)
        mark = ev.memory.current_bytes
        ev.memory.take(columns.sample_count * SAMPLE_BYTES)
        ev.memory.read_samples(columns.sample_count)
        if ev.tracer is not None:
            ev.tracer.decoded(series, len(columns), columns.sample_count)
        yield columns
        ev.memory.current_bytes = mark


def apply_kernel(
    ev: Evaluation, rows: int, steps: int, batches: Iterator[SampleColumns], kernel: Kernel
) -> tuple[FloatMatrix, BoolMatrix]:
    """The kernel's (rows, steps) matrices of all batches as one. The memory is accounted for before it is taken."""
    ev.memory.take(rows * steps * CELL_BYTES)
    values: FloatMatrix | None = None
    mask: BoolMatrix | None = None
    done = 0
    for columns in batches:
        part_values, part_mask = kernel(columns)
        if len(part_mask) == rows:
            return part_values, part_mask
        if values is None or mask is None:
            values, mask = np.empty((rows, steps)), np.empty((rows, steps), dtype=np.bool_)
        values[done : done + len(part_mask)] = part_values
        mask[done : done + len(part_mask)] = part_mask
        done += len(part_mask)
    assert values is not None
    assert mask is not None
    return values, mask


def select_vector(ev: Evaluation, node: VectorSelector) -> Vector:
    """The newest sample within the lookback at each step; a smoothed selector interpolates between neighbours."""
    return _select(ev, node, select_smoothed if node.smoothed else select_instant)


def select_times(ev: Evaluation, node: VectorSelector) -> Vector:
    """As `select_vector`, but the value is the sample's own time in seconds."""
    if node.smoothed:
        raise QueryFailed("the time of a smoothed sample is not supported yet")
    return _select(ev, node, select_instant_times)


def _select(ev: Evaluation, node: VectorSelector, kernel: InstantKernel) -> Vector:
    ends = selector_ends(node.at, node.offset_ms, ev.steps)
    mint, maxt = instant_range(node, ev.steps, ev.defaults)
    series = ev.series(node, mint, maxt)
    if len(series.labels) == 0 or ev.steps.count == 0:
        return empty_vector(ev.steps)

    def run(columns: SampleColumns) -> tuple[FloatMatrix, BoolMatrix]:
        return kernel(columns, ends.start, ends.step, ends.count, ev.defaults.lookback_ms)

    batches = decode_batches(ev, series, mint, maxt, ends.count)
    values, mask = apply_kernel(ev, len(series.labels), ends.count, batches, run)
    vector = Vector(series.labels, values, mask).compact()
    if ends.count != ev.steps.count:
        repeated = repeat(vector, ev.steps.count)
        assert isinstance(repeated, Vector)
        return repeated
    return vector


class WindowSource:
    """The argument of a range function: labels of its series and their samples batch by batch.

    ends: the right ends of the windows, a single one where `@` pins it; range_ms: their length (left end exclusive).
    """

    def __init__(
        self,
        *,
        labels: LabelFrame,
        unnamed: BoolMatrix | None,
        ends: Steps,
        range_ms: int,
        batches: Callable[[], Iterator[SampleColumns]],
    ) -> None:
        self.labels = labels
        self.unnamed = unnamed
        self.ends = ends
        self.range_ms = range_ms
        self.batches = batches

    def repeated(self, count: int) -> WindowSource:
        """The same single window, `count` times."""
        return WindowSource(
            labels=self.labels,
            unnamed=self.unnamed,
            ends=replace(self.ends, count=count),
            range_ms=self.range_ms,
            batches=self.batches,
        )

    def run(self, ev: Evaluation, kernel: Kernel) -> Vector:
        """The kernel's result for every window; its columns are those of `ends`."""
        if len(self.labels) == 0 or self.ends.count == 0:
            return empty_vector(self.ends)
        values, mask = apply_kernel(ev, len(self.labels), self.ends.count, self.batches(), kernel)
        return Vector(self.labels, values, mask, self.unnamed).compact()


def selector_windows(ev: Evaluation, node: MatrixSelector) -> WindowSource:
    selector = node.selector
    ends = selector_ends(selector.at, selector.offset_ms, ev.steps)
    mint, maxt = window_range(node, ev.steps, ev.defaults)
    series = ev.series(selector, mint, maxt)
    return WindowSource(
        labels=series.labels,
        unnamed=None,
        ends=ends,
        range_ms=node.range_ms,
        batches=lambda: decode_batches(ev, series, mint, maxt, ev.steps.count),
    )
