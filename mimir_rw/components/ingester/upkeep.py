"""What an ingester does to its tenants by timer: cut heads into blocks, upload them, forget them, close who is idle.

Tenants take their turn one after another (`head_compaction_concurrency`), at times that differ between ingesters. What
is due is decided by plain functions here; how a cut goes is tsdb/cutter.py's, the order of an upload bucket/'s.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from mimir_rw.components.ingester.tenant import Tenant
from mimir_rw.components.ingester.upkeep_metrics import UpkeepMetrics
from mimir_rw.config.tsdb import TsdbConfig
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.kit.rng import Rng
from mimir_rw.model.errors import MimirError
from mimir_rw.tsdb.cutter import CutFailed, CutReport

JITTER = 0.2
"""Part of the interval by which two looks may be more or less apart."""
IDLE_JITTER = 0.25
EARLY_CUT_AGE_MS = 20 * 60_000
"""An early cut leaves samples younger than this in the head; series whose newest one is older have ended."""


class Reason(enum.Enum):
    REGULAR = "regular"
    IDLE = "idle"
    EARLY = "early"
    FORCED = "forced"


@dataclass(frozen=True, slots=True)
class Idleness:
    """idle_s: since the last append."""

    idle_s: float
    empty: bool
    """The head has no sample."""


def reason_to_cut(due: bool, idleness: Idleness, *, idle_timeout_s: float, jitter: float) -> Reason | None:
    """jitter: 0 to 1, the tenant's own; how much of IDLE_JITTER it waits longer. idle_timeout_s 0: never for that."""
    if due:
        return Reason.REGULAR
    if idle_timeout_s and not idleness.empty and idleness.idle_s > idle_timeout_s * (1 + IDLE_JITTER * jitter):
        return Reason.IDLE
    return None


def blocks_to_forget(tenant: Tenant, shipped: Mapping[str, int], now_ms: int, retention_ms: int) -> list[str]:
    """Local blocks that were uploaded so long ago that nobody asks here for them. The newest in order stays: by its end
    a replay knows what blocks have."""
    keep = tenant.blocks.floor
    old = (b for b in tenant.blocks.blocks if now_ms - shipped.get(b.ulid, now_ms) >= retention_ms > 0)
    return [b.ulid for b in old if b.meta.compaction.hints or b.meta.max_time != keep]


