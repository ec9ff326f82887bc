"""Cutting blocks from one tenant's head, while pushes and queries go on.

    freeze ─ write ─ name ─ forget ─ rebuild ─ seal ─ checkpoint            samples in order
    seal ─ freeze ─ write, name (a block a range) ─ forget ─ remove log     samples out of order

Steps that change the head are turns in its lane, short ones; the rest runs beside it. A block is named, and queries see
it, before the head forgets what it has: at no moment is a sample in neither. A crash between two steps leaves the block
or the log with it; where both have it, the newest in-order block's end says what the log is not asked for.

One cut at a time (`Cutter` has a lock); lives on the event loop of its head.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from mimir_rw._native import CutStats, DataDamaged, HeadUpkeep, WalFailed
from mimir_rw.formats.block_meta import HINT_OUT_OF_ORDER, BlockCompaction, BlockMeta, BlockStats
from mimir_rw.formats.ulid import ENTROPY_BYTES, make_ulid
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.kit.rng import Rng
from mimir_rw.model.errors import Unavailable
from mimir_rw.tsdb.head import TenantHead
from mimir_rw.tsdb.local_blocks import LocalBlocks

T = TypeVar("T")


class CutFailed(Exception):
    """The head is as it was, less what was cut before."""


@dataclass(frozen=True, slots=True)
class CutReport:
    blocks: tuple[BlockMeta, ...] = ()
    series_dropped: int = 0
    segments_folded: int = 0


class Cutter:
    def __init__(
        self, *, head: TenantHead, blocks: LocalBlocks, range_ms: int, offload: Offload, clock: Clock, rng: Rng
    ) -> None:
        """offload: for the long steps; not the one that appends wait for."""
        self._head = head
        self._blocks = blocks
        self._range_ms = range_ms
        self._offload = offload
        self._clock = clock
        self._rng = rng
        self._lock = asyncio.Lock()

    @property
    def is_due(self) -> bool:
        """Whether the head spans more than one and a half ranges in order."""
        return self._head.is_open and due(*self._head.cut_extent[::2], range_ms=self._range_ms)

    async def compact(self) -> CutReport:
        """Cut whole ranges while the head spans more than one and a half, then what came out of order. Raises
        CutFailed, Unavailable."""
        async with self._lock:
            made: list[BlockMeta] = []
            dropped = 0
            while self.is_due:
                mint = self._head.cut_extent[0]
                assert mint is not None
                dropped += await self._cut(mint, range_end(mint, self._range_ms), made)
            if dropped or made:
                dropped += await self._cut_out_of_order(made)
            return await self._ended(made, dropped)

    async def flush(self, before: int | None = None) -> CutReport:
        """Cut everything that the head has now, or everything before a time, in ranges. As `compact`."""
        async with self._lock:
            made: list[BlockMeta] = []
            dropped = 0
            await self._head.refresh()
            newest = self._head.cut_extent[2]
            # What comes from now on is left to the next one: else pushes could keep this one from its end.
            end = before if before is not None or newest is None else newest + 1
            while (mint := self._head.cut_extent[0]) is not None and end is not None and mint < end:
                dropped += await self._cut(mint, min(range_end(mint, self._range_ms), end), made)
            dropped += await self._cut_out_of_order(made)
            return await self._ended(made, dropped)

    async def _ended(self, made: list[BlockMeta], dropped: int) -> CutReport:
        folded: int | None = None
        if made or dropped:
            upkeep = self._head.native.upkeep()
            active = await self._turn(upkeep.seal_wal)
            folded = await self._beside(lambda: upkeep.checkpoint(active))
        return CutReport(tuple(made), dropped, folded or 0)

    async def _cut(self, mint: int, maxt: int, made: list[BlockMeta]) -> int:
        """One block of samples in order, and what follows from it; how many series went."""
        upkeep = self._head.native.upkeep()
        await self._turn(lambda: upkeep.freeze(maxt))
        try:
            meta = await self._beside(lambda: self._write(upkeep, mint, maxt, out_of_order=False))
        except BaseException:
            with contextlib.suppress(Unavailable):
                await self._turn(upkeep.thaw)
            raise
        if meta is not None:
            made.append(meta)
        await self._stepwise(lambda start: upkeep.forget(maxt, start))
        return await self._drop_empty(upkeep)

    async def _drop_empty(self, upkeep: HeadUpkeep) -> int:
        await self._beside(upkeep.prepare_rebuild)
        dropped = await self._turn(upkeep.rebuild)
        await self._head.refresh()
        return dropped

    async def _cut_out_of_order(self, made: list[BlockMeta]) -> int:
        """The blocks of what came out of order; how many series went."""
        upkeep = self._head.native.upkeep()
        if upkeep.cut_extent()[1] is None:
            return 0
        segment = await self._turn(upkeep.seal_wbl)
        await self._stepwise(upkeep.freeze_ooo)
        _, oldest, newest, _ = upkeep.cut_extent()
        if oldest is None or newest is None:
            return 0
        start = oldest // self._range_ms * self._range_ms
        while start <= newest:
            write = functools.partial(self._write, upkeep, start, start + self._range_ms, out_of_order=True)
            if (meta := await self._beside(write)) is not None:
                made.append(meta)
            start += self._range_ms
        await self._stepwise(upkeep.forget_ooo)
        dropped = await self._drop_empty(upkeep)
        await self._beside(lambda: upkeep.truncate_wbl(segment))
        return dropped

    def _write(self, upkeep: HeadUpkeep, mint: int, maxt: int, *, out_of_order: bool) -> BlockMeta | None:
        """In a thread. None: there is nothing in that range."""
        entropy = bytes(self._rng.randrange(256) for _ in range(ENTROPY_BYTES))
        ulid = make_ulid(self._clock.now_ms(), entropy)
        directory = self._blocks.begin(ulid)
        try:
            stats = upkeep.write_block(str(directory), mint, maxt, out_of_order=out_of_order)
            if stats is None:
                self._blocks.abandon(ulid)
                return None
            return self._blocks.commit(_meta(ulid, mint, maxt, stats, out_of_order=out_of_order)).meta
        except BaseException:
            self._blocks.abandon(ulid)
            raise

    async def _stepwise(self, step: Callable[[int], int | None]) -> None:
        start: int | None = 0
        while start is not None:
            start = await self._turn(functools.partial(step, start))

    async def _turn(self, step: Callable[[], T]) -> T:
        with _failures():
            return await self._head.turn(step)

    async def _beside(self, step: Callable[[], T]) -> T:
        with _failures():
            return await self._offload.run(step)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (WalFailed, DataDamaged, OSError, OffloadFull) as error:
        raise CutFailed(str(error.args[0]) if isinstance(error, WalFailed) else str(error)) from error


def due(mint: int | None, maxt: int | None, *, range_ms: int) -> bool:
    """Whether samples from mint to maxt are enough for a block and what must stay in memory beside it."""
    return mint is not None and maxt is not None and maxt - mint > range_ms * 3 // 2


def range_end(t: int, range_ms: int) -> int:
    """End of the range that `t` is in; ranges begin at multiples of range_ms."""
    return t // range_ms * range_ms + range_ms


def _meta(ulid: str, mint: int, maxt: int, stats: CutStats, *, out_of_order: bool) -> BlockMeta:
    return BlockMeta(
        ulid=ulid,
        min_time=mint,
        max_time=maxt,
        stats=BlockStats(
            samples=stats.floats + stats.histograms,
            floats=stats.floats,
            histograms=stats.histograms,
            series=stats.series,
            chunks=stats.chunks,
        ),
        compaction=BlockCompaction(level=1, sources=(ulid,), hints=(HINT_OUT_OF_ORDER,) if out_of_order else ()),
    )
