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


def nan_first(value: float) -> tuple[bool, float]:
    return (False, 0.0) if math.isnan(value) else (True, value)


def quantile(q: float, values: Sequence[float]) -> float:
    if not values or math.isnan(q):
        return math.nan
    if q < 0:
        return -math.inf
    if q > 1:
        return math.inf
    ordered = sorted(values, key=nan_first)
    rank = q * (len(ordered) - 1)
    below = math.floor(rank)
    weight = rank - below
    return ordered[below] * (1 - weight) + ordered[min(below + 1, len(ordered) - 1)] * weight


def median_deviation(values: Sequence[float]) -> float:
    if any(math.isnan(v) for v in values):
        return math.nan
    median = quantile(0.5, values)
    return quantile(0.5, [abs(v - median) for v in values])


def line(points: Row, origin: int) -> tuple[float, float]:
    first = points[0][1]
    if all(v == first for _, v in points):
        return (math.nan, math.nan) if math.isinf(first) else (0.0, first)
    sums = [(0.0, 0.0)] * 4
    for t, y in points:
        x = (t - origin) / 1e3
        sums = [kahan(term, *s) for s, term in zip(sums, (x, y, mul(x, y), x * x), strict=True)]
    x, y, xy, xx = (s + c for s, c in sums)
    n = float(len(points))
    slope = div(xy - mul(x, y) / n, xx - x * x / n)
    return slope, y / n - mul(slope, x) / n


def mul(a: float, b: float) -> float:
    return a * b


def deriv(points: Row) -> float | None:
    return line(points, points[0][0])[0] if len(points) > 1 else None


def predict_linear(points: Row, seconds: float, origin: int) -> float | None:
    if len(points) < 2:
        return None
    slope, intercept = line(points, origin)
    return slope * seconds + intercept


def smoothing(points: Row, sf: float, tf: float) -> float | None:
    if len(points) < 2:
        return None
    values = [v for _, v in points]
    s0, s1, b = 0.0, values[0], values[1] - values[0]
    for i in range(1, len(values)):
        x = sf * values[i]
        if i > 1:
            b = tf * (s1 - s0) + (1 - tf) * b
        y = (1 - sf) * (s1 + b)
        s0, s1 = s1, x + y
    return s1


def welford(values: Sequence[float]) -> float:
    m, aux = values[0], 0.0 if math.isfinite(values[0]) else math.nan
    for n, value in enumerate(values[1:], 2):
        delta = value - m
        m += delta / n
        aux += delta * (value - m)
    return aux / len(values)


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": total,
    "avg": mean,
    "min": lambda v: extreme(list(enumerate(v)), lambda a, b: a < b)[1],
    "max": lambda v: extreme(list(enumerate(v)), lambda a, b: a > b)[1],
    "count": lambda v: float(len(v)),
    "group": lambda v: 1.0,
    "stdvar": welford,
    "stddev": lambda v: sqrt(welford(v)),
}


def top(values: Sequence[tuple[float, int]], k: int, largest: bool) -> list[tuple[float, int]]:
    """The k best by exhaustive sorting; equal values in input order, NaN last."""
    sign = -1 if largest else 1
    return sorted(values, key=lambda e: (math.isnan(e[0]), 0.0 if math.isnan(e[0]) else sign * e[0]))[: max(k, 0)]


def merged(buckets: Sequence[tuple[float, float]]) -> list[tuple[float, float]] | None:
    """Buckets (bound, count) in order, equal bounds summed; None unless they end with +Inf."""
    out: list[tuple[float, float]] = []
    for bound, count in sorted(buckets, key=lambda b: b[0]):
        if out and out[-1][0] == bound:
            out[-1] = (out[-1][0], out[-1][1] + count)
        else:
            out.append((bound, count))
    return out if out[-1][0] == math.inf else None


def nearly(a: float, b: float) -> bool:
    smallest = 2.2250738585072014e-308
    both = abs(a) + abs(b)
    if a == 0 or b == 0 or both < smallest:
        return abs(a - b) < 1e-12 * smallest
    return abs(a - b) / min(both, 1.7976931348623157e308) < 1e-12


def histogram_quantile(
    q: float, buckets: Sequence[tuple[float, float]]
) -> tuple[float, tuple[float, float, float] | None]:
    if math.isnan(q):
        return math.nan, None
    if q < 0 or q > 1:
        return math.copysign(math.inf, q), None
    order = merged(buckets)
    if order is None:
        return math.nan, None
    bounds, counts = [b for b, _ in order], [c for _, c in order]
    forced: list[tuple[float, float]] = []
    previous = counts[0]
    for i in range(1, len(counts)):
        if counts[i] == previous:
            continue
        if nearly(previous, counts[i]):
            counts[i] = previous
        elif counts[i] < previous:
            forced.append((bounds[i], previous - counts[i]))
            counts[i] = previous
        else:
            previous = counts[i]
    why = (forced[0][0], forced[-1][0], max(d for _, d in forced)) if forced else None
    if len(counts) < 2 or counts[-1] == 0:
        return math.nan, why
    rank = q * counts[-1]
    at = next((i for i, c in enumerate(counts[:-1]) if c >= rank), len(counts) - 1)
    if at == len(counts) - 1:
        return bounds[-2], why
    if at == 0:
        return bounds[0] if bounds[0] <= 0 else bounds[0] * div(rank, counts[0]), why
    share = div(rank - counts[at - 1], counts[at] - counts[at - 1])
    return bounds[at - 1] + (bounds[at] - bounds[at - 1]) * share, why


def histogram_fraction(lower: float, upper: float, buckets: Sequence[tuple[float, float]]) -> float:
    order = merged(buckets)
    if order is None:
        return math.nan
    total_count = order[-1][1]
    if total_count == 0 or math.isnan(lower) or math.isnan(upper):
        return math.nan
    if lower >= upper:
        return 0.0

    def rank_of(value: float) -> float:
        low, rank = (-math.inf if order[0][0] <= 0 else 0.0), 0.0
        for bound, count in order:
            if low >= value:
                return rank
            if bound > value:
                if math.isinf(low):
                    return count
                return rank + (count - rank) * (value - low) / (bound - low)
            rank, low = count, bound
        return total_count

    ranks = [min(rank_of(v), total_count) for v in (upper, lower)]
    return div(ranks[0] - ranks[1], total_count)
