"""One tenant's head: opening with replay, appends through its lane, queries beside them.

    new ──open()──► replaying ──► open ──close()──► closed
                        └── fails ──► failed

Pushes may queue while the head is replaying. The native head is opened, appended to and closed by the lane's task and
by nobody else; queries run on any thread. State here is changed on the event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import AppendResult, DataDamaged, Head, HeadStats, ReplayReport, WalFailed, WriteBatch
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import Unavailable
from mimir_rw.tsdb.lane import Lane
from mimir_rw.tsdb.local_blocks import LocalBlocks

_CLOSED = "the ingester is shutting down"
REPLAY_STEP_BYTES = 4 << 20
"""Log bytes between two reports of progress."""

U32Column = NDArray[np.uint32]
Extent = tuple[int, int | None, int | None]
"""Series, oldest and newest sample in ms (None when empty)."""
CutExtent = tuple[int | None, int | None, int | None, int | None]
"""Oldest sample in order, oldest out of order, newest of all, and before which time nothing is accepted in order."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """fsync: segment, interval or always."""

    segment_bytes: int = 128 << 20
    fsync: str = "segment"
    compress: bool = False
    ooo_chunk_samples: int = 32
    range_ms: int = 2 * 3600 * 1000
    """Length of the ranges that blocks are cut at."""


@dataclass(frozen=True, slots=True)
class AppendLimits:
    """0: no limit; ooo_window_ms 0: no out-of-order samples; exemplars_max 0: no exemplars."""

    series_max: int = 0
    series_per_metric_max: int = 0
    ooo_window_ms: int = 0
    exemplars_max: int = 0


class TenantHead:
    def __init__(
        self,
        *,
        tenant: str,
        directory: Path,
        options: HeadOptions,
        hash_key: bytes,
        offload: Offload,
        limits: Callable[[], AppendLimits],
        blocks: LocalBlocks | None = None,
        on_progress: Callable[[TenantHead], None] = lambda head: None,
        on_append: Callable[[TenantHead, WalFailed | None], None] = lambda head, failure: None,
    ) -> None:
        """directory: the tenant's own. hash_key: 32 bytes, what batches are hashed with. limits: asked before each
        group. blocks: loaded by `open`, which replays what they lack; None: there are none. on_append: told of each
        group, and why it could not be logged."""
        self.tenant = tenant
        self.lane = Lane(append=self._append)
        self.replayed_bytes = 0
        self.replay_bytes = 0
        self.failure: str | None = None
        self.synced = True
        """Whether nothing was appended since the last `sync`."""
        self._directory = directory
        self._options = options
        self._hash_key = hash_key
        self._offload = offload
        self._limits = limits
        self._on_progress = on_progress
        self._on_append = on_append
        self._native: Head | None = None
        self._extent: Extent = (0, None, None)
        self._cut_extent: CutExtent = (None, None, None, None)
        self._blocks = blocks
        self.owned = 0
        """Series that count against limits, as of the last change."""

    @property
    def is_open(self) -> bool:
        return self._native is not None

    @property
    def native(self) -> Head:
        """For queries. Raises Unavailable while the head is not open."""
        if self._native is None:
            raise Unavailable(self.failure or f"the WAL of tenant {self.tenant} is being replayed")
        return self._native

    async def open(self) -> ReplayReport:
        """Replay the logs. On failure `failure` says why, pushes and queries get Unavailable, and Unavailable is
        raised."""
        try:
            if self._blocks is not None:
                await self._offload.run(self._blocks.load)
            native = await self._offload.run(self._make, self._limits().exemplars_max)
            while True:
                done, total = await self._offload.run(native.replay_step, REPLAY_STEP_BYTES)
                self.replayed_bytes, self.replay_bytes = done, total
                if done == total:
                    break
                self._on_progress(self)
        except OSError as error:
            self.failure = f"the blocks of tenant {self.tenant} cannot be opened: {error}"
            self.lane.fail(self.failure)
            raise Unavailable(self.failure) from error
        except (WalFailed, DataDamaged) as error:
            self.failure = f"the WAL of tenant {self.tenant} cannot be replayed: {error.args[0]}"
            self.lane.fail(self.failure)
            raise Unavailable(self.failure) from error
        self._extent, self.owned = native.extent(), native.owned()
        self._cut_extent = native.upkeep().cut_extent()
        self._native = native
        return native.replay_report()

    async def sync(self, *, current: bool) -> None:
        """Force full segments to disk, and the current ones too. Raises WalFailed."""
        native = self.native
        self.synced = True
        await self._offload.run(lambda: native.sync(current=current))

    def rekey(self, key: bytes) -> asyncio.Future[None]:
        """Hash with another key from the next turn in the lane on; before that, batches hashed with either are
        understood but for their references. Raises Unavailable or WalFailed."""
        self._hash_key = key

        async def change() -> None:
            await self._offload.run(self.native.rekey, key)

        return self.lane.change(change)

    def own(self, ranges: U32Column | None) -> asyncio.Future[None]:
        """Count the series of these ring tokens against limits, in turn; None: all. See `Head.set_owned_ranges`."""

        async def change() -> None:
            self.owned = await self._offload.run(self.native.set_owned_ranges, ranges)

        return self.lane.change(change)

    async def turn(self, step: Callable[[], T]) -> T:
        """Run something that changes the native head, in turn. Raises Unavailable when the head is closed, and what
        `step` does."""
        results: list[T] = []

        async def change() -> None:
            results.append(await self._offload.run(step))

        await self.lane.change(change)
        return results[0]

    async def refresh(self) -> None:
        """Ask the head anew what is published of it."""
        native = self.native

        def ask() -> tuple[Extent, CutExtent, int]:
            return native.extent(), native.upkeep().cut_extent(), native.owned()

        self._extent, self._cut_extent, self.owned = await self.turn(ask)

    async def close(self) -> None:
        """Append what waits, sync, and refuse everything from now on. Raises WalFailed when the sync fails."""
        if self._native is None:
            self.lane.fail(_CLOSED)
            return
        self.lane.close(_CLOSED)
        await self.lane.drained()
        await self._offload.run(self._native.close)

    def stats(self) -> HeadStats | None:
        """None while the head is not open. Call it in a thread: it waits for an append that is under way."""
        return None if self._native is None else self._native.stats()

    @property
    def extent(self) -> Extent:
        """As of the last group. The native head is not asked here: it may be busy, and this runs on the event loop."""
        return self._extent

    @property
    def cut_extent(self) -> CutExtent:
        """As of the last group or `refresh`."""
        return self._cut_extent

    def _make(self, exemplars_max: int) -> Head:
        options = self._options
        return Head(
            str(self._directory),
            tenant=self.tenant,
            hash_key=self._hash_key,
            segment_bytes=options.segment_bytes,
            fsync=options.fsync,
            compress=options.compress,
            ooo_chunk_samples=options.ooo_chunk_samples,
            exemplars_max=exemplars_max,
            range_ms=options.range_ms,
            floor=None if self._blocks is None else self._blocks.floor,
        )

    async def _append(self, batches: Sequence[WriteBatch]) -> list[AppendResult]:
        native, limits = self.native, self._limits()
        upkeep = native.upkeep()

        def group() -> tuple[list[AppendResult], Extent, CutExtent, int]:
            results = native.append(
                batches,
                series_max=limits.series_max,
                series_per_metric_max=limits.series_per_metric_max,
                ooo_window_ms=limits.ooo_window_ms,
                exemplars_max=limits.exemplars_max,
            )
            return results, native.extent(), upkeep.cut_extent(), native.owned()

        try:
            results, self._extent, self._cut_extent, self.owned = await self._offload.run(group)
        except WalFailed as error:
            self._on_append(self, error)
            text = error.args[0]
            raise Unavailable(f"the WAL of tenant {self.tenant} cannot be written: {text}") from error
        self.synced = False
        self._on_append(self, None)
        return results
