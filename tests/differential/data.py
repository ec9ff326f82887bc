"""The series that both sides are given: few, small, and full of corners.

Each series is its sorted labels and its samples. Everything follows from `SEED`. Series are written whole and in label
order, so that both sides meet them in the same order and sums round alike. The data spans fifty minutes: a Prometheus
head takes any order within an hour.
"""

from __future__ import annotations

import itertools
import math
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

SEED = 20
START_MS = 1_700_000_000_000
INTERVAL_MS = 15_000
TICKS = 200
END_MS = START_MS + (TICKS - 1) * INTERVAL_MS

STALE: float = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
NAN: float = math.nan
INF: float = math.inf

Points = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Written:
    labels: dict[str, str]
    points: Points


def labelled(name: str, **labels: str) -> dict[str, str]:
    return dict(sorted({"__name__": name, **labels}.items(), key=lambda pair: pair[0].encode()))


def ticks(values: list[float], *, first: int = 0, shift_ms: int = 0) -> Points:
    return [(START_MS + (first + i) * INTERVAL_MS + shift_ms, value) for i, value in enumerate(values)]


def _counter(rng: random.Random, resets: float, gaps: float) -> list[float]:
    """Values of a counter; STALE where the target went away, NaN-free otherwise. A gap is a missing sample: None-like
    holes are cut by `_with_gaps`."""
    value, out = float(rng.randrange(50)), []
    for _ in range(TICKS):
        value = 0.0 if rng.random() < resets else value + rng.choice((0, 1, 1, 2, 7, 0.25))
        out.append(STALE if rng.random() < gaps else value)
    return out


def _with_gaps(rng: random.Random, points: Points, share: float) -> Points:
    """Some samples are missing, and once a quarter of an hour is."""
    hole = rng.randrange(TICKS) if share else -(10**6)
    return [p for i, p in enumerate(points) if rng.random() >= share and not hole <= i < hole + 60]


def _counters(rng: random.Random) -> Iterator[Written]:
    for job, instance, code in itertools.product(("api", "web"), ("a:1", "b:1", "c:1"), ("200", "500")):
        values = _counter(rng, rng.choice((0, 0.01, 0.1)), rng.choice((0, 0, 0.03)))
        points = _with_gaps(rng, ticks(values, shift_ms=rng.choice((0, 0, 1370))), rng.choice((0, 0.1)))
        yield Written(labelled("requests_total", job=job, instance=instance, code=code), points)


def _gauges(rng: random.Random) -> Iterator[Written]:
    odd = (NAN, INF, -INF, -0.0, 0.0, STALE)
    for job, instance in itertools.product(("api", "web", "db"), ("a:1", "b:1", "c:1")):
        share = rng.choice((0, 0, 0.2))
        values = [rng.choice(odd) if rng.random() < share else round(rng.gauss(0, 30), 2) for _ in range(TICKS)]
        yield Written(labelled("temperature", job=job, instance=instance), _with_gaps(rng, ticks(values), 0.05))
    for job in ("api", "web"):
        yield Written(labelled("limit", job=job), ticks([float(rng.randrange(1, 9)) for _ in range(TICKS)]))
    for i in range(12):
        yield Written(labelled("small", i=f"n{i}", half=str(i % 2)), ticks([float(i * 7 % 5)] * TICKS))
    for kind, value in {"nan": NAN, "inf": INF, "neg": -INF, "zero": -0.0, "tiny": 2.5e-308, "one": 1.0}.items():
        yield Written(labelled("odd", kind=kind), ticks([value] * TICKS))
    for kind in ("a", "b", "c"):
        yield Written(
            labelled("huge", kind=kind), ticks([rng.choice((1.7e308, -1.7e308, 1e308)) for _ in range(TICKS)])
        )
    for kind in ("x", "y"):
        values = [1e16 * rng.choice((1, -1)) + rng.random() for _ in range(TICKS)]
        yield Written(labelled("cancelling", kind=kind), ticks(values))


def _buckets(rng: random.Random) -> Iterator[Written]:
    layouts = {
        "good": ("0.1", "0.5", "1", "2.5", "+Inf"),
        "negative": ("-5", "-1", "0", "3", "+Inf"),
        "noinf": ("0.1", "0.5", "1"),
        "bad": ("0.1", "zebra", "0.5", "+Inf"),
        "twice": ("1", "1.0", "2", "+Inf"),
        "lonely": ("+Inf",),
        "falling": ("0.1", "0.5", "1", "2.5", "+Inf"),
    }
    for job, bounds in layouts.items():
        counts = [[0.0] * TICKS for _ in bounds]
        for tick in range(TICKS):
            total = 0.0
            for at in range(len(bounds)):
                before = counts[at][tick - 1] if tick else 0.0
                total = max(total, before) + rng.choice((0, 0, 1, 2)) if job != "falling" else float(rng.randrange(9))
                counts[at][tick] = total
        for bound, values in zip(bounds, counts, strict=True):
            yield Written(labelled("latency_seconds_bucket", job=job, le=bound), ticks(values))
        yield Written(labelled("latency_seconds_count", job=job), ticks(counts[-1]))
        yield Written(labelled("latency_seconds_sum", job=job), ticks([value * 0.3 for value in counts[-1]]))
    yield Written(labelled("latency_seconds_bucket", job="nole"), ticks([3.0] * TICKS))


def _sparse(rng: random.Random) -> Iterator[Written]:
    for i in range(3):
        every = (19, 20, 21)[i]
        points = [p for at, p in enumerate(ticks([float(at) for at in range(TICKS)])) if at % every == 0]
        yield Written(labelled("sparse", i=str(i)), points)
    yield Written(labelled("short", job="api", instance="a:1"), ticks([1, 2, 3, 4, STALE, 6, 7, STALE], first=80))
    yield Written(labelled("short", job="api", instance="b:1"), ticks([1, 2, 3, 4], first=80))
    yield Written(labelled("single", job="api"), ticks([42.0], first=100))
    yield Written(labelled("late", job="web"), ticks([float(i) for i in range(60)], first=140))
    yield Written(labelled("stepping", job="web"), [(START_MS + i * 60_000, float(i // 4)) for i in range(50)])
    yield Written(labelled("uneven", job="web"), [
        (START_MS + i * INTERVAL_MS + rng.randrange(INTERVAL_MS), rng.random()) for i in range(TICKS)
    ])  # fmt: skip


def _texts(rng: random.Random) -> Iterator[Written]:
    values = [float(rng.randrange(5)) for _ in range(TICKS)]
    for text in ('quote"', "back\\slash", "line\nbreak", "<&>", "ü€𝄞", "a/b", "1.5", "$1"):
        yield Written(labelled("texts", text=text, job="api"), ticks(values))
    yield Written(labelled("my.metric", **{"label.name": "v", "job": "api"}), ticks(values))
    yield Written(labelled("my.metric", **{"label.name": "w ü", "job": "web"}), ticks(values))
    for job, instance, version in (("api", "a:1", "1"), ("api", "b:1", "2"), ("web", "a:1", "2")):
        labels = labelled("target_info", job=job, instance=instance, version=version, k8s="yes")
        yield Written(labels, ticks([1.0] * TICKS))
        yield Written(labelled("build_info", job=job, instance=instance, version=version), ticks([1.0] * TICKS))


def series() -> list[Written]:
    """All series, in label order."""
    rng = random.Random(SEED)
    made = [w for part in (_counters, _gauges, _buckets, _sparse, _texts) for w in part(rng)]
    made.sort(key=lambda w: [(name.encode(), value.encode()) for name, value in w.labels.items()])
    return made
