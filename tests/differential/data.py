"""The series that both sides are given: few, small, and full of corners.

Each series is its sorted labels and its samples, floats and native histograms. Everything follows from `SEED`. Series
are written whole and in label order, so that both sides meet them in the same order and sums round alike. It spans
fifty minutes: a Prometheus head takes any order within an hour, but of a series its own order only.
"""

from __future__ import annotations

import itertools
import math
import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mimir_rw.testing.remote_write import field, labels, sample
from tests.differential import histograms
from tests.differential.histograms import Histogram

SEED = 20
START_MS = 1_700_000_000_000
INTERVAL_MS = 15_000
TICKS = 200
END_MS = START_MS + (TICKS - 1) * INTERVAL_MS

STALE: float = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
NAN: float = math.nan
INF: float = math.inf

Points = list[tuple[int, float]]
Mixed = list[tuple[int, float | Histogram]]


@dataclass(frozen=True, slots=True)
class Written:
    """points: in order of time."""

    labels: dict[str, str]
    points: Points | Mixed

    def runs(self) -> Iterator[bytes]:
        """Remote write's time series, one for each run of samples of one kind: a receiver stores floats first."""
        for _, run in itertools.groupby(self.points, key=lambda point: isinstance(point[1], Histogram)):
            yield field(1, labels(self.labels) + b"".join(_sample(at, value) for at, value in run))


def _sample(ms: int, value: float | Histogram) -> bytes:
    return histograms.message(ms, value) if isinstance(value, Histogram) else sample(ms, value)


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


