"""Native histograms of every kind for both sides, and how remote write 1.0 carries them.

A `Histogram` is what is written. Integer histograms have counts that are whole; they are sent as deltas. Everything
follows from the generator that is handed in.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mimir_rw.testing.remote_write import field, uvarint

UNKNOWN, RESET, NOT_RESET, GAUGE = range(4)
CUSTOM_SCHEMA = -53


@dataclass(frozen=True, slots=True)
class Histogram:
    """buckets: absolute counts by index; of an NHCB by position of its bound. integer: counts are whole and sent so."""

    schema: int
    positive: Mapping[int, float]
    negative: Mapping[int, float]
    sum: float
    zero_threshold: float = 0.001
    zero_count: float = 0.0
    count: float | None = None
    """None: what the buckets hold."""
    bounds: tuple[float, ...] = ()
    integer: bool = True
    hint: int = UNKNOWN

    @property
    def total(self) -> float:
        if self.count is not None:
            return self.count
        return sum(self.positive.values()) + sum(self.negative.values()) + self.zero_count

    def stale(self, stale: float) -> Histogram:
        """The marker that ends a series of histograms."""
        return replace(self, positive={}, negative={}, zero_count=0.0, count=0.0, sum=stale)


def message(ms: int, value: Histogram) -> bytes:
    """The `histograms` field of a time series."""
    out = bytearray()
    if value.integer:
        out += b"\x08" + uvarint(int(value.total))
    else:
        out += b"\x11" + struct.pack("<d", value.total)
    out += b"\x19" + struct.pack("<d", value.sum) + b"\x20" + uvarint(_zigzag(value.schema))
    if value.schema != CUSTOM_SCHEMA:
        out += b"\x29" + struct.pack("<d", value.zero_threshold)
        zero = value.zero_count
        out += b"\x30" + uvarint(int(zero)) if value.integer else b"\x39" + struct.pack("<d", zero)
    for numbers, buckets in (((8, 9, 10), value.negative), ((11, 12, 13), value.positive)):
        out += _buckets(numbers, buckets, value.integer)
    out += b"\x70" + uvarint(value.hint) + b"\x78" + uvarint(ms)
    if value.bounds:
        out += field(16, struct.pack(f"<{len(value.bounds)}d", *value.bounds))
    return field(4, bytes(out))


def _buckets(numbers: tuple[int, int, int], buckets: Mapping[int, float], integer: bool) -> bytes:
    spans, deltas, counts = numbers
    indexes = sorted(buckets)
    out, at = bytearray(), 0
    while at < len(indexes):
        end = at + 1
        while end < len(indexes) and indexes[end] == indexes[end - 1] + 1:
            end += 1
        offset = indexes[at] - (indexes[at - 1] + 1 if at else 0)
        out += field(spans, b"\x08" + uvarint(_zigzag(offset)) + b"\x10" + uvarint(end - at))
        at = end
    if not indexes:
        return b""
    values = [buckets[i] for i in indexes]
    if integer:
        steps = [int(b - a) for a, b in zip([0.0, *values], values, strict=False)]
        out += field(deltas, b"".join(uvarint(_zigzag(step)) for step in steps))
    else:
        out += field(counts, struct.pack(f"<{len(values)}d", *values))
    return bytes(out)


def _zigzag(n: int) -> int:
    return n << 1 if n >= 0 else (-n << 1) - 1


def counter(
    rng: random.Random, ticks: int, *, schema: int = 3, resets: float = 0.0, negative: bool = False,
    integer: bool = True, first: int = -4, width: int = 8, hints: bool = False,
) -> Iterator[Histogram]:  # fmt: skip
    """A histogram that grows, and now and then starts again; sparse at first, denser later."""
    positive: dict[int, float] = {}
    below: dict[int, float] = {}
    zero, total = 0.0, 0.0
    for tick in range(ticks):
        fresh = tick > 0 and rng.random() < resets
        if fresh:
            positive, below, zero, total = {}, {}, 0.0, 0.0
        for _ in range(rng.choice((0, 1, 3))):
            index = first + int(abs(rng.gauss(0, width / 3)))
            step = float(rng.choice((1, 1, 2, 5))) if integer else rng.choice((0.5, 1.0, 2.25))
            side = below if negative and rng.random() < 0.4 else positive
            side[index] = side.get(index, 0.0) + step
            total += step * (2.0 ** (index * 2.0**-schema)) * (-1 if side is below else 1)
        if rng.random() < 0.2:
            zero += 1.0
        hint = (RESET if fresh else NOT_RESET) if hints and tick else UNKNOWN
        yield Histogram(schema, dict(positive), dict(below), total, zero_count=zero, integer=integer, hint=hint)


def gauge(rng: random.Random, ticks: int, *, schema: int = 1, integer: bool = False) -> Iterator[Histogram]:
    """What goes up and down, its zero bucket changing its width."""
    for _ in range(ticks):
        positive = {i: float(rng.randrange(1, 9)) for i in rng.sample(range(-3, 6), 3)}
        negative = {i: float(rng.randrange(1, 4)) for i in rng.sample(range(-2, 3), 1)}
        yield Histogram(
            schema, positive, negative, round(rng.gauss(5, 20), 2), zero_threshold=rng.choice((0.001, 0.25)),
            zero_count=float(rng.randrange(3)), integer=integer, hint=GAUGE,
        )  # fmt: skip


def custom(
    rng: random.Random, ticks: int, bounds: tuple[float, ...], *, resets: float = 0.0, integer: bool = True,
    hint: int = UNKNOWN,
) -> Iterator[Histogram]:  # fmt: skip
    """Custom buckets: the last position is that of +Inf."""
    counts: dict[int, float] = {}
    total = 0.0
    for _ in range(ticks):
        if rng.random() < resets:
            counts, total = {}, 0.0
        for _ in range(rng.choice((0, 1, 2))):
            at = rng.randrange(len(bounds) + 1)
            counts[at] = counts.get(at, 0.0) + 1.0
            total += bounds[min(at, len(bounds) - 1)]
        yield Histogram(CUSTOM_SCHEMA, dict(counts), {}, total, bounds=bounds, integer=integer, hint=hint)
