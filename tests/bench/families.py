"""A query for each family of operators, and the series that they ask about.

Metrics of `n` series each, at 15 s: `bench_requests_total` (counters with a reset now and then), `bench_depth`
(gauges), `bench_seconds_bucket` (n/10 classic histograms of ten buckets), and with one series an instance
`bench_target` (constant) and `bench_native_seconds` (native histograms). Labels: job (20 values), instance (one of
n/10), and code, queue or le (10 values).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir_rw.testing.remote_write import compress, field, labels, uvarint

INTERVAL_MS = 15_000
BLOCK_SAMPLES = 20
SERIES_PER_BODY = 2_000
NATIVE = "bench_native_seconds"
METRICS = ("bench_requests_total", "bench_depth", "bench_seconds_bucket", "bench_target", NATIVE)
PER_INSTANCE = ("bench_target", NATIVE)
NATIVE_BUCKETS = 12
_LE = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf")

FAMILIES: dict[str, str] = {
    "selector": "bench_depth",
    "rate": "rate(bench_requests_total[5m])",
    "increase": "increase(bench_requests_total[1h])",
    "irate": "irate(bench_requests_total[5m])",
    "delta": "delta(bench_depth[5m])",
    "changes": "changes(bench_depth[5m])",
    "resets": "resets(bench_requests_total[5m])",
    "avg_over_time": "avg_over_time(bench_depth[5m])",
    "sum_over_time_1h": "sum_over_time(bench_depth[1h])",
    "max_over_time": "max_over_time(bench_depth[5m])",
    "max_over_time_1h": "max_over_time(bench_depth[1h])",
    "count_over_time": "count_over_time(bench_depth[5m])",
    "last_over_time": "last_over_time(bench_depth[5m])",
    "present_over_time": "present_over_time(bench_depth[5m])",
    "stddev_over_time": "stddev_over_time(bench_depth[5m])",
    "quantile_over_time": "quantile_over_time(0.9, bench_depth[5m])",
    "quantile_over_time_1h": "quantile_over_time(0.9, bench_depth[1h])",
    "mad_over_time": "mad_over_time(bench_depth[5m])",
    "deriv": "deriv(bench_depth[5m])",
    "predict_linear": "predict_linear(bench_depth[5m], 3600)",
    "smoothing": "double_exponential_smoothing(bench_depth[5m], 0.5, 0.5)",
    "sum": "sum(bench_depth)",
    "sum_by": "sum by (job) (bench_depth)",
    "sum_by_rate": "sum by (job) (rate(bench_requests_total[5m]))",
    "sum_without": "sum without (instance) (rate(bench_requests_total[5m]))",
    "avg_by": "avg by (job) (bench_depth)",
    "min_by": "min by (job) (bench_depth)",
    "count_by": "count by (job) (bench_depth)",
    "group_by": "group by (job) (bench_depth)",
    "stddev_by": "stddev by (job) (bench_depth)",
    "quantile_by": "quantile by (job) (0.9, bench_depth)",
    "topk": "topk(10, bench_depth)",
    "topk_by_rate": "topk by (job) (3, rate(bench_requests_total[5m]))",
    "bottomk": "bottomk(10, bench_depth)",
    "count_values": 'count_values("value", round(bench_depth / 10))',
    "limitk": "limitk(10, bench_depth)",
    "limit_ratio": "limit_ratio(0.1, bench_depth)",
    "scalar_arithmetic": "bench_depth * 8 + 1",
    "comparison": "bench_depth > 50",
    "comparison_bool": "bench_depth > bool 50",
    "functions": "clamp_max(abs(bench_depth - 50), 20)",
    "round": "round(bench_depth, 5)",
    "log": "ln(bench_depth)",
    "one_to_one": "rate(bench_requests_total[5m]) / rate(bench_requests_total[10m])",
    "one_to_one_on": "rate(bench_requests_total[5m]) * on (instance, code) rate(bench_requests_total[10m])",
    "many_to_one": "bench_depth * on (instance) group_left (zone) bench_target",
    "ratio": 'sum by (job) (rate(bench_requests_total{code=~"5.."}[5m])) '
             "/ sum by (job) (rate(bench_requests_total[5m]))",
    "and": "bench_depth and on (instance) bench_target",
    "or": "bench_depth or bench_target",
    "unless": "bench_depth unless on (instance, queue) (bench_depth > 50)",
    "absent": "absent(bench_depth)",
    "absent_over_time": "absent_over_time(bench_depth[5m])",
    "label_replace": 'label_replace(bench_depth, "short", "$1", "instance", "(.*):.*")',
    "label_join": 'label_join(bench_depth, "both", "-", "job", "instance")',
    "histogram_quantile": "histogram_quantile(0.9, sum by (le, job) (rate(bench_seconds_bucket[5m])))",
    "histogram_quantile_all": "histogram_quantile(0.9, rate(bench_seconds_bucket[5m]))",
    "histogram_fraction": "histogram_fraction(0, 0.1, rate(bench_seconds_bucket[5m]))",
    "subquery": "max_over_time(rate(bench_requests_total[5m])[30m:1m])",
    "subquery_sum": "avg_over_time(sum by (job) (rate(bench_requests_total[5m]))[30m:1m])",
    "sort": "sort(bench_depth)",
    "sort_by_label": 'sort_by_label(bench_depth, "instance")',
    "timestamp": "timestamp(bench_depth)",
    "hour": "hour(timestamp(bench_depth))",
    "offset": "bench_depth - bench_depth offset 5m",
    "at": "bench_depth / bench_depth @ end()",
    "scalar": "bench_depth / scalar(sum(bench_depth))",
    "native_rate": "rate(bench_native_seconds[5m])",
    "native_sum": "sum by (job) (rate(bench_native_seconds[5m]))",
    "native_quantile": "histogram_quantile(0.9, sum by (job) (rate(bench_native_seconds[5m])))",
    "native_quantile_all": "histogram_quantile(0.9, rate(bench_native_seconds[5m]))",
    "native_fraction": "histogram_fraction(0, 0.1, rate(bench_native_seconds[5m]))",
    "native_count": "sum by (job) (histogram_count(bench_native_seconds))",
    "native_over_time": "histogram_avg(avg_over_time(bench_native_seconds[5m]))",
    "native_scaled": "histogram_sum(bench_native_seconds * 2 - bench_native_seconds)",
}  # fmt: skip
NOT_IN_PROMETHEUS_2 = frozenset(
    {"mad_over_time", "limitk", "limit_ratio", "sort_by_label", "smoothing", "histogram_fraction"}
)
"""Those that want newer releases, or a feature flag."""


@dataclass(frozen=True, slots=True)
class FamilyLoad:
    """series: of each metric; steps: samples of each series; the last of them is at end_ms."""

    series: int
    steps: int
    end_ms: int
    metrics: tuple[str, ...] = METRICS

    @property
    def start_ms(self) -> int:
        return self.end_ms - (self.steps - 1) * INTERVAL_MS


def series_labels(metric: str, index: int) -> dict[str, str]:
    instance, place = (index, 0) if metric in PER_INSTANCE else divmod(index, 10)
    pairs = {
        "__name__": metric,
        "cluster": "prod-0",
        "job": f"svc-{instance % 20:02d}",
        "instance": f"10.{instance >> 8 & 255}.{instance & 255}.7:9100",
        "pod": f"svc-{instance % 20:02d}-7f9c6d5b4-{instance:05d}",
        "region": "eu-west-1",
    }
    last = {"bench_depth": ("queue", f"q{place}"), "bench_seconds_bucket": ("le", _LE[place])}
    name, value = last.get(metric, ("code", f"{(2, 3, 4, 5)[place % 4]}0{place}"))
    if metric in PER_INSTANCE:
        return {**pairs, "zone": f"zone-{instance % 3}"} if metric != NATIVE else pairs
    return {**pairs, name: value}


def bodies(load: FamilyLoad) -> Iterator[list[bytes]]:
    """Compressed remote write bodies, a list for each stretch of BLOCK_SAMPLES samples."""
    rng = np.random.default_rng(5)
    heads = {
        metric: [labels(series_labels(metric, i)) for i in range(_count(metric, load.series))]
        for metric in load.metrics
    }
    state = {metric: np.zeros(len(found)) for metric, found in heads.items()}
    for first in range(0, load.steps, BLOCK_SAMPLES):
        count = min(BLOCK_SAMPLES, load.steps - first)
        times = load.start_ms + (first + np.arange(count, dtype=np.int64)) * INTERVAL_MS
        made = []
        for metric, found in heads.items():
            values = _values(metric, state[metric], count, rng)
            for low in range(0, len(found), SERIES_PER_BODY):
                part = slice(low, low + SERIES_PER_BODY)
                samples = _native_samples(values[part]) if metric == NATIVE else _float_samples(values[part])
                made.append(_body(found[part], times, samples))
        yield made


def _count(metric: str, series: int) -> int:
    return max(1, series // 10) * (1 if metric in PER_INSTANCE else 10)


def _values(metric: str, state: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The next `count` values of each series (for native histograms: numbers of observations); `state` becomes the last
    of them."""
    shape = (len(state), count)
    if metric == "bench_depth":
        return np.round(50 + 40 * rng.random(shape), 2)
    if metric == "bench_target":
        return np.ones(shape)
    grown = np.floor(rng.random(shape) * 50)
    if metric == "bench_seconds_bucket":
        grown = np.cumsum(grown.reshape(-1, 10, count), axis=1).reshape(shape)
    values: NDArray[np.float64] = state[:, np.newaxis] + np.cumsum(grown, axis=1)
    if metric == "bench_requests_total":
        fresh = rng.random(len(state)) < 0.02
        values[fresh, count // 2 :] -= values[fresh, count // 2, np.newaxis]
    state[:] = values[:, -1]
    return values


def _body(heads: list[bytes], times: NDArray[np.int64], samples: NDArray[np.uint8]) -> bytes:
    """samples: (series, times, bytes); the last six bytes of each are the place of its time, which is a varint of six
    since 2004."""
    samples[:, :, -6:] = np.frombuffer(b"".join(uvarint(int(t)) for t in times), dtype=np.uint8).reshape(-1, 6)
    rows = samples.reshape(len(heads), -1)
    return compress(b"".join(field(1, head + row.tobytes()) for head, row in zip(heads, rows, strict=True)))


def _float_samples(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    samples = np.empty((*values.shape, 18), dtype=np.uint8)
    samples[:, :, :3] = (0x12, 16, 0x09)
    samples[:, :, 3:11] = _doubles(values)
    samples[:, :, 11] = 0x10
    return samples


def _native_samples(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Integer histograms of schema 3 with so many observations in each bucket, more in the later ones. Counts are
    varints of four bytes each, so that all samples have one length."""
    counts = values[:, :, np.newaxis].astype(np.int64) * (1 + np.arange(NATIVE_BUCKETS + 1) % 5)
    steps = np.diff(counts[:, :, 1:], axis=2, prepend=0)
    count, zeros = _varints(counts.sum(axis=2)), _varints(counts[:, :, 0])
    deltas = _varints(np.where(steps < 0, -2 * steps - 1, 2 * steps)).reshape(*values.shape, -1)
    sums = _doubles(counts.sum(axis=2) / 16.0)
    span = field(11, b"\x08\x05\x10" + uvarint(NATIVE_BUCKETS))
    threshold = b"\x20\x06\x29" + np.float64(1e-3).tobytes() + b"\x30"
    parts: list[bytes | NDArray[np.uint8]] = [
        b"\x08", count, b"\x19", sums, threshold, zeros, span + b"\x62" + uvarint(deltas.shape[2]), deltas, b"\x78",
        bytes(6),
    ]  # fmt: skip
    size = sum(part.shape[2] if isinstance(part, np.ndarray) else len(part) for part in parts)
    parts.insert(0, b"\x22" + uvarint(size))
    constant = [
        part
        if isinstance(part, np.ndarray)
        else np.broadcast_to(np.frombuffer(part, dtype=np.uint8), (*values.shape, len(part)))
        for part in parts
    ]
    return np.concatenate(constant, axis=2)


def _doubles(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values, dtype="<f8").view(np.uint8).reshape(*values.shape, 8)


def _varints(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Four bytes for each number below 2^28."""
    groups = numbers[..., np.newaxis] >> np.array([0, 7, 14, 21]) & 0x7F
    return (groups | np.array([0x80, 0x80, 0x80, 0])).astype(np.uint8)
