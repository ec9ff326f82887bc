"""Which blocks there are at hand, tenant by tenant, and the look for them that is taken again and again.

    tenants (directories of the bucket) ──► bucket index ──► owned blocks ──► headers made where they are missing
                                                                        └──► headers of others' blocks removed

A look never waits for headers: those are made afterwards, so many at a time. On the event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mimir_rw.bucket.tenants import list_tenants
from mimir_rw.components.store_gateway.headers import Block, HeaderStore
from mimir_rw.components.store_gateway.ownership import at_hand, marked_before, others_serve, owned
from mimir_rw.components.store_gateway.set_aside import SetAside
from mimir_rw.config.limits import Limits
from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.tasks import together
from mimir_rw.model.errors import DataDamaged, MimirError
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.objstore.contract import Bucket, ObjectNotFound
from mimir_rw.ring.view import RingView


class Indexes(Protocol):
    """What `bucket.index_reader.BucketIndexReader` is here."""

    async def at_least(self, tenant: str, version: int) -> BucketIndex:
        """updated_at_s 0: the tenant has none."""
        ...


@dataclass(frozen=True, slots=True)
class CatalogueSettings:
    instance_id: str
    tenants_at_once: int
    headers_at_once: int
    ignore_within_ms: int
    ignore_marks_after_ms: int


@dataclass(frozen=True, slots=True)
class TenantBlocks:
    """What is at hand of one tenant. index: the one it was worked out with."""

    index: BucketIndex
    owned: tuple[IndexedBlock, ...]


NOTHING = TenantBlocks(BucketIndex(), ())


class Catalogue:
    def __init__(
        self,
        *,
        settings: CatalogueSettings,
        bucket: Bucket,
        indexes: Indexes,
        headers: HeaderStore,
        aside: SetAside,
        view: Callable[[], RingView],
        handed_over: Callable[[str], Sequence[StoredRange]],
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """handed_over: ranges of a tenant whose blocks are at hand however young they are."""
        self._settings = settings
        self._bucket = bucket
        self._indexes = indexes
        self._headers = headers
        self._aside = aside
        self._view = view
        self._handed_over = handed_over
        self._limits = limits
        self._clock = clock
        self._tenants: dict[str, TenantBlocks] = {}
        self._log = get_logger(component="store-gateway")
        self._syncs = metrics.counters(
            "cortex_bucket_stores_blocks_sync_total", "Looks for blocks, by how they ended.", ("result",)
        )
        self._last = metrics.gauge(
            "cortex_bucket_stores_blocks_last_successful_sync_timestamp_seconds",
            "Unix time of the last look for blocks that succeeded.",
        )
        metrics.gauges_read(
            "cortex_bucket_stores_tenants_synced",
            "Tenants that this store-gateway has blocks of.",
            (),
            lambda: [((), float(len(self._tenants)))],
        )
        metrics.gauges_read(
            "mimir_rw_store_gateway_blocks_owned",
            "Blocks that are this store-gateway's own.",
            (),
            lambda: [((), float(sum(len(each.owned) for each in list(self._tenants.values()))))],
        )

    def tenants(self) -> list[str]:
        """Those that it has blocks of."""
        return sorted(self._tenants)

    def of(self, tenant: str) -> TenantBlocks:
        return self._tenants.get(tenant, NOTHING)

    async def look(self) -> None:
        """Find out what is at hand, of all tenants. Raises what the bucket raises; a tenant whose index cannot be read
        keeps what it had."""
        try:
            names = await list_tenants(self._bucket)
            room = asyncio.Semaphore(self._settings.tenants_at_once)
            await together(self._look_in_turn(name, room) for name in names)
        except MimirError:
            self._syncs.labels("failed").inc()
            raise
        for name in set(self._tenants) - set(names):
            del self._tenants[name]
        self._syncs.labels("succeeded").inc()
        self._last.set(self._clock.now_ms() / 1000)

    async def look_at(self, tenant: str, *, at_least_s: int = 0) -> TenantBlocks:
        """The same of one tenant, with an index that was made at that Unix time or later, if there is one."""
        index = await self._indexes.at_least(tenant, at_least_s)
        found = TenantBlocks(index, tuple(self._owned(tenant, index)))
        if found.owned:
            self._tenants[tenant] = found
        else:
            self._tenants.pop(tenant, None)
        return found

    async def make_headers(self) -> None:
        """Make what is missing, newest blocks first, and remove what is not wanted any more."""
        missing = [(tenant, block.ulid) for tenant in self.tenants() for block in reversed(self.of(tenant).owned)]
        queue = list(reversed(missing))

        async def work() -> None:
            while queue:
                await self._make(queue.pop())

        await together(work() for _ in range(min(self._settings.headers_at_once, len(queue))))
        try:
            await self._remove(frozenset(missing))
        except (MimirError, OSError) as error:
            self._log.warning("index-headers cannot be looked through", err=str(error))

    async def _look_in_turn(self, tenant: str, room: asyncio.Semaphore) -> None:
        async with room:
            try:
                await self.look_at(tenant)
            except DataDamaged as error:
                self._log.error("a bucket index is damaged", tenant=tenant, err=str(error))

    def _owned(self, tenant: str, index: BucketIndex) -> list[IndexedBlock]:
        settings, now_ms = self._settings, self._clock.now_ms()
        blocks = at_hand(
            index,
            now_ms=now_ms,
            ignore_within_ms=settings.ignore_within_ms,
            ignore_marks_after_ms=settings.ignore_marks_after_ms,
        )
        if ranges := self._handed_over(tenant):
            known, dead = {block.ulid for block in blocks}, marked_before(index, now_ms)
            blocks += [
                block
                for block in index.blocks
                if block.ulid not in known | dead and any(block.within(each.mint, each.maxt) for each in ranges)
            ]
        return owned(blocks, self._shard(tenant), settings.instance_id, now_s=now_ms // 1000)

    def _shard(self, tenant: str) -> RingView:
        return self._view().shuffle_shard(tenant, self._limits.for_tenant(tenant).store_gateway_tenant_shard_size)

    async def _make(self, block: Block) -> None:
        if self._aside.reason(block) is not None:
            return
        try:
            await self._headers.ensure(block)
        except DataDamaged as error:
            self._aside.add(block, str(error), whole=True)
        except ObjectNotFound:
            return  # the index that names it is older than its end
        except (MimirError, OSError) as error:
            self._log.warning("an index-header cannot be made yet", tenant=block[0], block=block[1], err=str(error))

    async def _remove(self, wanted: frozenset[Block]) -> None:
        """A block that others are to serve now is kept until they can."""
        now_s = self._clock.now_ms() // 1000
        for block in await self._headers.on_disk():
            if block in wanted or not is_ulid(block[1]):
                continue
            index = self.of(block[0]).index
            listed = any(each.ulid == block[1] for each in index.blocks)
            if listed and not others_serve(block[1], self._shard(block[0]), now_s=now_s):
                continue
            if not self._headers.in_use(block):
                await self._headers.remove(block)
                self._aside.forget(block)
