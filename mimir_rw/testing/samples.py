"""Samples whose value says which they are, so that a reader can tell one that was made up, moved or altered.

Series n of a plan carries the label series="n"; its k-th sample has the value n * 10^7 + k and stands at a time that
follows from n and k. Bodies are remote write 1.0, as Prometheus sends them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from mimir_rw.testing.remote_write import body, field, sample
from mimir_rw.testing.remote_write import labels as label_fields

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
            samples = (sample(self.time_ms(series, k), self.value(series, k)) for k in sequences)
            fields.append(field(1, _label_fields(series) + b"".join(samples)))
        return body(*fields)


def labels(series: int) -> Mapping[str, str]:
    return {
        "__name__": METRIC, "series": str(series), "job": f"job-{series % 3}", "instance": f"host-{series % 7}:9100"
    }  # fmt: skip


@cache
def _label_fields(series: int) -> bytes:
    return label_fields(labels(series))


def decode_value(value: float) -> tuple[int, int]:
    """(series, sequence) of a value."""
    series, sequence = divmod(int(value), _STRIDE)
    return series, sequence
