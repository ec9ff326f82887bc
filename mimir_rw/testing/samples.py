"""Samples whose value says which they are, so that a reader can tell one that was made up, moved or altered.

Series n of a plan carries the label series="n"; its k-th sample has the value n * 10^7 + k and stands at a time that
follows from n and k. Bodies are remote write 1.0, as Prometheus sends them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import snappy

_STRIDE = 10_000_000
METRIC = "sim_requests_total"


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """One tenant's series: `initial` of them from the start, then `births` new ones every `growth` ticks.

    start_ms: time of the first tick; at each tick, every interval_ms, each series has a sample, all of them a
    millisecond apart. growth 0: no new ones."""

    tenant: str
    start_ms: int
    interval_ms: int
    initial: int = 1
    growth: int = 0
    births: int = 1

    def born(self, series: int) -> int:
        """The tick of the first sample."""
        return max(0, -(-(series + 1 - self.initial) // self.births)) * self.growth

    def series_at(self, tick: int) -> int:
        """How many series there are; they are numbered from 0."""
        return self.initial + (tick // self.growth * self.births if self.growth else 0)

    def time_ms(self, series: int, sequence: int) -> int:
        return self.start_ms + (self.born(series) + sequence) * self.interval_ms + series

    def within(self, series: int, start_ms: int, end_ms: int) -> range:
        """Sequences of the series with start_ms < time <= end_ms, whether or not there ever are so many."""
        first_ms = self.time_ms(series, 0)
        start = max(0, (start_ms - first_ms) // self.interval_ms + 1)
        return range(start, max(start, (end_ms - first_ms) // self.interval_ms + 1))

    def value(self, series: int, sequence: int) -> float:
        return float(series * _STRIDE + sequence)

    def body(self, rows: Iterable[tuple[int, Sequence[int]]]) -> bytes:
        """A request body with the given sequences of the given series."""
        fields = []
        for series, sequences in rows:
            text = _label_fields(series) + b"".join(
                _sample(self.time_ms(series, k), self.value(series, k)) for k in sequences
            )
            fields.append(_field(1, text))
        return bytes(snappy.compress(b"".join(fields)))


def labels(series: int) -> Mapping[str, str]:
    return {
        "__name__": METRIC, "series": str(series), "job": f"job-{series % 3}", "instance": f"host-{series % 7}:9100"
    }  # fmt: skip


@cache
def _label_fields(series: int) -> bytes:
    return b"".join(_label(name, value) for name, value in sorted(labels(series).items()))


def decode_value(value: float) -> tuple[int, int]:
    """(series, sequence) of a value."""
    series, sequence = divmod(int(value), _STRIDE)
    return series, sequence


def _uvarint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return _uvarint(number << 3 | 2) + _uvarint(len(payload)) + payload


def _label(name: str, value: str) -> bytes:
    return _field(1, _field(1, name.encode()) + _field(2, value.encode()))


def _sample(time_ms: int, value: float) -> bytes:
    return _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _uvarint(time_ms))
