"""Reading selectors: decode a batch of rows, turn it into step columns with a kernel, let it go.

Decoded samples never exist for a whole selector at once, only for a batch of about `BATCH_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mimir_rw._native import LabelFrame, SampleColumns, select_instant, select_instant_times
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import MatrixSelector, VectorSelector
from mimir_rw.promql.exec.evaluation import Evaluation, repeat
from mimir_rw.promql.exec.memory import SAMPLE_BYTES
from mimir_rw.promql.exec.values import BoolMatrix, FloatMatrix, Vector, empty_vector
from mimir_rw.promql.steps import Steps, selector_ends
from mimir_rw.storage.contract import SeriesSet

BATCH_BYTES = 4 << 20
CELL_BYTES = 9  # a float64 and its presence

Kernel = Callable[[SampleColumns], tuple[FloatMatrix, BoolMatrix]]


def decode_batches(ev: Evaluation, series: SeriesSet, mint: int, maxt: int) -> Iterator[SampleColumns]:
    """The samples with mint <= t <= maxt of all rows, in order of rows, batch by batch."""
    rows = len(series.labels)
    samples = series.sample_count_max(0, rows)
    per_batch = max(1, rows * BATCH_BYTES // max(1, samples * SAMPLE_BYTES))
    for start in range(0, rows, per_batch):
        ev.deadline.check()
        columns = series.decode(start, min(rows, start + per_batch), mint, maxt)
        count = int(columns.sample_count)
        mark = ev.memory.current_bytes
        ev.memory.take(count * SAMPLE_BYTES)
        ev.memory.read_samples(count)
        yield columns
        ev.memory.current_bytes = mark


def apply_kernel(ev: Evaluation, batches: Iterator[SampleColumns], kernel: Kernel) -> tuple[FloatMatrix, BoolMatrix]:
    """The kernel's matrices of all batches as one."""
    parts = []
    for columns in batches:
        values, mask = kernel(columns)
        ev.memory.take(values.nbytes + mask.nbytes)
        parts.append((values, mask))
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([v for v, _ in parts]), np.concatenate([m for _, m in parts])


def lookup(ev: Evaluation, node: VectorSelector, mint: int, maxt: int) -> SeriesSet:
    if node.anchored or node.smoothed:
        raise QueryFailed(f"the {'anchored' if node.anchored else 'smoothed'} modifier is not supported yet")
    return ev.gathered.lookup(node.matchers, mint, maxt)


def select_vector(ev: Evaluation, node: VectorSelector) -> Vector:
    """The newest sample within the lookback at each step."""
    return _select(ev, node, times=False)


def select_times(ev: Evaluation, node: VectorSelector) -> Vector:
    """As `select_vector`, but the value is the sample's own time in seconds."""
    return _select(ev, node, times=True)


def _select(ev: Evaluation, node: VectorSelector, *, times: bool) -> Vector:
    ends = selector_ends(node.at, node.offset_ms, ev.steps)
    lookback = ev.defaults.lookback_ms
    mint, maxt = ends.start - lookback + 1, ends.last
    series = lookup(ev, node, mint, maxt)
    if len(series.labels) == 0 or ev.steps.count == 0:
        return empty_vector(ev.steps)
    kernel = select_instant_times if times else select_instant

    def run(columns: SampleColumns) -> tuple[FloatMatrix, BoolMatrix]:
        return kernel(columns, ends.start, ends.step, ends.count, lookback)

    values, mask = apply_kernel(ev, decode_batches(ev, series, mint, maxt), run)
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
        values, mask = apply_kernel(ev, self.batches(), kernel)
        return Vector(self.labels, values, mask, self.unnamed).compact()


def selector_windows(ev: Evaluation, node: MatrixSelector) -> WindowSource:
    selector = node.selector
    ends = selector_ends(selector.at, selector.offset_ms, ev.steps)
    mint, maxt = ends.start - node.range_ms + 1, ends.last
    series = lookup(ev, selector, mint, maxt)
    return WindowSource(
        labels=series.labels,
        unnamed=None,
        ends=ends,
        range_ms=node.range_ms,
        batches=lambda: decode_batches(ev, series, mint, maxt),
    )
