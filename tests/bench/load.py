"""Remote write bodies like those of Prometheus servers that scrape pods.

Series are counters, gauges and classic-histogram buckets, about ten labels each, a hundred series a pod; a request
holds one sample each of `per_request` series. Three variants:

- ordered: every step sends the series in the same order, as one Prometheus does;
- shuffled: every step sends them in an order of its own;
- churning: at every step one pod in a hundred is replaced by a new one.

Bodies of a request differ between steps only in values and timestamps, which have fixed places in the message, so they
are patched into a template. `ordered` is byte for byte what the shared load generator writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mimir_rw.testing.remote_write import compress, field, labels, uvarint

Variant = Literal["ordered", "shuffled", "churning"]

SERIES_PER_POD = 100
CHURN_SHARE = 0.01
_LE = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf")
_CODE = (200, 201, 204, 301, 400, 401, 404, 429, 500, 503)


@dataclass(frozen=True, slots=True)
class Load:
    variant: Variant
    series: int
    steps: int
    start_ms: int
    per_request: int = 2000
    interval_ms: int = 15_000

    @property
    def end_ms(self) -> int:
        """Time of the last sample."""
        return self.start_ms + (self.steps - 1) * self.interval_ms

    @property
    def samples(self) -> int:
        return self.series * self.steps


def kind_of(series: int) -> tuple[str, int, int]:
    """Kind, metric family and place in the family of a series."""
    family, sub = divmod(series % SERIES_PER_POD, 10)
    return ("counter", "gauge", "bucket")[family % 3], family, sub


def metric_name(series: int) -> str:
    kind, family, _ = kind_of(series)
    return {
        "bucket": f"http_request_duration_seconds_{family}_bucket",
        "counter": f"http_requests_{family}_total",
        "gauge": f"queue_depth_{family}",
    }[kind]


METRICS = sorted({metric_name(i) for i in range(SERIES_PER_POD)})


def series_labels(series: int, pod: int | None = None) -> dict[str, str]:
    """Labels of a series; `pod` overrides the pod that it belongs to (churn)."""
    pod = series // SERIES_PER_POD if pod is None else pod
    kind, _, sub = kind_of(series)
    pairs = {
        "__name__": metric_name(series),
        "cluster": f"prod-{pod % 3}",
        "namespace": f"team-{pod % 17:02d}",
        "job": f"svc-{pod % 40:02d}",
        "pod": f"svc-{pod % 40:02d}-7f9c6d5b4-{pod:05d}",
        "instance": f"10.{pod >> 8 & 255}.{pod & 255}.7:9100",
        "container": "app",
        "endpoint": "http-metrics",
        "region": "eu-west-1",
    }
    if kind == "bucket":
        pairs["le"] = _LE[sub]
    elif kind == "counter":
        pairs["code"] = str(_CODE[sub])
    else:
        pairs["queue"] = f"q{sub}"
    return pairs


class Template:
    """A request's message with places for values and timestamps (6-byte varints, which any time since 2004 has)."""

    def __init__(self, heads: list[bytes]) -> None:
        parts: list[bytes] = []
        at = 0
        value_at, time_at = [], []
        sample = b"\x09" + bytes(8) + b"\x10" + bytes(6)
        for head in heads:
            record = field(1, head + field(2, sample))
            at += len(record)
            value_at.append(at - 15)
            time_at.append(at - 6)
            parts.append(record)
        self._bytes = np.frombuffer(b"".join(parts), dtype=np.uint8)
        self._value_at = np.asarray(value_at)[:, None] + np.arange(8)
        self._time_at = np.asarray(time_at)[:, None] + np.arange(6)

    def body(self, values: NDArray[np.float64], ts_ms: int) -> bytes:
        raw = self._bytes.copy()
        raw[self._value_at] = values.astype("<f8").view(np.uint8).reshape(-1, 8)
        raw[self._time_at] = np.frombuffer(uvarint(ts_ms), dtype=np.uint8)
        return compress(raw.tobytes())


class Values:
    """Values of all series, step after step."""

    def __init__(self, series: int) -> None:
        kinds = [kind_of(i) for i in range(series)]
        self._rng = np.random.default_rng(7)
        self._gauge = np.array([kind == "gauge" for kind, _, _ in kinds])
        self._rates = self._rng.integers(1, 50, series).astype(float)
        bucket = np.array([kind == "bucket" for kind, _, _ in kinds])
        place = np.array([sub for _, _, sub in kinds])
        self._rates[bucket] = 3.0 * (place[bucket] + 1)
        # Buckets of one histogram are neighbours and grow together; only whole runs of ten are cumulative.
        self._bucket_rows = np.flatnonzero(bucket)
        self._run = np.cumsum(place[self._bucket_rows] == 0)
        self._values = np.zeros(series)

    def next(self) -> NDArray[np.float64]:
        n = len(self._values)
        inc = np.floor(self._rates * (0.5 + self._rng.random(n)))
        grown = inc[self._bucket_rows]
        # A running maximum that starts anew with each histogram: lift each run above the one before it.
        lift = self._run * (grown.max(initial=0) + 1)
        inc[self._bucket_rows] = np.maximum.accumulate(grown + lift) - lift
        gauges = np.round(50 + 40 * self._rng.random(n), 2)
        self._values = np.where(self._gauge, gauges, self._values + inc)
        return self._values


def bodies(load: Load) -> Iterator[list[bytes]]:
    """The compressed request bodies of each step."""
    values = Values(load.series)
    spans = [(lo, min(lo + load.per_request, load.series)) for lo in range(0, load.series, load.per_request)]
    heads = [labels(series_labels(i)) for i in range(load.series)]
    templates = [Template(heads[lo:hi]) for lo, hi in spans]
    rng = np.random.default_rng(11)
    next_pod = load.series // SERIES_PER_POD + 1
    for step in range(load.steps):
        ts = load.start_ms + step * load.interval_ms
        now = values.next()
        order = np.arange(load.series)
        if load.variant == "shuffled":
            order = rng.permutation(load.series)
            templates = [Template([heads[i] for i in order[lo:hi]]) for lo, hi in spans]
        elif load.variant == "churning" and step:
            pods = max(1, load.series // SERIES_PER_POD)
            for victim in rng.choice(pods, max(1, int(pods * CHURN_SHARE)), replace=False):
                lo = int(victim) * SERIES_PER_POD
                hi = min(lo + SERIES_PER_POD, load.series)
                heads[lo:hi] = [labels(series_labels(i, next_pod)) for i in range(lo, hi)]
                next_pod += 1
            templates = [Template(heads[lo:hi]) for lo, hi in spans]
        yield [t.body(now[order[lo:hi]], ts) for t, (lo, hi) in zip(templates, spans, strict=True)]


def series_created(load: Load) -> int:
    """Distinct series that a load makes."""
    if load.variant != "churning":
        return load.series
    pods = max(1, load.series // SERIES_PER_POD)
    return load.series + (load.steps - 1) * max(1, int(pods * CHURN_SHARE)) * min(SERIES_PER_POD, load.series)
