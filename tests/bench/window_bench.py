"""CPU of the window, selection and aggregation kernels: `python -m tests.bench.window_bench [rows...]`.

The load of a dashboard panel: 15 s scrapes, 15 minutes in 40 steps of 15 s, range 5 m (20 samples a window). Best of
five runs, in ms of this process. Figures of one run compare with each other; between machines only ratios do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from mimir_rw import _native

SAMPLES, STEPS, STEP_MS, RANGE_MS = 60, 40, 15_000, 300_000
WINDOWS: dict[str, Sequence[float]] = {
    "rate": (),
    "irate": (),
    "changes": (),
    "last_over_time": (),
    "sum_over_time": (),
    "avg_over_time": (),
    "max_over_time": (),
    "stddev_over_time": (),
    "quantile_over_time": (0.9,),
    "deriv": (),
}


def columns(rows: int) -> _native.SampleColumns:
    """Counters that rise, each scraped at its own phase."""
    offsets = np.arange(rows + 1, dtype=np.int64) * SAMPLES
    phase = np.repeat(np.arange(rows) % STEP_MS, SAMPLES)
    ts = np.tile(np.arange(SAMPLES, dtype=np.int64) * STEP_MS, rows) + phase
    rises = np.random.default_rng(1).integers(0, 50, (rows, SAMPLES))
    return _native.SampleColumns(offsets, ts, np.cumsum(rises, axis=1).astype(np.float64).ravel())


def cpu_ms(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        call()
        best = min(best, time.process_time() - begun)
    return best * 1000


def per_step(value: float) -> np.ndarray:
    return np.full(STEPS, value)


def kernels(rows: int) -> dict[str, float]:
    """Cost of each kernel by name."""
    cols = columns(rows)
    grid = (RANGE_MS, STEP_MS, STEPS, RANGE_MS)
    cost = {"select_instant": cpu_ms(lambda: _native.select_instant(cols, *grid))}
    for func, params in WINDOWS.items():
        columns_of = [per_step(p) for p in params]
        cost[func] = cpu_ms(lambda func=func, params=columns_of: _native.window(func, cols, *grid, params))
    values, mask = _native.window("rate", cols, *grid)
    for share, count in (("1 group", 1), ("rows/20 groups", rows // 20)):
        by = (np.arange(rows, dtype=np.int64) % count, count, values, mask)
        for op in ("sum", "avg", "max", "stddev"):
            cost[f"{op}, {share}"] = cpu_ms(lambda op=op, by=by: _native.aggregate(op, *by))
        cost[f"quantile, {share}"] = cpu_ms(lambda by=by: _native.aggregate_quantile(per_step(0.9), *by))
        k = np.full(STEPS, 10)
        cost[f"topk(10), {share}"] = cpu_ms(lambda k=k, by=by: _native.select_k("topk", k, *by))
    bounds = np.tile(np.append(np.arange(1.0, 10.0), np.inf), rows // 10)
    histograms = (np.repeat(np.arange(rows // 10), 10), rows // 10, bounds, values, mask)
    cost["histogram_quantile, 10 buckets"] = cpu_ms(lambda: _native.histogram_quantile(per_step(0.99), *histograms))
    return cost


def main(sizes: Sequence[int]) -> None:
    costs = [kernels(rows) for rows in sizes]
    table = Table("kernel", *(f"{rows:,} rows, ms" for rows in sizes))
    for kernel in costs[0]:
        table.add_row(kernel, *(f"{cost[kernel]:.2f}" for cost in costs))
    Console().print(table)


if __name__ == "__main__":
    # A multiple of 20: rows are shared out evenly over groups and histograms.
    main([max(20, int(a) // 20 * 20) for a in sys.argv[1:]] or [5_000, 100_000])
