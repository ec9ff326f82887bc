"""Reading selectors: decode a batch of rows, turn it into step columns with a kernel, let it go.

Decoded samples never exist for a whole selector at once, only for a batch of about `BATCH_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mimir_rw._native import (
    HistogramColumn,
    LabelFrame,
    Looks,
    SampleColumns,
    histogram_statistics,
    select_instant,
    select_instant_mixed,
    select_instant_times,
    select_smoothed,
    select_smoothed_mixed,
)
from mimir_rw.promql.ast import NO_SPAN, MatrixSelector, Span, VectorSelector
from mimir_rw.promql.exec.evaluation import BATCH_BYTES, Evaluation, repeat
from mimir_rw.promql.exec.memory import CELL_BYTES, SAMPLE_BYTES
from mimir_rw.promql.exec.range_notes import note_windows
from mimir_rw.promql.exec.values import (
    BoolMatrix,
    Flags,
    FloatMatrix,
    HistogramCells,
    IndexMatrix,
    Vector,
    concat_cells,
    empty_vector,
)
from mimir_rw.promql.plan.selects import instant_range, window_range
from mimir_rw.promql.steps import Steps, selector_ends
from mimir_rw.storage.contract import SeriesSet

Wanted = Literal["all", "newest", "edges", "times"]
MixedMatrix = tuple[FloatMatrix, BoolMatrix, IndexMatrix, HistogramColumn, list[int]]


@dataclass(frozen=True, slots=True)
class StepColumns:
    """What a kernel made of n rows: (n, steps) cells, and flags of what it met in each row (None: nothing)."""

    values: FloatMatrix
    mask: BoolMatrix
    histograms: HistogramCells | None = None
    flags: Flags | None = None

    @staticmethod
    def of_floats(result: tuple[FloatMatrix, BoolMatrix]) -> StepColumns:
        return StepColumns(*result)

    @staticmethod
    def of_mixed(result: MixedMatrix) -> StepColumns:
        values, mask, index, column, flags = result
        met = np.array(flags, dtype=np.uint32)
        cells = HistogramCells(column, index) if len(column) else None
        return StepColumns(values, mask, cells, met if met.any() else None)


Kernel = Callable[[SampleColumns], StepColumns]


def statistics_of(node: VectorSelector, ends: Steps, length_ms: int) -> Callable[[SampleColumns], SampleColumns] | None:
    """What makes of samples those of which only count and sum are wanted, if that is so. length_ms: of the windows that
    are read, at `ends`."""
    if not node.statistics:
        return None
    step_ms = 0 if node.anchored or node.smoothed else ends.step
    return lambda columns: histogram_statistics(columns, ends.start, step_ms, length_ms)


def looks_of(ev: Evaluation, node: VectorSelector, ends: Steps, length_ms: int, wanted: Wanted) -> Looks:
    """What is looked at of the windows of that length that end at `ends`. Where samples tell when they started, any of
    them may end a counter."""
    if node.anchored or node.smoothed or ev.start_timestamps:
        wanted = "all"
    return Looks(wanted, ends.start, ends.step, ends.count, length_ms, node.statistics)


def decode_batches(
    ev: Evaluation,
    series: SeriesSet,
    mint: int,
    maxt: int,
    steps: int = 1,
    changed: Callable[[SampleColumns], SampleColumns] | None = None,
    looks: Looks | None = None,
) -> Iterator[SampleColumns]:
    """The samples with mint <= t <= maxt of all rows, in order of rows, batch by batch. changed: what to make of
    samples with histograms first. looks: the histograms that are looked at; None: all of them.

    A batch is small enough that neither its samples nor `steps` cells a row take more than about BATCH_BYTES.
    """
    rows = len(series.labels)
    row_bytes = max(series.sample_count_max(0, rows) * SAMPLE_BYTES // max(1, rows), steps * CELL_BYTES, 1)
    per_batch = max(1, BATCH_BYTES // row_bytes)
    for start in range(0, rows, per_batch):
        ev.deadline.check()
        columns = series.decode(start, min(rows, start + per_batch), mint, maxt, looks)
        if changed is not None and columns.histogram_count:
            columns = changed(columns)
        mark = ev.memory.current_bytes
        nbytes = columns.sample_count * SAMPLE_BYTES + columns.histogram_bytes
        ev.memory.take(nbytes)
        ev.memory.read_samples(nbytes // SAMPLE_BYTES)
        if ev.tracer is not None:
            ev.tracer.decoded(series, len(columns), columns.sample_count + columns.histogram_count)
        yield columns
        ev.memory.current_bytes = mark


def apply_kernel(
    ev: Evaluation, rows: int, steps: int, batches: Iterator[SampleColumns], kernel: Kernel
) -> StepColumns:
    """The kernel's result for all batches as one. The memory of the floats is accounted for before it is taken."""
    ev.memory.take(rows * steps * CELL_BYTES)
    values: FloatMatrix | None = None
    mask: BoolMatrix | None = None
    parts: list[StepColumns] = []
    done = 0
    for columns in batches:
        part = kernel(columns)
        if part.histograms is not None:
            ev.memory.take(part.histograms.nbytes)
        if len(part.mask) == rows:
            return part
        if values is None or mask is None:
            values, mask = np.empty((rows, steps)), np.empty((rows, steps), dtype=np.bool_)
        values[done : done + len(part.mask)] = part.values
        mask[done : done + len(part.mask)] = part.mask
        done += len(part.mask)
        parts.append(part)
    assert values is not None
    assert mask is not None
    return StepColumns(values, mask, concat_cells([(p.histograms, p.mask.shape) for p in parts]), _all_flags(parts))


