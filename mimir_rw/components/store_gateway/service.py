"""The store-gateway as a running service: `rpc.contracts.store_gateway.StoreGateway`.

It is ready as soon as it knows which blocks are its own; their index-headers are made afterwards, and one that a
question needs is made for it. What is in the bucket is asked for block by block: one that cannot be read is left out of
the answer with its reason, and the querier asks another gateway for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mimir_rw._native import LabelFrame
from mimir_rw.bucket.index_reader import BucketIndexReader
from mimir_rw.components.store_gateway.block_names import block_labels, block_names, block_values
from mimir_rw.components.store_gateway.block_reader import BlockReader, ChunkDamaged
from mimir_rw.components.store_gateway.catalogue import Catalogue
from mimir_rw.components.store_gateway.gate import Gate
from mimir_rw.components.store_gateway.headers import Block, HeaderStore
from mimir_rw.components.store_gateway.place import RingPlace
from mimir_rw.components.store_gateway.select import BlocksSelect, SelectSettings
from mimir_rw.components.store_gateway.set_aside import SetAside
from mimir_rw.config.limits import Limits
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.service import Service, ServiceState
from mimir_rw.kit.tasks import together
from mimir_rw.model.errors import BadRequest, DataDamaged, MimirError, Unavailable
from mimir_rw.model.labels import Matcher
from mimir_rw.rpc.contracts.hand_over import BlocksAsked, BlocksServed
from mimir_rw.rpc.contracts.store_gateway import BlockEnd, BlockPart, FoundNames, FoundSeries, ServedBlocks
from mimir_rw.storage.fetch_limits import FetchLimits

RETRY_S = 5.0
IDLE_LOOK_S = 60.0
_CHANGE_LOOK_S = 2.0
"""Between a change of the ring and the look that it causes: members come and go together."""
MARKER = "prepare-shutdown"

T = TypeVar("T")


class StoreGatewayService(Service):
    def __init__(
        self,
        *,
        place: RingPlace,
        catalogue: Catalogue,
        indexes: BucketIndexReader,
        headers: HeaderStore,
        reader: BlockReader,
        aside: SetAside,
        gate: Gate,
        limits: Limits,
        settings: SelectSettings,
        directory: Path,
        sync_s: float,
        on_ring_change: Callable[[Callable[[], None]], Callable[[], None]],
        offload: Offload,
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
    ) -> None:
        """on_ring_change: has a function called whenever someone came or went; what it returns ends that."""
        super().__init__("store-gateway")
        self._place = place
        self._catalogue = catalogue
        self._indexes = indexes
        self._headers = headers
        self._reader = reader
        self._aside = aside
        self._gate = gate
        self._limits = limits
        self._settings = settings
        self._marker = directory / MARKER
        self._sync_s = sync_s
        self._on_ring_change = on_ring_change
        self._offload = offload
        self._clock = clock
        self._rng = rng
        self._active = False
        self._failing: str | None = None
        self._ring_changed = asyncio.Event()
        self._log = get_logger(component="store-gateway")
        self._asked = metrics.counters(
            "mimir_rw_store_gateway_blocks_asked_total", "Blocks that were asked for, by what came of it.", ("result",)
        )

    # -- life -------------------------------------------------------------------------------------------------------

    async def start_up(self) -> None:
        self.tasks.spawn(self._live_in_ring(), name="store-gateway-ring")
        self.tasks.spawn(self._close_idle(), name="store-gateway-idle")
        self._indexes.start(self.tasks)

    async def shut_down(self) -> None:
        await self._headers.shut_down()
        await self._reader.close()

    def readiness(self) -> str | None:
        if self._active:
            return None
        return self._failing or "finding out which blocks are its own"

    async def _live_in_ring(self) -> None:
        if await self._offload.run(self._marker.exists):
            self._place.lifecycler().unregister_on_shutdown = True
        await self._place.come(self._first_look)
        self._active = True
        unwatch = self._on_ring_change(self._ring_changed.set)
        try:
            while True:
                await self._catalogue.make_headers()
                await self._pause()
                await self._look()
        finally:
            unwatch()

    async def _first_look(self) -> None:
        while True:
            if await self._look():
                return
            await asyncio.sleep(RETRY_S * (0.5 + self._rng.random()))

    async def _look(self) -> bool:
        try:
            await self._catalogue.look()
        except MimirError as error:
            self._failing = f"the bucket cannot be read: {error}"
            self._log.warning("blocks cannot be looked for", err=str(error))
            return False
        self._failing = None
        return True

    async def _pause(self) -> None:
        """Until it is time, or the ring has changed."""
        self._ring_changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._sync_s * (0.9 + self._rng.random() / 5)):
                await self._ring_changed.wait()
                await asyncio.sleep(_CHANGE_LOOK_S)

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(IDLE_LOOK_S)
            self._headers.close_idle()

    # -- leaving ----------------------------------------------------------------------------------------------------

    async def prepare_shutdown(self, wanted: bool | None) -> bool:
        """Whether it leaves the ring at its next stop whatever the settings say; wanted: that it does, or not. It is
        remembered over a restart."""
        if wanted is not None:
            await self._offload.run(_mark, self._marker, wanted)
            lifecycler = self._place.lifecycler()
            lifecycler.unregister_on_shutdown = wanted or self._place.unregisters_by_default
        return await self._offload.run(self._marker.exists)

    @property
    def blocks(self) -> Catalogue:
        """What there is, as it was last looked at."""
        return self._catalogue

    def damaged(self, tenant: str) -> tuple[tuple[str, str], ...]:
        """Blocks that cannot be read, and why."""
        return self._aside.of(tenant)

    # -- questions --------------------------------------------------------------------------------------------------

    async def select(
        self, tenant: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> AsyncGenerator[BlockPart | BlockEnd, None]:
        """See `StoreReads`."""
        wanted, refused = self._readable(tenant, blocks)
        async with self._gate.inside():
            for end in refused:
                yield self._counted(end)
            select = BlocksSelect(
                reader=self._reader,
                offload=self._offload,
                settings=self._settings,
                limits=self._fetch_limits(tenant),
                refused=self._refused,
            )
            async with contextlib.aclosing(select.items(wanted, matchers, mint, maxt)) as items:
                async for item in items:
                    yield item if isinstance(item, BlockPart) else self._ended(tenant, item)

    async def series(
        self, tenant: str, blocks: Sequence[str], matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> FoundSeries:
        """See `StoreReads`."""
        limits = self._fetch_limits(tenant)
        frames, served = await self._each(
            tenant,
            blocks,
            lambda block: block_labels(
                self._reader,
                block,
                matcher_sets,
                mint,
                maxt,
                batch=self._settings.series_batch,
                limits=limits,
                offload=self._offload,
            ),
        )
        return FoundSeries(await self._offload.run(_union, frames), served)

    async def label_names(
        self, tenant: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> FoundNames:
        """See `StoreReads`."""
        found, served = await self._each(
            tenant,
            blocks,
            lambda block: block_names(
                self._reader, self._headers, block, matchers, mint, maxt, batch=self._settings.series_batch,
                offload=self._offload,
            ),
        )  # fmt: skip
        return FoundNames(sorted(set().union(*found)), served)

    async def label_values(
        self, tenant: str, name: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> FoundNames:
        """See `StoreReads`."""
        found, served = await self._each(
            tenant,
            blocks,
            lambda block: block_values(
                self._reader, self._headers, block, name, matchers, mint, maxt, batch=self._settings.series_batch,
                offload=self._offload,
            ),
        )  # fmt: skip
        return FoundNames(sorted(set().union(*found)), served)

    async def served(self, tenant: str, *, index_at_least_s: int = 0) -> ServedBlocks:
        """See `StoreGateway`."""
        found = await self._catalogue.look_at(tenant, at_least_s=index_at_least_s)
        aside = self._aside.of(tenant)
        damaged = {ulid for ulid, _ in aside if self._aside.reason((tenant, ulid)) is not None}
        blocks = tuple(block.ulid for block in found.owned if block.ulid not in damaged)
        return ServedBlocks(found.index.updated_at_s, blocks, aside)

    async def load_blocks(self, asked: Sequence[BlocksAsked]) -> Sequence[BlocksServed]:
        """See `rpc.contracts.hand_over.BlockLoader`. Nothing is ever pending: a block of the index is served from the
        moment on that it is known."""
        return [await self._load_blocks(each) for each in asked]

    async def _load_blocks(self, asked: BlocksAsked) -> BlocksServed:
        tenant = asked.range_.tenant
        found = await self._catalogue.look_at(tenant, at_least_s=asked.range_.index_version)
        listed = {block.ulid for block in found.index.blocks}
        marked = {mark.ulid for mark in found.index.deletion_marks}
        readable = [
            ulid
            for ulid in asked.blocks
            if ulid in listed and ulid not in marked and self._aside.reason((tenant, ulid)) is None
        ]
        gone = [ulid for ulid in asked.blocks if ulid not in listed or ulid in marked]
        return BlocksServed(tenant, found.index.updated_at_s, served=tuple(readable), gone=tuple(gone))

    # -- blocks -----------------------------------------------------------------------------------------------------

    async def _each(
        self, tenant: str, blocks: Sequence[str], ask: Callable[[Block], Awaitable[T]]
    ) -> tuple[list[T], tuple[str, ...]]:
        """What each block answers, and which have."""
        wanted, refused = self._readable(tenant, blocks)
        for end in refused:
            self._counted(end)
        found: list[T] = []
        served: list[str] = []
        queue = list(reversed(wanted))

        async def work() -> None:
            while queue:
                block = queue.pop()
                try:
                    found.append(await ask(block))
                    served.append(self._ended(tenant, BlockEnd(block[1], served=True)).block)
                except MimirError as error:
                    self._counted(await self._refused(block, error))

        async with self._gate.inside():
            await together(work() for _ in range(min(self._settings.blocks_at_once, len(wanted))))
        return found, tuple(served)

    def _readable(self, tenant: str, blocks: Sequence[str]) -> tuple[list[Block], list[BlockEnd]]:
        """What is to be read, and the ends of the others. Raises Unavailable before it runs."""
        if self.state is not ServiceState.RUNNING:
            raise Unavailable("the store-gateway is not running")
        wanted: list[Block] = []
        refused: list[BlockEnd] = []
        for ulid in blocks:
            if not is_ulid(ulid):
                raise BadRequest(f"{ulid[:100]!r} is no block")
            reason = self._aside.reason((tenant, ulid))
            if reason is None:
                wanted.append((tenant, ulid))
            else:
                refused.append(BlockEnd(ulid, served=False, reason=reason))
        return wanted, refused

    async def _refused(self, block: Block, error: MimirError) -> BlockEnd:
        """What becomes of a block that could not be read. Raises what ends the whole question."""
        if error.client_fault:
            raise error
        if isinstance(error, DataDamaged):
            self._aside.add(block, str(error), whole=not isinstance(error, ChunkDamaged))
        return BlockEnd(block[1], served=False, reason=str(error))

    def _ended(self, tenant: str, end: BlockEnd) -> BlockEnd:
        if end.served:
            self._aside.well((tenant, end.block))
        return self._counted(end)

    def _counted(self, end: BlockEnd) -> BlockEnd:
        self._asked.labels("served" if end.served else "refused").inc()
        return end

    def _fetch_limits(self, tenant: str) -> FetchLimits:
        limits = self._limits.for_tenant(tenant)
        return FetchLimits(
            series_max=limits.max_fetched_series_per_query,
            chunk_bytes_max=limits.max_fetched_chunk_bytes_per_query,
            memory_bytes_max=limits.max_estimated_memory_consumption_per_query,
        )


def _union(frames: Sequence[LabelFrame]) -> LabelFrame:
    filled = [frame for frame in frames if len(frame)]
    if len(filled) == 1:
        return filled[0]
    return LabelFrame.union_sorted(filled) if filled else LabelFrame.empty_rows(0)


def _mark(marker: Path, wanted: bool) -> None:
    if wanted:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    else:
        marker.unlink(missing_ok=True)