class Upkeep:
    def __init__(
        self,
        *,
        tenants: Mapping[str, Tenant],
        config: TsdbConfig,
        offload: Offload,
        clock: Clock,
        rng: Rng,
        metrics: UpkeepMetrics,
        close: Callable[[str], Awaitable[None]],
    ) -> None:
        """tenants: those of the ingester, by name, as of now. offload: for long work. close: closes an idle tenant and
        removes what it has here."""
        self._tenants = tenants
        self._config = config
        self._offload = offload
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._close = close
        self._log = get_logger(component="ingester")

    async def run_cuts(self) -> None:
        interval_s = self._config.head_compaction_interval / 1000
        while True:
            await asyncio.sleep(interval_s * (1 + JITTER * (2 * self._rng.random() - 1)))
            await self.cut_due()
            await self.close_idle()

    async def run_uploads(self) -> None:
        if not self._config.ship_interval:
            return
        while True:
            await asyncio.sleep(self._config.ship_interval / 1000)
            await self.ship()

    async def cut_due(self) -> None:
        """Cut the heads that are due, each failure for itself."""
        early = self._is_crowded()
        await self._each(self._cut_if_due, self._config.head_compaction_concurrency, extra=early)

    async def ship(self, names: Collection[str] | None = None) -> bool:
        """Upload what is not uploaded, then forget what is old; whether all went well."""
        return await self._each(self._ship, self._config.ship_concurrency, names)

    async def flush(self, names: Collection[str] | None = None) -> bool:
        """Cut everything that the tenants have and upload it; whether all went well."""
        cut = await self._each(self._flush, self._config.head_compaction_concurrency, names)
        return await self.ship(names) and cut

    async def close_idle(self) -> None:
        timeout_s = self._config.close_idle_tsdb_timeout / 1000
        if not timeout_s:
            return
        for name, tenant in list(self._tenants.items()):
            verdict = self._why_open(tenant, timeout_s)
            self._metrics.idle_checks.labels(verdict).inc()
            if verdict == "idle":
                await self._close(name)

    def _why_open(self, tenant: Tenant, timeout_s: float) -> str:
        if not tenant.head.is_open or tenant.shipper is None:
            return "not_active"
        if self._idleness(tenant).idle_s <= timeout_s:
            return "not_idle"
        if tenant.head.extent[0]:
            return "not_compacted"
        return "not_shipped" if tenant.unshipped else "idle"

    def quarantined(self, name: str, ulid: str, reason: str) -> None:
        """A block turned out damaged and is not read any more."""
        self._metrics.quarantined.inc()
        self._log.error("local block is damaged and set aside", user=name, block=ulid, err=reason)

    async def _each(
        self,
        work: Callable[..., Awaitable[bool]],
        concurrency: int,
        names: Collection[str] | None = None,
        **extra: bool,
    ) -> bool:
        room = asyncio.Semaphore(concurrency)

        async def one(name: str, tenant: Tenant) -> bool:
            async with room:
                return await work(name, tenant, *extra.values())

        wanted = [(n, t) for n, t in sorted(self._tenants.items()) if names is None or n in names]
        async with asyncio.TaskGroup() as group:
            done = [group.create_task(one(name, tenant)) for name, tenant in wanted if tenant.head.is_open]
        return all(task.result() for task in done)

    async def _cut_if_due(self, name: str, tenant: Tenant, early: bool) -> bool:
        timeout_s = self._config.head_compaction_idle_timeout / 1000
        idleness, jitter = self._idleness(tenant), tenant.idle_jitter
        reason = reason_to_cut(tenant.cutter.is_due, idleness, idle_timeout_s=timeout_s, jitter=jitter)
        if reason is Reason.REGULAR:
            return await self._cut(name, reason, tenant.cutter.compact)
        if reason is Reason.IDLE:
            return await self._cut(name, reason, tenant.cutter.flush)
        if early and (before := await self._worth_an_early_cut(tenant)) is not None:
            return await self._cut(name, Reason.EARLY, lambda: tenant.cutter.flush(before))
        return True

    async def _flush(self, name: str, tenant: Tenant) -> bool:
        return await self._cut(name, Reason.FORCED, tenant.cutter.flush)

    async def _cut(self, name: str, reason: Reason, cut: Callable[[], Awaitable[CutReport]]) -> bool:
        self._metrics.triggered.inc()
        began_s = self._clock.monotonic()
        try:
            report = await cut()
        except (CutFailed, MimirError) as error:
            self._metrics.failed.inc()
            self._log.error("head not cut", user=name, reason=reason.value, err=str(error))
            return False
        took_s = self._clock.monotonic() - began_s
        self._metrics.cut(name, report, took_s)
        for meta in report.blocks:
            self._log.info(
                "block cut",
                user=name,
                reason=reason.value,
                block=meta.ulid,
                mint=meta.min_time,
                maxt=meta.max_time,
                series=meta.stats.series,
                samples=meta.stats.samples,
                out_of_order=meta.out_of_order,
                seconds=round(took_s, 3),
            )
        return True

    def _is_crowded(self) -> bool:
        low = self._config.early_head_compaction_min_in_memory_series
        return bool(low) and sum(t.head.extent[0] for t in self._tenants.values()) >= low

    async def _worth_an_early_cut(self, tenant: Tenant) -> int | None:
        """Before which time to cut, if enough series have ended by then."""
        series, newest = tenant.head.extent[0], tenant.head.cut_extent[2]
        if not series or newest is None:
            return None
        before = min(self._clock.now_ms(), newest) - EARLY_CUT_AGE_MS
        ended = await self._offload.run(tenant.head.native.upkeep().ended_series, before)
        part = self._config.early_head_compaction_min_estimated_series_reduction_percentage
        return before if 100 * ended >= part * series and ended else None

    async def _ship(self, name: str, tenant: Tenant) -> bool:
        if tenant.shipper is None:
            return True
        async with tenant.shipping:
            self._metrics.syncs.inc()
            try:
                try:
                    await tenant.shipper.ship()
                finally:
                    await self._forget(name, tenant, await tenant.shipper.shipped())
            except (MimirError, OSError, OffloadFull) as error:
                self._metrics.sync_failures.inc()
                self._log.warning("blocks not uploaded", user=name, err=str(error))
                return False
        return True

    async def _forget(self, name: str, tenant: Tenant, shipped: Mapping[str, int]) -> None:
        tenant.shipped = frozenset(shipped)
        old = blocks_to_forget(tenant, shipped, self._clock.now_ms(), self._config.retention_period)
        if not old:
            return
        await self._offload.run(tenant.blocks.remove, old)
        self._log.info("local blocks removed", user=name, blocks=old)

    def _idleness(self, tenant: Tenant) -> Idleness:
        idle_s = self._clock.monotonic() - tenant.last_append_s
        return Idleness(idle_s, tenant.head.extent[1] is None)
