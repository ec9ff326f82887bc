"""Cleaning up after the tenants that this compactor owns (`bucket.cleaner` does it), by timer and when asked.

One run of a tenant at a time: a timer's run and a question about its index wait for one another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from mimir_rw.bucket.blocks import fetch_meta
from mimir_rw.bucket.cleaner import Cleaner, TenantPolicy
from mimir_rw.bucket.cleaner_metrics import CleanerMetrics
from mimir_rw.bucket.index_updater import read_index_or_rebuild
from mimir_rw.bucket.layout import bucket_index_key
from mimir_rw.bucket.parallel import in_parallel
from mimir_rw.bucket.tenants import list_tenants, mark_tenant_deleted
from mimir_rw.config.limits import Limits
from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.formats.ulid import is_ulid, ulid_time_ms
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.model.errors import MimirError, NotFound, Unavailable
from mimir_rw.objstore.contract import Bucket, ObjectNotFound
from mimir_rw.rpc.contracts.hand_over import WrittenIndex

PARTIAL_DELAY_MS_MIN = 4 * 3600 * 1000
"""A shorter one is taken for none, as in Mimir: whoever uploads a block may be slow."""
SKEW_S_MAX = 60.0
"""How far apart the clocks of those that write to the bucket may be."""


class Cleaning:
    def __init__(
        self,
        *,
        bucket: Bucket,
        cleaner: Cleaner,
        cleaner_metrics: CleanerMetrics,
        owns_tenant: Callable[[str], bool],
        limits: Limits,
        concurrency: int,
        remove_empty_index: bool,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """remove_empty_index: delete the index of a tenant without blocks."""
        self._bucket = bucket
        self._cleaner = cleaner
        self._cleaner_metrics = cleaner_metrics
        self._owns_tenant = owns_tenant
        self._limits = limits
        self._concurrency = concurrency
        self._remove_empty_index = remove_empty_index
        self._clock = clock
        self._locks: dict[str, asyncio.Lock] = {}
        self._mine: set[str] = set()
        self._log: Logger = get_logger(component="compactor")
        self._started = metrics.counter(
            "cortex_compactor_block_cleanup_started_total", "Cleanups of all tenants that began."
        )
        self._completed = metrics.counter(
            "cortex_compactor_block_cleanup_completed_total", "Cleanups in which no tenant failed."
        )
        self._failed = metrics.counter(
            "cortex_compactor_block_cleanup_failed_total", "Cleanups in which a tenant failed."
        )
        self._last = metrics.gauge(
            "cortex_compactor_block_cleanup_last_successful_run_timestamp_seconds",
            "When the last cleanup in which no tenant failed ended.",
        )

    async def run(self) -> None:
        """Clean up after all tenants that are this compactor's. Errors end with the tenant that they are about."""
        self._started.inc()
        try:
            tenants = await list_tenants(self._bucket)
        except MimirError as error:
            self._failed.inc()
            self._log.error("the tenants cannot be listed", err=str(error))
            return
        mine = [tenant for tenant in tenants if self._owns_tenant(tenant)]
        for tenant in self._mine - set(mine):
            self._cleaner_metrics.forget(tenant)
            self._locks.pop(tenant, None)
        self._mine = set(mine)
        cleaned = await in_parallel(mine, self._one, at_a_time=self._concurrency)
        if all(cleaned):
            self._completed.inc()
            self._last.set(self._clock.now_ms() / 1000)
        else:
            self._failed.inc()

    async def rewrite_index(self, tenant: str, blocks: Sequence[str]) -> WrittenIndex:
        """Write the index from what is in the bucket from now on; its version is above that of the one before."""
        async with self._lock(tenant):
            old = await read_index_or_rebuild(self._bucket, tenant)
            await self._until_after(old)
            index = await self._clean(tenant)
        if index is None:
            raise NotFound(f"tenant {tenant} is being deleted")
        return WrittenIndex(index.updated_at_s, await self._missing(tenant, blocks, index))

    async def _missing(self, tenant: str, blocks: Sequence[str], index: BucketIndex) -> tuple[str, ...]:
        """Those whose samples the index does not stand for. A block may be gone because it was compacted and deleted
        since, or by the retention: an ingester keeps its blocks for as long as the bucket keeps marked ones."""
        there = {block.ulid for block in index.blocks}
        retention_s = policy(self._limits, tenant).retention_s
        since_ms = self._clock.now_ms() - retention_s * 1000 if retention_s else 0
        # A block has nothing newer than its name.
        missing = {ulid for ulid in blocks if ulid not in there and ulid_time_ms(ulid) >= since_ms}
        if missing:
            missing -= await self._sources(tenant, index, min(map(ulid_time_ms, missing)))
        return tuple(ulid for ulid in blocks if ulid in missing)

    async def _sources(self, tenant: str, index: BucketIndex, since_ms: int) -> set[str]:
        """What the blocks that were compacted since then, and stay, were made of."""
        marked = {mark.ulid for mark in index.deletion_marks}
        found: set[str] = set()

        async def read(ulid: str) -> None:
            with contextlib.suppress(ObjectNotFound):  # compacted once more just now: it comes with the next index
                found.update((await fetch_meta(self._bucket, tenant, ulid)).compaction.sources)

        since_s = since_ms // 1000 - SKEW_S_MAX
        compacted = (b for b in index.blocks if b.level > 1 and b.ulid not in marked and b.uploaded_at_s >= since_s)
        await in_parallel([block.ulid for block in compacted], read)
        return found

    async def mark_tenant_deleted(self, tenant: str) -> None:
        await mark_tenant_deleted(self._bucket, tenant, now_ms=self._clock.now_ms())

    async def is_empty(self, tenant: str) -> bool:
        """Whether the tenant has no block left."""
        return not any(is_ulid(name) for name in await self._bucket.list_dirs(f"{tenant}/"))

    def _lock(self, tenant: str) -> asyncio.Lock:
        return self._locks.setdefault(tenant, asyncio.Lock())

    async def _one(self, tenant: str) -> bool:
        try:
            async with self._lock(tenant):
                await self._clean(tenant)
        except MimirError as error:
            self._log.error("tenant not cleaned up after", tenant=tenant, err=str(error))
            return False
        return True

    async def _clean(self, tenant: str) -> BucketIndex | None:
        index = await self._cleaner.clean(tenant, policy(self._limits, tenant))
        if self._remove_empty_index and index is not None and not index.blocks and not index.deletion_marks:
            await self._bucket.delete(bucket_index_key(tenant))
        return index

    async def _until_after(self, old: BucketIndex | None) -> None:
        """Versions are seconds: wait for the next one. Raises Unavailable if that is far off."""
        if old is None:
            return
        wait_s = old.updated_at_s + 1 - self._clock.now_ms() / 1000
        if wait_s > SKEW_S_MAX:
            raise Unavailable(f"the last bucket index is {wait_s:.0f} s ahead of this process's clock")
        if wait_s > 0:
            await asyncio.sleep(wait_s)


def policy(limits: Limits, tenant: str) -> TenantPolicy:
    """What holds for a tenant's blocks."""
    mine = limits.for_tenant(tenant)
    partial_ms = mine.compactor_partial_block_deletion_delay
    return TenantPolicy(
        retention_s=mine.compactor_blocks_retention_period // 1000,
        partial_delay_s=partial_ms // 1000 if partial_ms >= PARTIAL_DELAY_MS_MIN else 0,
    )
