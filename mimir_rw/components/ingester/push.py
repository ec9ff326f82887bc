"""The ingester's way in: admission, the tenant's lane, what is answered.

A group has one turn in each tenant's lane that it has parts for, so that these share a WAL write. Everything up to
the lanes happens without a pause, so that groups keep the order in which they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mimir_rw._native import AppendResult, RefusedSamples
from mimir_rw.components.ingester.core import DISCARD_REASONS, push_result
from mimir_rw.components.ingester.metrics import IngesterMetrics
from mimir_rw.components.ingester.tenant import Tenant
from mimir_rw.config.limits import Limits
from mimir_rw.config.tree import IngesterInstanceLimits
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.moving_rate import MovingRate
from mimir_rw.model.errors import MimirError, Overloaded
from mimir_rw.rpc.contracts.ingester import PushPart, PushResult, Rejection

OfTenant = Callable[[str], Tenant]
"""The tenant's state, made if it is not there yet; may raise Overloaded."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A part in its tenant's lane; future None when it has no series."""

    part: PushPart
    tenant: Tenant
    rejections: list[Rejection]
    future: asyncio.Future[AppendResult] | None


class PushPath:
    def __init__(
        self,
        *,
        limits: Limits,
        instance_limits: Callable[[], IngesterInstanceLimits],
        tenant: OfTenant,
        clock: Clock,
        metrics: IngesterMetrics,
    ) -> None:
        self._limits = limits
        self._instance_limits = instance_limits
        self._tenant = tenant
        self._clock = clock
        self._metrics = metrics
        self.rate = MovingRate()
        """Samples of all tenants."""

    async def push(self, part: PushPart) -> PushResult:
        """Append one part. Raises what its outcome in a group would be."""
        begun = self._begin(part)
        try:
            return await self._finish(begun)
        finally:
            self._leave([begun])

    async def group(self, parts: Sequence[PushPart]) -> list[PushResult | MimirError]:
        """Append parts in order; an outcome for each."""
        begun = [self._try_begin(part) for part in parts]
        try:
            return [await self._outcome(each) if isinstance(each, _Begun) else each for each in begun]
        finally:
            self._leave([each for each in begun if isinstance(each, _Begun)])

    def overloaded(self, limit: str, what: str, bound: float) -> Overloaded:
        """The error for a limit of this process; counted."""
        self._metrics.rejected.labels(f"ingester_{limit.replace('-', '_')}").inc()
        return Overloaded(
            f"this ingester is at its limit of {bound:g} {what}; to change it, set -ingester.instance-limits.{limit} "
            "or contact your service administrator",
            error_id=f"ingester-{limit}",
        )

    def _try_begin(self, part: PushPart) -> _Begun | MimirError:
        try:
            return self._begin(part)
        except MimirError as error:
            return error

    def _begin(self, part: PushPart) -> _Begun:
        batch = part.batch
        size = batch.byte_size
        self._admit(size)
        tenant = self._tenant(part.tenant)
        future = tenant.head.lane.push(batch) if batch.series_count else None
        self._metrics.inflight.inc()
        self._metrics.inflight_bytes.inc(size)
        return _Begun(part, tenant, self._take_metadata(part, tenant), future)

    async def _outcome(self, begun: _Begun) -> PushResult | MimirError:
        try:
            return await self._finish(begun)
        except MimirError as error:
            return error

    async def _finish(self, begun: _Begun) -> PushResult:
        name, tenant, batch = begun.part.tenant, begun.tenant, begun.part.batch
        if begun.future is None:
            return PushResult(0, tuple(begun.rejections))
        try:
            result = await begun.future
        except Exception:
            tenant.samples_failed.inc(batch.sample_count + batch.histogram_count)
            raise
        stored, refused = result.samples_stored, result.refused
        tenant.samples.inc(stored)
        tenant.rate.add(stored)
        self.rate.add(stored)
        exemplars_refused = self._count_exemplars(name, result) if batch.exemplar_count else 0
        if refused:
            self._count_refused(name, tenant, refused)
            self._check_instance_series(tenant, refused, name)
        outcome = push_result(stored, refused, self._limits.for_tenant(name), begun.rejections, result.unresolved)
        return replace(outcome, exemplars_refused=exemplars_refused) if exemplars_refused else outcome

    def _leave(self, begun: Sequence[_Begun]) -> None:
        """Give back the places of parts that are done, or whose caller has left."""
        for each in begun:
            if each.future is not None:
                each.future.cancel()  # of those that nobody waits for any more; they are stored all the same
        self._metrics.inflight.dec(len(begun))
        self._metrics.inflight_bytes.dec(sum(each.part.batch.byte_size for each in begun))

    def _admit(self, size: int) -> None:
        """Overloaded when there is no place for one more among the pushes this process works on."""
        bounds, inflight, inflight_bytes = self._instance_limits(), self._metrics.inflight, self._metrics.inflight_bytes
        if bounds.max_inflight_push_requests and inflight.value >= bounds.max_inflight_push_requests:
            raise self.overloaded("max-inflight-push-requests", "pushes in work", bounds.max_inflight_push_requests)
        bytes_max = bounds.max_inflight_push_requests_bytes
        if bytes_max and inflight_bytes.value and inflight_bytes.value + size > bytes_max:
            raise self.overloaded("max-inflight-push-requests-bytes", "bytes of pushes in work", bytes_max)
        if bounds.max_ingestion_rate and self.rate.per_second >= bounds.max_ingestion_rate:
            raise self.overloaded("max-ingestion-rate", "samples per second", bounds.max_ingestion_rate)

    def _take_metadata(self, part: PushPart, tenant: Tenant) -> list[Rejection]:
        count = part.batch.metadata_count
        if not count:
            return []
        limits, now_s = self._limits.for_tenant(part.tenant), self._clock.monotonic()
        rejections = tenant.metadata.update(part.batch.metadata_rows(), limits, now_s)
        refused = sum(r.count for r in rejections)
        self._metrics.metadata.labels(part.tenant).inc(count - refused)
        self._metrics.metadata_failed.labels(part.tenant).inc(refused)
        return rejections

    def _count_exemplars(self, name: str, result: AppendResult) -> int:
        """How many were refused."""
        refused = 0
        for r in result.exemplars_refused:
            self._metrics.discarded_exemplars.labels(r.error_id.replace("-", "_"), name).inc(r.count)
            refused += r.count
        self._metrics.exemplars.labels(name).inc(result.exemplars_stored)
        self._metrics.exemplars_failed.labels(name).inc(refused)
        return refused

    def _count_refused(self, name: str, tenant: Tenant, refused: Sequence[RefusedSamples]) -> None:
        for r in refused:
            reason = DISCARD_REASONS.get(r.error_id, r.error_id)
            self._metrics.discarded_samples.labels(reason, name).inc(r.count)
            tenant.samples_failed.inc(r.count)

    def _check_instance_series(self, tenant: Tenant, refused: Sequence[RefusedSamples], name: str) -> None:
        """A series refused although the tenant may have more was refused by the limit of this process."""
        bound = self._instance_limits().max_series
        if not bound or all(r.error_id != "max-series-per-user" for r in refused):
            return
        tenant_max = tenant.local_limits(
            self._limits.for_tenant(name), self._clock.monotonic()
        ).max_global_series_per_user
        if not tenant_max or tenant.head.owned < tenant_max:
            raise self.overloaded("max-series", "series in memory", bound)
