"""Plain twins of the window kernels: one window at a time, in the order the rules state them. The tests' oracle."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

STALE = float(np.array([0x7FF0000000000002], dtype=np.uint64).view(np.float64)[0])

Point = tuple[int, float]
Row = Sequence[Point]


def is_stale(value: float) -> bool:
    return int(np.array([value]).view(np.uint64)[0]) == 0x7FF0000000000002


def div(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


def kahan(x: float, total: float, c: float) -> tuple[float, float]:
    t = total + x
    if math.isinf(t):
        c = 0.0
    elif abs(total) >= abs(x):
        c += (total - t) + x
    else:
        c += (x - t) + total
    return t, c


def extrapolated(points: Row, start: int, end: int, counter: bool, per_second: bool) -> float | None:
    if len(points) < 2:
        return None
    (first_t, first), (last_t, last) = points[0], points[-1]
    result = last - first
    if counter:
        for (_, previous), (_, value) in itertools.pairwise(points):
            if value < previous:
                result += previous
    to_start, to_end, sampled = (first_t - start) / 1000, (end - last_t) / 1000, (last_t - first_t) / 1000
    gap = sampled / (len(points) - 1)
    if to_start >= gap * 1.1:
        to_start = gap / 2
    if counter and result > 0 and first >= 0:
        to_start = min(to_start, sampled * div(first, result))
    if to_end >= gap * 1.1:
        to_end = gap / 2
    factor = (sampled + to_start + to_end) / sampled
    if per_second:
        span = end - start
        factor /= float(span // 1000) + float(span % 1000 * 1_000_000) / 1e9
    return result * factor


def last_two(points: Row, rate: bool) -> float | None:
    if len(points) < 2:
        return None
    (t0, v0), (t1, v1) = points[-2], points[-1]
    if not rate:
        return v1 - v0
    return (v1 if v1 < v0 else v1 - v0) / ((t1 - t0) / 1000)


def total(values: Sequence[float]) -> float:
    acc, c = 0.0, 0.0
    for value in values:
        acc, c = kahan(value, acc, c)
    return acc if math.isinf(acc) else acc + c


def mean(values: Sequence[float]) -> float:
    acc, c, n, incremental = values[0], 0.0, 1.0, False
    for value in values[1:]:
        n += 1
        if not incremental:
            new, new_c = kahan(value, acc, c)
            if not math.isinf(new):
                acc, c = new, new_c
                continue
            incremental = True
            acc, c = acc / (n - 1), c / (n - 1)
        q = (n - 1) / n
        acc, c = kahan(value / n, q * acc, q * c)
    return acc + c if incremental else acc / n + c / n


def variance(values: Sequence[float]) -> float:
    m, cm, aux, caux = 0.0, 0.0, 0.0, 0.0
    for n, value in enumerate(values, 1):
        delta = value - (m + cm)
        m, cm = kahan(delta / n, m, cm)
        aux, caux = kahan(delta * (value - (m + cm)), aux, caux)
    return (aux + caux) / len(values)


def sqrt(value: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.float64(value)))


def extreme(points: Row, better: Callable[[float, float], bool]) -> Point:
    best = points[0]
    for point in points:
        if better(point[1], best[1]) or math.isnan(best[1]):
            best = point
    return best


def pairs(values: Sequence[float], differs: Callable[[float, float], bool]) -> float:
    return float(sum(differs(a, b) for a, b in itertools.pairwise(values)))


def _values(f: Callable[[Sequence[float]], float]) -> Callable[[Row], float]:
    return lambda points: f([v for _, v in points])


WINDOWS: dict[str, Callable[[Row, int, int], float | None]] = {
    "rate": lambda p, s, e: extrapolated(p, s, e, True, True),
    "increase": lambda p, s, e: extrapolated(p, s, e, True, False),
    "delta": lambda p, s, e: extrapolated(p, s, e, False, False),
    "irate": lambda p, s, e: last_two(p, True),
    "idelta": lambda p, s, e: last_two(p, False),
    "count_over_time": lambda p, s, e: float(len(p)),
    "present_over_time": lambda p, s, e: 1.0,
    "first_over_time": lambda p, s, e: p[0][1],
    "last_over_time": lambda p, s, e: p[-1][1],
    "sum_over_time": lambda p, s, e: _values(total)(p),
    "avg_over_time": lambda p, s, e: _values(mean)(p),
    "stdvar_over_time": lambda p, s, e: _values(variance)(p),
    "stddev_over_time": lambda p, s, e: sqrt(_values(variance)(p)),
    "min_over_time": lambda p, s, e: extreme(p, lambda a, b: a < b)[1],
    "max_over_time": lambda p, s, e: extreme(p, lambda a, b: a > b)[1],
    "ts_of_min_over_time": lambda p, s, e: extreme(p, lambda a, b: a <= b)[0] / 1000,
    "ts_of_max_over_time": lambda p, s, e: extreme(p, lambda a, b: a >= b)[0] / 1000,
    "ts_of_first_over_time": lambda p, s, e: p[0][0] / 1000,
    "ts_of_last_over_time": lambda p, s, e: p[-1][0] / 1000,
    "changes": lambda p, s, e: pairs([v for _, v in p], lambda a, b: a != b and not (math.isnan(a) and math.isnan(b))),
    "resets": lambda p, s, e: pairs([v for _, v in p], lambda a, b: b < a),
}


def window_points(row: Row, start: int, end: int) -> list[Point]:
    """Samples with start < t <= end, stale markers left out."""
    return [(t, v) for t, v in row if start < t <= end and not is_stale(v)]


def select(row: Row, t: int, lookback: int) -> Point | None:
    seen = [p for p in row if p[0] <= t]
    if not seen or seen[-1][0] <= t - lookback or is_stale(seen[-1][1]):
        return None
    return seen[-1]
