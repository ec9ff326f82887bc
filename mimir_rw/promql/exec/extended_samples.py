"""What an instant query for an anchored or smoothed range vector gives: samples with values made for both ends of the
range (promql-notes.md 7). Functions have kernels of their own for this."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from mimir_rw._native import SampleColumns
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import MatrixSelector
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.selectors import WindowSource, selector_windows

Points = list[tuple[int, float]]


def extended_samples(ev: Evaluation, node: MatrixSelector) -> tuple[WindowSource, SampleColumns]:
    """The range at its one time. Raises QueryFailed where histograms are in reach."""
    smoothed = node.selector.smoothed
    source = selector_windows(ev, node)
    rows: list[Points] = []
    for batch in source.batches():
        columns = batch.drop_stale()
        if columns.histogram_count:
            raise QueryFailed(f"{'smoothed' if smoothed else 'anchored'} modifier is not supported with histograms")
        offsets, ts, values = columns.offsets.tolist(), columns.ts.tolist(), columns.values.tolist()
        maxt = source.ends.start
        for start, end in itertools.pairwise(offsets):
            rows.append(extended(ts[start:end], values[start:end], maxt - source.range_ms, maxt, smoothed=smoothed))
    points = [point for row in rows for point in row]
    return source, SampleColumns(
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([t for t, _ in points], dtype=np.int64),
        np.array([value for _, value in points], dtype=np.float64),
    )


def extended(ts: Sequence[int], values: Sequence[float], mint: int, maxt: int, *, smoothed: bool) -> Points:
    """The samples between mint and maxt, and one at each of the two: the newest before it, if there is any, else the
    first; smoothed, what lies between its neighbours. Empty where no sample is after mint. ts: ascending, as far as the
    selector reaches."""
    if not ts or ts[-1] <= mint:
        return []
    last = len(ts) - 1
    first = max(0, bisect_right(ts, mint, 0, last) - 1)
    if smoothed:
        last = bisect_left(ts, maxt, 0, last)
        if ts[last] <= mint:
            return []
    left, right = values[first], values[last]
    if smoothed and ts[first] < mint:
        left = _between(ts, values, first, mint)
    if smoothed and last > 0 and ts[last] > maxt:
        right = _between(ts, values, last - 1, maxt)
    inside = [(t, value) for t, value in zip(ts[first : last + 1], values[first : last + 1], strict=True) if mint < t]
    if inside and inside[-1][0] >= maxt:
        inside.pop()
    return [(mint, left), *inside, (maxt, right)]


def _between(ts: Sequence[int], values: Sequence[float], at: int, t: int) -> float:
    rise = values[at + 1] - values[at]
    return values[at] + rise * (t - ts[at]) / (ts[at + 1] - ts[at])
