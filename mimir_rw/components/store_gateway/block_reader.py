"""Reads series of one block out of the bucket.

    matchers ──► postings lists ──► ids ──► series (labels, places of chunks) ──► chunks
         header              ranges of the index                     ranges of segments

Each step asks a kernel which ranges it wants and gives it the bytes. What does not decode is read once more past the
cache; if that does not help, the block is damaged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import DataDamaged as NativeDamaged
from mimir_rw._native import EncodedSeriesSet, FetchedSeries, PostingsPlan, RegexError
from mimir_rw.components.store_gateway.headers import Block, HeaderStore, OpenHeader
from mimir_rw.components.store_gateway.range_reader import Buffer, Range, RangeReader
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.model.errors import BadRequest, DataDamaged, Overloaded
from mimir_rw.model.labels import Matcher
from mimir_rw.objstore.contract import Bucket

T = TypeVar("T")
Ids = NDArray[np.uint32]
_SEGMENTS_MAX = 999_999


class ChunkDamaged(DataDamaged):
    """The block's index is well; its other chunks may be."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Series of a block that may match, by their ids, in label order."""

    header: OpenHeader
    plan: PostingsPlan
    ids: Ids


class BlockReader:
    """Of the blocks of all tenants."""

    def __init__(
        self,
        *,
        headers: HeaderStore,
        bucket: Bucket,
        indexes: RangeReader,
        segments: RangeReader,
        offload: Offload,
        gap_bytes_max: int,
    ) -> None:
        self._headers = headers
        self._bucket = bucket
        self._indexes = indexes
        self._segments = segments
        self._offload = offload
        self._gap = gap_bytes_max
        self._segment_bytes: dict[Block, list[int]] = {}

    async def matched(self, block: Block, matchers: Sequence[Matcher]) -> Matched | None:
        """None: there are none. Raises as `HeaderStore.open` does, and BadRequest for a matcher that is wrong."""
        header = await self._headers.open(block)
        tuples = [matcher.as_tuple() for matcher in matchers]
        try:
            plan = await self._run(lambda: header.native.postings(tuples, gap_bytes_max=self._gap))
        except RegexError as error:
            raise BadRequest(str(error)) from error
        except NativeDamaged as error:
            raise _damaged(block, error) from error
        if plan.nothing:
            return None

        async def resolve(cached: bool) -> Ids:
            buffers = await self._read_index(block, header, _ranges(plan.ranges), cached=cached)
            return await self._run(plan.resolve, buffers)

        ids = await self._checked(block, resolve)
        return Matched(header, plan, ids) if len(ids) else None

    async def series(self, block: Block, matched: Matched, ids: Ids, mint: int, maxt: int) -> FetchedSeries:
        """The series of some of the ids: those that match and have chunks that overlap mint..maxt."""

        async def fetch(cached: bool) -> FetchedSeries:
            wanted = await self._run(lambda: matched.plan.series(ids, mint, maxt, gap_bytes_max=self._gap))
            while len(wanted.ranges):
                buffers = await self._read_index(block, matched.header, _ranges(wanted.ranges), cached=cached)
                await self._run(wanted.add, buffers)
            return await self._run(wanted.finish)

        return await self._checked(block, fetch)

    async def chunks(self, block: Block, series: FetchedSeries, start: int, end: int) -> EncodedSeriesSet:
        """Rows start..end with their chunks."""
        sizes = await self._sizes(block)

        async def fetch(cached: bool) -> EncodedSeriesSet:
            wanted = await self._run(lambda: series.fetch_chunks(start, end, sizes, gap_bytes_max=self._gap))
            while len(wanted.ranges):
                buffers = await self._read_segments(block, wanted.ranges.tolist(), sizes, cached=cached)
                await self._run(wanted.add, buffers)
            return await self._run(wanted.finish)

        try:
            return await self._checked(block, fetch)
        except DataDamaged as error:
            raise ChunkDamaged(str(error)) from error

    def forget(self, block: Block) -> None:
        self._segment_bytes.pop(block, None)

    async def close(self) -> None:
        """Give up the caches."""
        await self._indexes.close()
        await self._segments.close()

    async def _read_index(
        self, block: Block, header: OpenHeader, ranges: Sequence[Range], *, cached: bool
    ) -> list[Buffer]:
        return await self._indexes.read(f"{block[0]}/{block[1]}/index", ranges, size=header.index_bytes, cached=cached)

    async def _read_segments(
        self, block: Block, rows: Sequence[Sequence[int]], sizes: Sequence[int], *, cached: bool
    ) -> list[Buffer]:
        """rows: segment (from 0), start, end; ascending."""
        buffers: list[Buffer] = []
        at = 0
        while at < len(rows):
            segment = rows[at][0]
            until = next((n for n in range(at, len(rows)) if rows[n][0] != segment), len(rows))
            ranges = [(start, end) for _, start, end in rows[at:until]]
            key = _segment_key(block, segment)
            buffers += await self._segments.read(key, ranges, size=sizes[segment], cached=cached)
            at = until
        return buffers

    async def _sizes(self, block: Block) -> list[int]:
        """Of the segments, which are numbered from 1 on; read once."""
        known = self._segment_bytes.get(block)
        if known is None:
            found = {}
            async for info in self._bucket.list(f"{block[0]}/{block[1]}/chunks/"):
                found[info.key.rpartition("/")[2]] = info.size
            sizes: list[int] = []
            while len(sizes) < _SEGMENTS_MAX and (size := found.get(f"{len(sizes) + 1:06}")) is not None:
                sizes.append(size)
            known = self._segment_bytes[block] = sizes
        return known

    async def _checked(self, block: Block, read: Callable[[bool], Awaitable[T]]) -> T:
        try:
            return await read(True)
        except NativeDamaged:
            pass
        try:
            return await read(False)
        except NativeDamaged as error:
            raise _damaged(block, error) from error

    async def _run(self, fn: Callable[..., T], *args: object) -> T:
        try:
            return await self._offload.run(fn, *args)
        except OffloadFull as error:
            raise Overloaded(str(error)) from error


def _ranges(table: NDArray[np.int64]) -> list[Range]:
    return [(start, end) for start, end in table.tolist()]


def _segment_key(block: Block, segment: int) -> str:
    return f"{block[0]}/{block[1]}/chunks/{segment + 1:06}"


def _damaged(block: Block, error: NativeDamaged) -> DataDamaged:
    return DataDamaged(f"block {block[1]}: {error}")
