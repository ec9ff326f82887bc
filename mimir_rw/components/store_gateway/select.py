"""The series of several blocks with their chunks, for one query.

A few blocks are read at a time, each in batches: so many series, then their chunks, as many rows at a time as have
about so many bytes. What is ready waits in a short queue; when the reader is slow, nothing more is fetched, and when it
leaves, all that goes on is cancelled. What the query holds in memory here is counted against the tenant's limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from mimir_rw._native import EncodedSeriesSet
from mimir_rw.components.store_gateway.block_reader import BlockReader
from mimir_rw.components.store_gateway.headers import Block
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import MimirError, Overloaded
from mimir_rw.model.labels import Matcher
from mimir_rw.rpc.contracts.store_gateway import BlockEnd, BlockPart
from mimir_rw.storage.fetch_limits import FetchLimits

PART_BYTES = 256 << 10
CHUNK_BATCH_BYTES = 4 << 20
BLOCKS_AT_ONCE = 4
PARTS_WAITING_MAX = 8
_PLACE_BYTES = 24
"""Of a chunk's place in memory."""

Item = BlockPart | BlockEnd


@dataclass(frozen=True, slots=True)
class SelectSettings:
    series_batch: int
    blocks_at_once: int = BLOCKS_AT_ONCE
    chunk_batch_bytes: int = CHUNK_BATCH_BYTES


@dataclass(slots=True)
class _Counts:
    """Of one query here. series: of the block that has most, since all may have the same ones."""

    series: int = 0
    chunk_bytes: int = 0
    held: int = 0


class BlocksSelect:
    """One query. `items` is read once."""

    def __init__(
        self,
        *,
        reader: BlockReader,
        offload: Offload,
        settings: SelectSettings,
        limits: FetchLimits,
        refused: Callable[[Block, MimirError], Awaitable[BlockEnd]],
    ) -> None:
        """refused: what becomes of a block that cannot be read; it raises what ends the whole query."""
        self._reader = reader
        self._offload = offload
        self._settings = settings
        self._limits = limits
        self._refused = refused
        self._counts = _Counts()
        self._queue: asyncio.Queue[Item | BaseException] = asyncio.Queue(PARTS_WAITING_MAX)

    async def items(
        self, blocks: Sequence[Block], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> AsyncGenerator[Item, None]:
        """Parts of the blocks, and the end of each."""
        tasks = TaskSupervisor()
        left = list(reversed(blocks))

        async def work() -> None:
            while left:
                await self._one(left.pop(), matchers, mint, maxt)

        for number in range(min(self._settings.blocks_at_once, len(blocks))):
            tasks.spawn(self._guarded(work), name=f"reading blocks {number}")
        try:
            ended = 0
            while ended < len(blocks):
                item = await self._queue.get()
                if isinstance(item, BaseException):
                    raise item
                ended += isinstance(item, BlockEnd)
                yield item
        finally:
            await tasks.cancel()

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            await self._queue.put(error)

    async def _one(self, block: Block, matchers: Sequence[Matcher], mint: int, maxt: int) -> None:
        try:
            await self._read(block, matchers, mint, maxt)
            end = BlockEnd(block[1], served=True)
        except MimirError as error:
            end = await self._refused(block, error)
        await self._queue.put(end)

    async def _read(self, block: Block, matchers: Sequence[Matcher], mint: int, maxt: int) -> None:
        reader, batch = self._reader, self._settings.series_batch
        matched = await reader.matched(block, matchers)
        if matched is None:
            return
        ids, found = matched.ids, 0
        self._hold(ids.nbytes)
        try:
            for start in range(0, len(ids), batch):
                series = await reader.series(block, matched, ids[start : start + batch], mint, maxt)
                rows = len(series.labels)
                found += rows
                self._counts.series = max(self._counts.series, found)
                size = series.labels.nbytes + series.chunks * _PLACE_BYTES
                self._hold(size)
                try:
                    row = 0
                    while row < rows:
                        end = series.chunk_rows_end(row, self._settings.chunk_batch_bytes)
                        await self._send(block, await reader.chunks(block, series, row, end))
                        row = end
                finally:
                    self._counts.held -= size
        finally:
            self._counts.held -= ids.nbytes

    async def _send(self, block: Block, found: EncodedSeriesSet) -> None:
        size = found.nbytes
        self._counts.chunk_bytes += size
        self._hold(size)
        try:
            start, total = 0, len(found.labels)
            while start < total:
                end, data = await self._run(_part, found, start)
                await self._queue.put(BlockPart(block[1], end - start, data))
                start = end
        finally:
            self._counts.held -= size

    def _hold(self, size: int) -> None:
        """Raises LimitExceeded; what was added stays, for the query is over then."""
        counts = self._counts
        counts.held += size
        self._limits.check(counts.series, counts.chunk_bytes, counts.held)

    async def _run(self, fn: Callable[..., tuple[int, bytes]], *args: object) -> tuple[int, bytes]:
        try:
            return await self._offload.run(fn, *args)
        except OffloadFull as error:
            raise Overloaded(str(error)) from error


def _part(found: EncodedSeriesSet, start: int) -> tuple[int, bytes]:
    end = found.part_end(start, PART_BYTES)
    return end, found.encode(start, end, histograms=True)
