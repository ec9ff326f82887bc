"""Reads ranges of objects through a cache of pages, in as few requests as pays.

An object is seen as pages of equal size; pages that the cache has are not fetched, those that it lacks are fetched in
stretches, joined over small gaps. What is being fetched, over all queries of the process, is bounded in bytes and in
requests; who must wait is let in in order. A read that is larger than a bound goes past the cache: one query over
everything does not throw out what the others use.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir_rw.cache.contract import Cache
from mimir_rw.components.store_gateway.ranges import pages_of, runs_of
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.tasks import together
from mimir_rw.objstore.contract import Bucket

Range = tuple[int, int]
"""Start and end."""
Piece = tuple[int, bytes]
"""Offset in the object, and bytes from there."""
Buffer = bytes | memoryview
KEY_VERSION = 1


@dataclass(frozen=True, slots=True)
class ReadSettings:
    page_bytes: int = 16 << 10
    gap_bytes_max: int = 512 << 10
    request_bytes_max: int = 16 << 20
    ttl_s: float = 24 * 3600.0
    cached_bytes_max: int = 8 << 20
    """A larger read goes past the cache."""


class InFlight:
    """Bound of what is being fetched: bytes and requests. A request larger than the bound goes alone."""

    def __init__(self, *, bytes_max: int, requests_max: int, metrics: Metrics) -> None:
        self._bytes_max = bytes_max
        self._requests_max = requests_max
        self.bytes = 0
        self.requests = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        metrics.gauges_read(
            "mimir_rw_store_gateway_fetching_bytes",
            "Bytes that are being fetched from the bucket.",
            (),
            lambda: [((), float(self.bytes))],
        )

    @contextlib.asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        await self._enter(size)
        try:
            yield
        finally:
            self.bytes -= size
            self.requests -= 1
            self._let_in()

    async def _enter(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._take(size)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.bytes -= size
                self.requests -= 1
            else:
                self._waiting.remove((size, future))
            self._let_in()
            raise

    def _fits(self, size: int) -> bool:
        return not self.requests or (self.requests < self._requests_max and self.bytes + size <= self._bytes_max)

    def _take(self, size: int) -> None:
        self.bytes += size
        self.requests += 1

    def _let_in(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, future = self._waiting.popleft()
            if not future.cancelled():
                self._take(size)
                future.set_result(None)


class RangeReader:
    """One kind of objects (indexes, or segments of chunks) of the bucket."""

    def __init__(
        self, *, kind: str, bucket: Bucket, cache: Cache | None, in_flight: InFlight, settings: ReadSettings
    ) -> None:
        """kind: part of the keys in the cache. cache None: what is read is not kept."""
        self._kind = kind
        self._bucket = bucket
        self._cache = cache
        self._in_flight = in_flight
        self._settings = settings

    async def read(self, key: str, ranges: Sequence[Range], *, size: int, cached: bool = True) -> list[Buffer]:
        """The bytes of each range of an object. ranges: ascending and apart, within the object, whose size is given.
        cached False: past the cache, to see whether what it has is damaged.

        Raises what the bucket raises.
        """
        cache = self._cache
        total = sum(end - start for start, end in ranges)
        if cache is None or not cached or total > self._settings.cached_bytes_max:
            return [data for _, data in await self._fetch(key, ranges)]
        page = self._settings.page_bytes
        pages = pages_of(np.array(ranges, dtype=np.int64).reshape(-1, 2), page)
        held = await self._from_cache(cache, key, pages.tolist(), size)
        missing = np.array([number for number in pages.tolist() if number not in held], dtype=np.int64)
        fetched = await self._fetch(key, self._stretches(missing, size))
        self._into_cache(cache, key, fetched, missing.tolist())
        parts = _apart(sorted([(number * page, data) for number, data in held.items()] + fetched))
        starts = [start for start, _ in parts]
        return [_cut(parts, starts, start, end) for start, end in ranges]

    async def close(self) -> None:
        if self._cache is not None:
            await self._cache.close()

    def _stretches(self, pages: NDArray[np.int64], size: int) -> list[Range]:
        settings = self._settings
        page = settings.page_bytes
        runs = runs_of(
            pages, gap_max=settings.gap_bytes_max // page, length_max=max(1, settings.request_bytes_max // page)
        )
        return [(first * page, min(end * page, size)) for first, end in runs]

    async def _fetch(self, key: str, ranges: Sequence[Range]) -> list[Piece]:
        if len(ranges) <= 1:
            return [await self._fetch_one(key, *each) for each in ranges]
        return await together(self._fetch_one(key, start, end) for start, end in ranges)

    async def _fetch_one(self, key: str, start: int, end: int) -> Piece:
        async with self._in_flight.of(end - start):
            return start, await self._bucket.get_range(key, start, end - start)

    async def _from_cache(self, cache: Cache, key: str, pages: Sequence[int], size: int) -> dict[int, bytes]:
        """What is not as long as a page must be is not taken."""
        page = self._settings.page_bytes
        names = {self._page_key(key, number): number for number in pages}
        found = await cache.fetch(list(names))
        held = {names[name]: data for name, data in found.items()}
        return {number: data for number, data in held.items() if len(data) == min(page, size - number * page)}

    def _into_cache(self, cache: Cache, key: str, fetched: Sequence[Piece], wanted: Sequence[int]) -> None:
        page, asked = self._settings.page_bytes, frozenset(wanted)
        items = {
            self._page_key(key, number): data[number * page - start : number * page - start + page]
            for start, data in fetched
            for number in range(start // page, -(-(start + len(data)) // page))
            if number in asked
        }
        if items:
            cache.store(items, self._settings.ttl_s)

    def _page_key(self, key: str, page: int) -> str:
        return f"{self._kind}{KEY_VERSION}/{self._settings.page_bytes}/{key}/{page}"


def _apart(parts: Sequence[Piece]) -> list[Piece]:
    """Without those that lie within others: stretches are fetched over gaps that the cache has. parts: ascending."""
    kept: list[Piece] = []
    end = 0
    for start, data in parts:
        if start + len(data) > end:
            if kept and kept[-1][0] == start:
                kept.pop()
            kept.append((start, data))
            end = start + len(data)
    return kept


def _cut(parts: Sequence[Piece], starts: Sequence[int], start: int, end: int) -> Buffer:
    """Bytes start..end out of parts that hold them and ascend by where they start and end."""
    at = bisect_right(starts, start) - 1
    held: list[memoryview] = []
    while start < end:
        begun, data = parts[at]
        piece = memoryview(data)[start - begun : end - begun]
        held.append(piece)
        start += len(piece)
        at += 1
    return held[0] if len(held) == 1 else b"".join(held)