def _all_flags(parts: list[StepColumns]) -> Flags | None:
    if all(part.flags is None for part in parts):
        return None
    none = (np.zeros(len(part.mask), dtype=np.uint32) for part in parts)
    return np.concatenate([zeros if p.flags is None else p.flags for p, zeros in zip(parts, none, strict=True)])


def select_vector(ev: Evaluation, node: VectorSelector) -> Vector:
    """The newest sample within the lookback at each step; a smoothed selector interpolates between neighbours."""
    ends, lookback_ms = selector_ends(node.at, node.offset_ms, ev.steps), ev.defaults.lookback_ms

    def run(columns: SampleColumns) -> StepColumns:
        args = (columns, ends.start, ends.step, ends.count, lookback_ms)
        if node.smoothed and columns.histogram_count:
            return StepColumns.of_mixed(select_smoothed_mixed(*args))
        if node.smoothed:
            return StepColumns.of_floats(select_smoothed(*args))
        if columns.histogram_count:
            return StepColumns.of_mixed(select_instant_mixed(*args, "sample"))
        return StepColumns.of_floats(select_instant(*args))

    return _select(ev, node, run, "newest")


def select_times(ev: Evaluation, node: VectorSelector) -> Vector:
    """The time in seconds of the newest sample at each step, also where the selector is smoothed."""
    ends, lookback_ms = selector_ends(node.at, node.offset_ms, ev.steps), ev.defaults.lookback_ms

    def run(columns: SampleColumns) -> StepColumns:
        args = (columns, ends.start, ends.step, ends.count, lookback_ms)
        if columns.histogram_count:
            return StepColumns.of_mixed(select_instant_mixed(*args, "time"))
        return StepColumns.of_floats(select_instant_times(*args))

    return _select(ev, node, run, "times")


def select_start_times(ev: Evaluation, node: VectorSelector) -> Vector:
    """As `select_vector`, but the value is the sample's start timestamp in seconds, 0 where it has none."""
    ends, lookback_ms = selector_ends(node.at, node.offset_ms, ev.steps), ev.defaults.lookback_ms

    def run(columns: SampleColumns) -> StepColumns:
        args = (columns, ends.start, ends.step, ends.count, lookback_ms)
        return StepColumns.of_mixed(select_instant_mixed(*args, "start time"))

    return _select(ev, node, run, "times")


def _select(ev: Evaluation, node: VectorSelector, kernel: Kernel, wanted: Wanted) -> Vector:
    ends = selector_ends(node.at, node.offset_ms, ev.steps)
    mint, maxt = instant_range(node, ev.steps, ev.defaults)
    series = ev.series(node, mint, maxt)
    if len(series.labels) == 0 or ev.steps.count == 0:
        return empty_vector(ev.steps)
    statistics = statistics_of(node, ends, ev.defaults.lookback_ms)
    looks = looks_of(ev, node, ends, ev.defaults.lookback_ms, wanted)
    batches = decode_batches(ev, series, mint, maxt, ends.count, statistics, looks)
    result = apply_kernel(ev, len(series.labels), ends.count, batches, kernel)
    if result.flags is not None:
        note_windows(ev.annotations, series.labels, result.flags, node.span)
    vector = Vector(series.labels, result.values, result.mask, histograms=result.histograms).compact()
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

    def run(self, ev: Evaluation, kernel: Kernel, span: Span = NO_SPAN) -> Vector:
        """The kernel's result for every window; its columns are those of `ends`. span: the place in annotations."""
        if len(self.labels) == 0 or self.ends.count == 0:
            return empty_vector(self.ends)
        result = apply_kernel(ev, len(self.labels), self.ends.count, self.batches(), kernel)
        if result.flags is not None:
            note_windows(ev.annotations, self.labels, result.flags, span)
        return Vector(self.labels, result.values, result.mask, self.unnamed, result.histograms).compact()


def no_windows(ends: Steps) -> WindowSource:
    """What a range of less than a millisecond has: no sample is in it."""
    nothing = SampleColumns(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
    return WindowSource(
        labels=LabelFrame.empty_rows(0), unnamed=None, ends=ends, range_ms=1, batches=lambda: iter([nothing])
    )


def selector_windows(ev: Evaluation, node: MatrixSelector, wanted: Wanted = "all") -> WindowSource:
    """wanted: what is looked at of the histograms of each window."""
    selector = node.selector
    ends = selector_ends(selector.at, selector.offset_ms, ev.steps)
    if node.range_ms == 0:
        return no_windows(ends)
    mint, maxt = window_range(node, ev.steps, ev.defaults)
    series = ev.series(selector, mint, maxt)
    statistics = statistics_of(selector, ends, node.range_ms)
    looks = looks_of(ev, selector, ends, node.range_ms, wanted)
    return WindowSource(
        labels=series.labels,
        unnamed=None,
        ends=ends,
        range_ms=node.range_ms,
        batches=lambda: decode_batches(ev, series, mint, maxt, ev.steps.count, statistics, looks),
    )
