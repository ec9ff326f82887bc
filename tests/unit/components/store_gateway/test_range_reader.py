import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.cache.lru import LruCache
from mimir_rw.cache.metrics import CacheMetrics
from mimir_rw.components.store_gateway.range_reader import InFlight, RangeReader, ReadSettings
from mimir_rw.components.store_gateway.ranges import joined, pages_of, runs_of
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.model.errors import Unavailable
from mimir_rw.objstore.memory import MemoryBucket

DATA = bytes(n * 7 % 251 for n in range(5000))


def table(*ranges):
    return np.array(ranges, dtype=np.int64).reshape(-1, 2)


@pytest.mark.parametrize(
    ("ranges", "wanted"),
    [
        ([], []),
        ([(0, 5)], [(0, 5)]),
        ([(0, 5), (5, 9), (12, 14)], [(0, 14)]),
        ([(0, 5), (9, 10)], [(0, 5), (9, 10)]),
        ([(0, 9), (2, 4), (12, 13)], [(0, 13)]),
        ([(0, 15), (15, 18), (19, 25)], [(0, 18), (19, 25)]),
        ([(0, 50), (51, 52)], [(0, 50), (51, 52)]),
    ],
)
def test_ranges_near_one_another_are_joined(ranges, wanted):
    assert joined(table(*ranges), gap_max=3, length_max=20).tolist() == [list(each) for each in wanted]


def test_pages():
    assert pages_of(table((0, 1), (9, 21), (25, 25), (29, 31)), 10).tolist() == [0, 1, 2, 3]
    assert pages_of(table(), 10).tolist() == []
    assert runs_of(np.array([0, 1, 4, 9]), gap_max=2, length_max=100) == [(0, 5), (9, 10)]


def reader(bucket, *, cached=True, **settings):
    metrics = Metrics()
    lru = LruCache(name="t", bytes_max=1 << 20, clock=SystemClock(), metrics=CacheMetrics(metrics))
    chosen = {"page_bytes": 64, "gap_bytes_max": 128, "request_bytes_max": 640, **settings}
    return RangeReader(
        kind="t",
        bucket=bucket,
        cache=lru if cached else None,
        in_flight=InFlight(bytes_max=1000, requests_max=3, metrics=metrics),
        settings=ReadSettings(**chosen),
    )


class Watched(MemoryBucket):
    def __init__(self):
        super().__init__(clock=SystemClock())
        self.reads = []
        self.at_once = self.most = self.bytes = self.bytes_most = 0

    async def get_range(self, key, offset, length):
        self.reads.append((offset, length))
        self.at_once += 1
        self.bytes += length
        self.most, self.bytes_most = max(self.most, self.at_once), max(self.bytes_most, self.bytes)
        try:
            await asyncio.sleep(0)
            return await super().get_range(key, offset, length)
        finally:
            self.at_once -= 1
            self.bytes -= length


@pytest.fixture
async def bucket():
    made = Watched()
    await made.upload("k", DATA)
    return made


ranges = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 600)), min_size=1, max_size=12)


@given(ranges, ranges)
def test_what_is_read_is_what_is_there(first, second):
    async def scenario():
        bucket = Watched()
        await bucket.upload("k", DATA)
        for cached in (True, False):
            read = reader(bucket, cached=cached)
            for steps in (first, second, first):
                asked, at = [], 0
                for gap, length in steps:
                    if at + gap + length > len(DATA):
                        break
                    asked.append((at + gap, at + gap + length))
                    at += gap + length + 1
                found = await read.read("k", asked, size=len(DATA))
                assert [bytes(each) for each in found] == [DATA[start:end] for start, end in asked]

    asyncio.run(scenario())


async def test_what_is_in_the_cache_is_not_fetched(bucket):
    read = reader(bucket)
    await read.read("k", [(10, 20), (200, 210)], size=len(DATA))
    assert bucket.reads == [(0, 256)]
    await read.read("k", [(0, 64), (230, 240)], size=len(DATA))
    assert len(bucket.reads) == 1
    await read.read("k", [(0, 80)], size=len(DATA))
    assert bucket.reads[1:] == [(64, 64)]
    await read.read("k", [(0, 64)], size=len(DATA), cached=False)
    assert bucket.reads[2:] == [(0, 64)]
    await read.read("k", [(4990, 5000)], size=len(DATA))
    assert bucket.reads[3:] == [(4992 - 64, 72)]


async def test_a_large_read_goes_past_the_cache(bucket):
    read = reader(bucket, cached_bytes_max=1000)
    await read.read("k", [(0, 600), (700, 1200)], size=len(DATA))
    await read.read("k", [(0, 10)], size=len(DATA))
    assert len(bucket.reads) == 3


async def test_what_is_under_way_is_bounded(bucket):
    read = reader(bucket, cached=False)
    await asyncio.gather(*(read.read("k", [(n * 100, n * 100 + 90)], size=len(DATA)) for n in range(40)))
    assert bucket.most == 3
    assert bucket.bytes_most <= 1000
    await read.read("k", [(0, 4000)], size=len(DATA))
    assert bucket.reads[-1] == (0, 4000), "one that is larger than the bound goes alone"


async def test_who_waits_and_leaves_is_not_counted(bucket):
    in_flight = InFlight(bytes_max=10, requests_max=1, metrics=Metrics())
    async with in_flight.of(5):
        waiting = [asyncio.ensure_future(_enter(in_flight)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.sleep(0)
    await waiting[0]
    await waiting[2]
    assert waiting[1].cancelled()
    assert (in_flight.bytes, in_flight.requests) == (0, 0)


async def _enter(in_flight):
    async with in_flight.of(5):
        await asyncio.sleep(0)


async def test_an_error_ends_the_other_reads(bucket):
    async def fails(key, offset, length):
        if offset:
            raise Unavailable("gone")
        await asyncio.sleep(3600)

    bucket.get_range = fails
    read = reader(bucket, cached=False)
    with pytest.raises(Unavailable):
        await read.read("k", [(0, 10), (2000, 2010)], size=len(DATA))
    assert read._in_flight.requests == 0
