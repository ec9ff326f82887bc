"""Samples by step. That they are Prometheus' is held by tests/differential/test_requests.py."""

from __future__ import annotations

import asyncio
import struct

import pytest

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.promql.engine import Engine, QueryLimits
from tests.unit.promql.memory_storage import MemoryQueryable, series

MINUTE = 60_000
STALE: float = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
DATA = [
    series('a{i="0"} 0 10 20 30'),
    ({"__name__": "a", "i": "1"}, [(0, 1.0), (2 * MINUTE, STALE), (3 * MINUTE, 3.0)]),
]


def counted(query: str, *, count: bool = True) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """queryable and read of three steps, the first a minute into the data."""
    engine = Engine(clock=SystemClock(), offload=InlineOffload())
    limits = QueryLimits(count_samples=count)
    result = asyncio.run(engine.range(MemoryQueryable(DATA), query, MINUTE, 3 * MINUTE, MINUTE, limits=limits))
    return result.stats.queryable, result.stats.read


@pytest.mark.parametrize(
    ("query", "queryable", "read"),
    [
        ("a", (2, 1, 2), (2, 1, 2)),
        ("a + a", (4, 2, 4), (4, 2, 4)),
        ("1", (0, 0, 0), (0, 0, 0)),
        ("count_over_time(a[2m])", (3, 2, 3), (3, 1, 2)),
        ("count_over_time(a[30s])", (1, 1, 2), (1, 1, 2)),
        ("a @ 60", (2, 2, 2), (2, 0, 0)),
        ("count_over_time(a[2m] @ 60)", (3, 3, 3), (3, 0, 0)),
        ("sum_over_time(a[1m:30s])", (4, 3, 3), (4, 3, 3)),
        ("sum_over_time(a[1m:30s] offset 1m)", (2, 4, 3), (2, 4, 3)),
        ("absent(nothing)", (0, 0, 0), (0, 0, 0)),
    ],
)
def test_counts(query: str, queryable: tuple[int, ...], read: tuple[int, ...]) -> None:
    assert counted(query) == (queryable, read)


def test_nothing_is_counted_unasked() -> None:
    assert counted("a", count=False) == ((), ())


def test_counting_leaves_no_trace_in_annotations() -> None:
    engine = Engine(clock=SystemClock(), offload=InlineOffload())
    limits = QueryLimits(count_samples=True)
    query = "sum_over_time(quantile(2, a)[1m:30s])"
    result = asyncio.run(engine.instant(MemoryQueryable(DATA), query, MINUTE, limits=limits))
    assert len(result.warnings) == 1
