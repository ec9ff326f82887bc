"""The compactor as a running service: two loops, one that compacts and one that cleans up, and what others ask of it.

Ready does not wait for either: nobody needs a compactor at once. When it stops, jobs under way are cut off where they
are; another compactor, or this one when it is back, does them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mimir_rw.components.compactor.cleaning import Cleaning
from mimir_rw.components.compactor.compaction import Compaction
from mimir_rw.components.compactor.ownership import Ownership
from mimir_rw.components.compactor.planner import Plan
from mimir_rw.components.compactor.progress import Progress, TenantProgress
from mimir_rw.components.compactor.runner import JobRunner
from mimir_rw.components.compactor.uploads import BlockUploads
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.service import Service
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.service import RingService
from mimir_rw.ring.stability import wait_stable
from mimir_rw.rpc.contracts.hand_over import WrittenIndex

_JITTER = 0.05


@dataclass(frozen=True, slots=True)
class CompactorSettings:
    compaction_interval_s: float
    cleanup_interval_s: float
    ring_stable_s: float
    """How long the ring must rest before work is looked for, and the longest wait for that."""
    ring_stable_s_max: float


class Compactor(Service):
    """Serves `rpc.contracts.hand_over.IndexWriter`."""

    def __init__(
        self,
        *,
        ring: RingService,
        ownership: Ownership,
        compaction: Compaction,
        cleaning: Cleaning,
        runner: JobRunner,
        uploads: Callable[[Compactor], BlockUploads],
        progress: Progress,
        settings: CompactorSettings,
        rng: Rng,
    ) -> None:
        """uploads: made with this service, whose tasks validate blocks."""
        super().__init__("compactor")
        self._ring = ring
        self._ownership = ownership
        self._compaction = compaction
        self._cleaning = cleaning
        self._runner = runner
        self._settings = settings
        self._rng = rng
        self._log: Logger = get_logger(component="compactor")
        self._progress = progress
        self.uploads = uploads(self)

    async def start_up(self) -> None:
        await self._runner.clear()
        self.tasks.spawn(self._work(), name="compactor", traced=False)

    async def _work(self) -> None:
        settings = self._settings
        if not await wait_stable(self._ring, min_s=settings.ring_stable_s, max_s=settings.ring_stable_s_max):
            self._log.warning("the ring of compactors keeps changing; looking for work all the same")
        await self._until_in_ring()
        self.tasks.spawn(self._clean_up(), name="compactor-cleanup", traced=False)
        while True:
            await self._compaction.run()
            await self._pause(settings.compaction_interval_s)

    async def _until_in_ring(self) -> None:
        seen = asyncio.Event()
        end = self._ring.watch(lambda _: seen.set())
        try:
            while not self._ownership.in_ring():
                seen.clear()
                await seen.wait()
        finally:
            end()

    async def _clean_up(self) -> None:
        while True:
            await self._cleaning.run()
            await self._pause(self._settings.cleanup_interval_s)

    async def _pause(self, seconds: float) -> None:
        """Not quite so long for all, so that not all do it at once for ever."""
        await asyncio.sleep(seconds * (1 - _JITTER + 2 * _JITTER * self._rng.random()))

    def tenant_progress(self, tenant: str) -> TenantProgress:
        """What this compactor knows of a tenant."""
        return self._progress.tenants.get(tenant) or TenantProgress()

    # -- what others ask ------------------------------------------------------------------------------------------

    async def rewrite_index(self, tenant: str, blocks: Sequence[str]) -> WrittenIndex:
        """See `rpc.contracts.hand_over.IndexWriter`."""
        if not self._ownership.owns_tenant(tenant):
            raise Unavailable(f"tenant {tenant} belongs to another compactor")
        return await self._cleaning.rewrite_index(tenant, blocks)

    async def planned(self, tenant: str) -> Plan:
        """What would be done for the tenant now, by all compactors together."""
        return await self._compaction.look(tenant)

    async def tenants(self) -> list[str]:
        """All that are in the bucket."""
        return await self._compaction.tenants()

    async def delete_tenant(self, tenant: str) -> None:
        """Mark the tenant for deletion; who cleans up after it does the rest."""
        await self._cleaning.mark_tenant_deleted(tenant)

    async def tenant_is_empty(self, tenant: str) -> bool:
        """Whether no block of it is left."""
        return await self._cleaning.is_empty(tenant)