def _with_gaps(rng: random.Random, points: Any, share: float) -> Any:
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
                total = max(total, before) + rng.choice((0, 0, 1, 2))
                counts[at][tick] = total
        if job == "falling":
            for tick in rng.sample(range(TICKS), TICKS // 100):
                counts[1][tick], counts[3][tick] = counts[3][tick], counts[1][tick]
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


def histogram_ticks(made: Iterable[Histogram], *, first: int = 0) -> Mixed:
    return [(START_MS + (first + i) * INTERVAL_MS, value) for i, value in enumerate(made)]


def _with_stale(rng: random.Random, points: Mixed, share: float) -> Mixed:
    return [
        (at, value.stale(STALE) if isinstance(value, Histogram) and rng.random() < share else value)
        for at, value in points
    ]


def _exponential(rng: random.Random) -> Iterator[Written]:
    for job, instance in itertools.product(("api", "web"), ("a:1", "b:1", "c:1")):
        made = histograms.counter(
            rng, TICKS, schema=rng.choice((0, 3, 3)), resets=rng.choice((0, 0.02, 0.1)), negative=job == "web",
            integer=instance != "c:1", hints=instance == "b:1",
        )  # fmt: skip
        points = _with_stale(rng, _with_gaps(rng, histogram_ticks(made), rng.choice((0, 0.1))), rng.choice((0, 0.02)))
        yield Written(labelled("duration_seconds", job=job, instance=instance), points)
    for job in ("api", "web"):
        made = histograms.gauge(rng, TICKS, schema=rng.choice((0, 1)), integer=job == "api")
        yield Written(labelled("sizes", job=job), histogram_ticks(made))
    half = TICKS // 2
    finer = list(histograms.counter(rng, half, schema=5, width=40))
    coarser = list(histograms.counter(rng, half, schema=-1, first=0, width=4))
    yield Written(labelled("rescaled_seconds", job="api"), histogram_ticks([*finer, *coarser]))
    yield Written(labelled("rescaled_seconds", job="web"), histogram_ticks([*coarser, *finer]))


def _custom(rng: random.Random) -> Iterator[Written]:
    few, many, below = (0.1, 1.0, 10.0), (0.1, 0.5, 1.0, 2.5, 10.0, 60.0), (-5.0, -1.0, 0.0, 3.0)
    for job, instance, bounds in (
        ("api", "a:1", few),
        ("api", "b:1", many),
        ("web", "a:1", few),
        ("web", "b:1", below),
    ):
        made = histograms.custom(rng, TICKS, bounds, resets=0.02, integer=instance == "a:1")
        yield Written(labelled("custom_seconds", job=job, instance=instance), histogram_ticks(made))
    half = TICKS // 2
    changing = [*histograms.custom(rng, half, few), *histograms.custom(rng, half, many)]
    yield Written(labelled("custom_changing", job="api"), histogram_ticks(changing))
    made = histograms.custom(rng, TICKS, many, integer=False, hint=histograms.GAUGE, resets=0.3)
    yield Written(labelled("custom_gauge", job="web"), histogram_ticks(made))


def _blended(rng: random.Random) -> Iterator[Written]:
    """Series that change between floats, exponential and custom histograms, and metrics of several kinds."""
    bounds = (0.1, 1.0, 10.0)
    for job in ("api", "web"):
        exponential = list(histograms.counter(rng, TICKS))
        custom = list(histograms.custom(rng, TICKS, bounds))
        points: Mixed = []
        for i in range(TICKS):
            kind = (i // (7 if job == "api" else 40)) % 3
            values: tuple[float | Histogram, ...] = (float(i), exponential[i], custom[i])
            points.append((START_MS + i * INTERVAL_MS, values[kind]))
        yield Written(labelled("blended", job=job), points)
    yield Written(labelled("kinds", job="api", kind="float"), ticks([float(i % 11) for i in range(TICKS)]))
    yield Written(labelled("kinds", job="api", kind="exponential"), histogram_ticks(histograms.counter(rng, TICKS)))
    yield Written(labelled("kinds", job="web", kind="custom"), histogram_ticks(histograms.custom(rng, TICKS, bounds)))
    yield Written(labelled("kinds", job="web", kind="float"), ticks([float(i % 7) for i in range(TICKS)]))


def _corners(rng: random.Random) -> Iterator[Written]:
    plain = Histogram(2, {0: 4.0, 1: 2.0, 5: 1.0}, {0: 1.0}, 12.5, zero_count=2.0)
    corners = {
        "empty": Histogram(0, {}, {}, 0.0),
        "nansum": replace(plain, sum=NAN),
        "infsum": replace(plain, sum=INF),
        "nanobservations": replace(plain, count=plain.total + 3.0, sum=NAN),
        "wide": replace(plain, zero_threshold=2.0, positive={5: 3.0, 9: 1.0}, negative={}),
        "zeroonly": Histogram(1, {}, {}, 0.0, zero_count=5.0),
        "fine": replace(plain, schema=8),
        "coarse": replace(plain, schema=-4, positive={0: 3.0, 1: 1.0}),
        "negative": replace(plain, positive={}, negative={-1: 3.0, 0: 2.0, 4: 1.0}, sum=-9.0, zero_count=0.0),
        "below": Histogram(-53, {0: 2.0, 1: 1.0}, {}, -7.0, bounds=(-5.0, -1.0)),
        "lonely": Histogram(-53, {0: 2.0}, {}, 7.0, bounds=(1.0,)),
        "beyond": Histogram(-53, {2: 4.0}, {}, 40.0, bounds=(1.0, 2.0)),
        "unbounded": Histogram(-53, {0: 4.0}, {}, 40.0),
    }
    for kind, value in corners.items():
        yield Written(labelled("corners", kind=kind), histogram_ticks([value] * TICKS))
    # A classic and a native one under names that a function drops.
    counts = [float(i) for i in range(TICKS)]
    for bound, share in (("0.5", 0.25), ("2.0", 0.75), ("+Inf", 1.0)):
        values = [math.floor(count * share) for count in counts]
        yield Written(labelled("both_seconds_bucket", job="api", le=bound), ticks([float(v) for v in values]))
    yield Written(labelled("both_seconds", job="api"), histogram_ticks(histograms.counter(rng, TICKS)))


def series(*, native: bool = True) -> list[Written]:
    """All series, in label order. native: histograms among them."""
    rng = random.Random(SEED)
    made = [w for part in (_counters, _gauges, _buckets, _sparse, _texts) for w in part(rng)]
    if native:
        made += [w for part in (_exponential, _custom, _blended, _corners) for w in part(rng)]
    made.sort(key=lambda w: [(name.encode(), value.encode()) for name, value in w.labels.items()])
    return made
