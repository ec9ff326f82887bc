"""Ingesters and the store as if they were one: `rpc.contracts.ingester.IngesterReads`.

Both are asked at once; the first that fails ends the question. Metadata and exemplars are with ingesters only.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from mimir_rw._native import LabelFrame
from mimir_rw.components.querier.charges import BlockCharges
from mimir_rw.components.querier.queryable import NoSeries
from mimir_rw.components.querier.ring_stores import RingStores
from mimir_rw.components.querier.sources import NO_INDEX, SourcePlan, SourceSettings, plan_sources, stored_ranges
from mimir_rw.config.limits import Limits
from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.tasks import together
from mimir_rw.model.errors import DataDamaged, Unavailable
from mimir_rw.model.exemplars import SeriesExemplars
from mimir_rw.model.labels import Matcher
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.rpc.contracts.ingester import Charge, IngesterReads, MetricMetadata
from mimir_rw.storage.contract import SelectHints, SeriesSet
from mimir_rw.storage.merge import merge_series

SAID_EVERY_S = 60.0
UNITED_INLINE_MAX = 10_000
_INGESTERS = "ingesters"
STALE = "the bucket index is older than it should be; ingesters were asked for what it may lack"

T = TypeVar("T")


class Indexes(Protocol):
    """What `bucket.index_reader.BucketIndexReader` is here."""

    async def at_least(self, tenant: str, version: int) -> BucketIndex:
        """updated_at_s 0: the tenant has none."""
        ...


class BothSources:
    def __init__(
        self,
        *,
        ingesters: IngesterReads,
        stores: RingStores,
        indexes: Indexes,
        settings: SourceSettings,
        handed_over: Callable[[str], Sequence[StoredRange]],
        unshipped_from_ms: Callable[[str], int | None],
        limits: Limits,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """handed_over: ranges of a tenant that the store is asked for whatever the settings say. unshipped_from_ms:
        from when on ingesters are asked, whatever they say."""
        self._ingesters = ingesters
        self._stores = stores
        self._indexes = indexes
        self._settings = settings
        self._handed_over = handed_over
        self._unshipped_from_ms = unshipped_from_ms
        self._limits = limits
        self._offload = offload
        self._clock = clock
        self._log = get_logger(component="querier")
        self._said_s: float | None = None
        self._stale_tenants: set[str] = set()
        self._stale = metrics.counter(
            "mimir_rw_querier_stale_bucket_index_total", "Questions that an index older than it should be was used for."
        )
        self._blocks = metrics.counter("cortex_querier_blocks_queried_total", "Blocks that questions were about.")

    async def select(
        self, tenant: str, matchers: Sequence[Matcher], hints: SelectHints, charge: Charge | None = None
    ) -> SeriesSet:
        """See `IngesterReads`. A series is charged once, however many sources have it."""
        plan = await self._plan(tenant, hints.mint, hints.maxt)
        if not plan.blocks:
            if plan.ingesters:
                return await self._ingesters.select(tenant, matchers, hints, charge)
            return NoSeries()
        charges = None if charge is None else BlockCharges(charge)

        async def from_ingesters() -> list[SeriesSet]:
            if not plan.ingesters:
                return []
            own = None if charges is None else charges.of(_INGESTERS)
            return [await self._ingesters.select(tenant, matchers, hints, own)]

        found = await self._both(
            from_ingesters(), self._stores.select(tenant, plan.blocks, matchers, plan.mint, plan.maxt, charges)
        )
        return await merge_series(found, self._offload) if found else NoSeries()

    async def series(self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int) -> LabelFrame:
        """See `IngesterReads`."""
        frames = await self._asked(
            tenant,
            mint,
            maxt,
            lambda: self._ingesters.series(tenant, matcher_sets, mint, maxt),
            lambda plan: self._stores.series(tenant, plan.blocks, matcher_sets, plan.mint, plan.maxt),
        )
        filled = [frame for frame in frames if len(frame)]
        if len(filled) <= 1:
            return filled[0] if filled else LabelFrame.empty_rows(0)
        return await self._offload.run(LabelFrame.union_sorted, filled)

    async def label_names(self, tenant: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        """See `IngesterReads`."""
        found = await self._asked(
            tenant,
            mint,
            maxt,
            lambda: self._ingesters.label_names(tenant, matchers, mint, maxt),
            lambda plan: self._stores.label_names(tenant, plan.blocks, matchers, plan.mint, plan.maxt),
        )
        return await self._united(found)

    async def label_values(
        self, tenant: str, name: str, matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> list[str]:
        """See `IngesterReads`."""
        found = await self._asked(
            tenant,
            mint,
            maxt,
            lambda: self._ingesters.label_values(tenant, name, matchers, mint, maxt),
            lambda plan: self._stores.label_values(tenant, name, plan.blocks, matchers, plan.mint, plan.maxt),
        )
        return await self._united(found)

    async def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]:
        """See `IngesterReads`."""
        return await self._ingesters.metadata(tenant, metric)

    async def exemplars(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[SeriesExemplars]:
        """See `IngesterReads`."""
        return await self._ingesters.exemplars(tenant, matcher_sets, mint, maxt)

    def warning(self, tenant: str, mint: int) -> str | None:
        """What whoever asked for samples from mint on should know."""
        if tenant not in self._stale_tenants or mint > self._clock.now_ms() - self._settings.store_after_ms:
            return None
        return STALE

    # -- whom to ask ------------------------------------------------------------------------------------------------

    async def _plan(self, tenant: str, mint: int, maxt: int) -> SourcePlan:
        """Raises Unavailable when the index is too old, or cannot be had."""
        now_ms = self._clock.now_ms()
        handed_over = self._handed_over(tenant)
        within_ms = self._limits.for_tenant(tenant).query_ingesters_within
        ranges = stored_ranges(
            mint,
            maxt,
            now_ms=now_ms,
            ingesters_within_ms=within_ms,
            settings=self._settings,
            handed_over=handed_over,
        )
        index = await self._index(tenant, handed_over) if ranges else NO_INDEX
        plan = plan_sources(
            mint,
            maxt,
            now_ms=now_ms,
            ingesters_within_ms=within_ms,
            settings=self._settings,
            ranges=ranges,
            index=index,
            unshipped_from_ms=self._unshipped_from_ms(tenant),
        )
        self._blocks.inc(len(plan.blocks))
        if plan.stale:
            self._stale_tenants.add(tenant)
            self._warn(tenant)
        elif ranges:
            self._stale_tenants.discard(tenant)
        return plan

    async def _index(self, tenant: str, handed_over: Sequence[StoredRange]) -> BucketIndex:
        needed = max((each.index_version for each in handed_over), default=0)
        try:
            index = await self._indexes.at_least(tenant, needed)
        except DataDamaged as error:
            raise Unavailable(f"the bucket index of {tenant} cannot be read: {error}") from error
        if index.updated_at_s < needed:
            raise Unavailable(f"the bucket index of {tenant} does not have what an ingester handed over yet")
        return index

    def _warn(self, tenant: str) -> None:
        self._stale.inc()
        now_s = self._clock.monotonic()
        if self._said_s is None or now_s - self._said_s >= SAID_EVERY_S:
            self._said_s = now_s
            self._log.warning("a bucket index is older than it should be; ingesters are asked too", tenant=tenant)

    async def _asked(
        self,
        tenant: str,
        mint: int,
        maxt: int,
        ingesters: Callable[[], Coroutine[Any, Any, T]],
        stores: Callable[[SourcePlan], Coroutine[Any, Any, list[T]]],
    ) -> list[T]:
        plan = await self._plan(tenant, mint, maxt)

        async def from_ingesters() -> list[T]:
            return [await ingesters()] if plan.ingesters else []

        async def from_stores() -> list[T]:
            return await stores(plan) if plan.blocks else []

        return await self._both(from_ingesters(), from_stores())

    async def _both(self, one: Coroutine[Any, Any, list[T]], other: Coroutine[Any, Any, list[T]]) -> list[T]:
        first, second = await together((one, other))
        return [*first, *second]

    async def _united(self, found: Sequence[list[str]]) -> list[str]:
        if len(found) <= 1:
            return found[0] if found else []
        if sum(map(len, found)) <= UNITED_INLINE_MAX:
            return sorted(set().union(*found))
        return await self._offload.run(lambda: sorted(set().union(*found)))
