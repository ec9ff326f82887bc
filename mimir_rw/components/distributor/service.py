"""The distributor as a running service: `rpc.contracts.distributor.Distributor` and `hand_over.WritePlanner`.

A push is admitted against the limits of this process, decoded and validated by one kernel call on the Offload, held to
the tenant's rates, and stored on the ingesters of the ring (replication.py). State per tenant (known series, token
buckets, metrics) is made when its first push comes and dropped when it has been idle for a while, or, at the bound on
tenants, when it is the one longest unused. All of it is changed on the event loop only; the kernel's own set of known
series has a lock of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mimir_rw._native import BodyTooLarge, DecodedPush, DecodeError, KnownSeries, RecentMetadata, decode_remote_write
from mimir_rw.components.distributor.core import (
    RECENT_METADATA_MAX,
    TenantRates,
    decode_rejections,
    known_series_max,
    merge_rejections,
    push_limits,
    refusal,
    unpacked_bytes,
    written,
)
from mimir_rw.components.distributor.metrics import DistributorMetrics, TenantMetrics
from mimir_rw.components.distributor.replication import BatchStore, Stored
from mimir_rw.components.distributor.traffic import Peers, Traffic
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import DistributorConfig, DistributorInstanceLimits
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.moving_rate import MovingRate
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.service import Service, ServiceState
from mimir_rw.model.errors import BadRequest, Overloaded, RateLimited, TooLarge, Unavailable
from mimir_rw.ring.desc import InstanceState
from mimir_rw.rpc.contracts.distributor import Written
from mimir_rw.rpc.contracts.hand_over import ReadOnlySeen

IDLE_S = 20 * 60.0
SWEEP_TICKS = 60
AGE_TICKS = 600
"""Between two times that series which nobody sends any more are forgotten."""
TICK_S = 1.0
INLINE_BYTES_MAX = 64 << 10
"""Unpacked bytes up to which a body is decoded on the event loop: at worst some hundred microseconds, where the way
through a thread costs fifty for any body."""
_METADATA_IDS = frozenset({"metadata-missing-metric-name", "metric-name-too-long", "unit-too-long"})


class Tenant:
    """What the distributor remembers of one tenant."""

    __slots__ = ("distributors", "inflight", "key", "known", "limits", "metrics", "push_limits", "rates",
                 "recent_metadata", "used_s")  # fmt: skip

    def __init__(
        self, *, limits: TenantLimits, distributors: int, key: bytes, metrics: TenantMetrics, now_s: float
    ) -> None:
        self.limits = limits
        self.distributors = distributors
        self.push_limits = push_limits(limits)
        self.rates = TenantRates(limits, distributors, now_s)
        self.key = key
        self.known = KnownSeries(entries_max=known_series_max(limits))
        self.recent_metadata = RecentMetadata(entries_max=RECENT_METADATA_MAX)
        self.metrics = metrics
        self.inflight = 0
        self.used_s = now_s

    def follow(self, limits: TenantLimits, distributors: int, key: bytes, now_s: float) -> None:
        if limits is not self.limits or distributors != self.distributors:
            self.limits = limits
            self.distributors = distributors
            self.push_limits = push_limits(limits)
            self.rates.follow(limits, distributors, now_s)
        if key is not self.key:
            self.key = key
            self.known = KnownSeries(entries_max=known_series_max(limits))


class DistributorService(Service):
    def __init__(
        self,
        *,
        config: DistributorConfig,
        limits: Limits,
        instance_limits: Callable[[], DistributorInstanceLimits],
        store: BatchStore,
        peers: Peers,
        offload: Offload,
        clock: Clock,
        metrics: DistributorMetrics,
        series_key: Callable[[], bytes],
    ) -> None:
        """series_key: the cluster's secret of 32 bytes that series are hashed with, as of now."""
        super().__init__("distributor")
        self._config = config
        self._limits = limits
        self._instance_limits = instance_limits
        self._store = store
        self._peers = peers
        self._traffic = Traffic()
        self._announced: InstanceState | None = None
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._series_key = series_key
        self._tenants: dict[str, Tenant] = {}  # the longest unused first
        self._rate = MovingRate()
        metrics.tenants_kept(lambda: len(self._tenants))

    async def start_up(self) -> None:
        self._store.start(self.tasks)
        self.tasks.spawn(self._tick(), name="distributor-tick")

    async def shut_down(self) -> None:
        """Finish what is on its way to ingesters."""
        await self._store.drain()

    async def push_remote_write(self, tenant: str, body: bytes, *, version: int = 1) -> Written:
        """See `rpc.contracts.distributor.Distributor`."""
        if self.state is not ServiceState.RUNNING:
            raise Unavailable("the distributor is not running")
        if len(body) > self._config.max_recv_msg_size:
            raise self._too_large(len(body))
        with self._admitted(body), self._using(tenant) as state:
            state.metrics.requests_in[version].inc()
            self._take_request(state)
            key = state.key
            push = await self._decode(tenant, body, state, key, version)
            self._count(push, state)
            self._take_items(push, state)
            batch, stored = push.batch, Stored()
            if batch.series_count or batch.metadata_count:
                shard_size = state.limits.ingestion_tenant_shard_size
                stored = await self._store.store(tenant, batch, shard_size=shard_size, key=key)
            kept = written(batch, stored.rejections, stored.exemplars_refused)
            rejections = merge_rejections([decode_rejections(push, state.limits), stored.rejections])
            if rejections:
                received = push.samples_received + push.metadata_received
                raise refusal(rejections, received, kept, each=version > 1)
            return kept

    async def sees_read_only(self, instance_id: str) -> ReadOnlySeen:
        """See `rpc.contracts.hand_over.WritePlanner`."""
        if self.state is not ServiceState.RUNNING:
            raise Unavailable("the distributor is not running")
        return self._store.sees_read_only(instance_id)

    @contextmanager
    def _admitted(self, body: bytes) -> Iterator[None]:
        """Hold the request's share of what this process works on at once; Overloaded when there is no room."""
        bounds = self._instance_limits()
        requests, size = self._metrics.inflight_requests, self._metrics.inflight_bytes
        bytes_ = unpacked_bytes(body, self._config.max_recv_msg_size)
        if bounds.max_inflight_push_requests and requests.value >= bounds.max_inflight_push_requests:
            raise _overloaded("max-inflight-push-requests", "push requests in work", bounds.max_inflight_push_requests)
        bytes_max = bounds.max_inflight_push_requests_bytes
        if bytes_max and size.value and size.value + bytes_ > bytes_max:
            raise _overloaded("max-inflight-push-requests-bytes", "bytes of push requests in work", bytes_max)
        if bounds.max_ingestion_rate and self._rate.per_second >= bounds.max_ingestion_rate:
            raise _overloaded("max-ingestion-rate", "samples per second", bounds.max_ingestion_rate)
        requests.inc()
        size.inc(bytes_)
        try:
            yield
        finally:
            requests.dec()
            size.dec(bytes_)

    @contextmanager
    def _using(self, tenant: str) -> Iterator[Tenant]:
        """The tenant's state under its present limits, kept as long as the request lasts."""
        now_s = self._clock.monotonic()
        self._traffic.pushed(now_s)
        limits, distributors, key = self._limits.for_tenant(tenant), self._peers.count(), self._series_key()
        state = self._tenants.pop(tenant, None)
        if state is None:
            self._make_room()
            metrics = self._metrics.tenant(tenant)
            state = Tenant(limits=limits, distributors=distributors, key=key, metrics=metrics, now_s=now_s)
        self._tenants[tenant] = state
        state.follow(limits, distributors, key, now_s)
        state.used_s = now_s
        state.inflight += 1
        try:
            yield state
        finally:
            state.inflight -= 1

    def _make_room(self) -> None:
        """Forget the tenant longest unused when there are as many as may be. One with a request in work stays, so
        that there may be as many more as there are requests in work."""
        if len(self._tenants) >= self._config.tenants_max:
            idle = next((name for name, state in self._tenants.items() if not state.inflight), None)
            if idle is not None:
                self._forget(idle)

    def _forget(self, tenant: str) -> None:
        self._tenants.pop(tenant).metrics.remove()

    def _take_request(self, state: Tenant) -> None:
        try:
            state.rates.take_request(self._clock.monotonic())
        except RateLimited:
            state.metrics.discard(self._metrics.discarded_requests, "rate_limited", 1)
            raise

    async def _decode(self, tenant: str, body: bytes, state: Tenant, key: bytes, version: int) -> DecodedPush:
        now_ms, bytes_max = self._clock.now_ms(), self._config.max_recv_msg_size
        known = state.known

        def kernel() -> DecodedPush:
            return decode_remote_write(
                body,
                tenant=tenant,
                key=key,
                known=known,
                limits=state.push_limits,
                now_ms=now_ms,
                bytes_max=bytes_max,
                version=version,
                recent_metadata=state.recent_metadata,
            )

        try:
            if unpacked_bytes(body, bytes_max) <= INLINE_BYTES_MAX:
                return kernel()
            return await self._offload.run(kernel)
        except BodyTooLarge as error:
            raise TooLarge(str(error), error_id="distributor-max-write-message-size") from None
        except DecodeError as error:
            raise BadRequest(str(error)) from None

    def _count(self, push: DecodedPush, state: Tenant) -> None:
        metrics = state.metrics
        metrics.samples_in.inc(push.samples_received)
        metrics.metadata_in.inc(push.metadata_received)
        metrics.exemplars_in.inc(push.exemplars_received)
        if push.newest_ms is not None:
            metrics.newest_sample.set(max(metrics.newest_sample.value, push.newest_ms / 1000))
        for error_id, count, _ in push.rejections:
            if not count:
                continue
            about_metadata = error_id in _METADATA_IDS
            family = self._metrics.discarded_metadata if about_metadata else self._metrics.discarded_samples
            metrics.discard(family, error_id, count)
        for error_id, count in push.exemplar_refusals:
            metrics.discard(self._metrics.discarded_exemplars, error_id, count)
        if push.histograms_dropped:
            metrics.discard(self._metrics.discarded_samples, "native-histograms-disabled", push.histograms_dropped)

    def _take_items(self, push: DecodedPush, state: Tenant) -> None:
        batch, metrics = push.batch, state.metrics
        histograms, exemplars, metadata = batch.histogram_count, batch.exemplar_count, batch.metadata_count
        samples = batch.sample_count + histograms
        try:
            state.rates.take_items(self._clock.monotonic(), samples, exemplars, metadata)
        except RateLimited:
            metrics.discard(self._metrics.discarded_samples, "rate_limited", samples)
            metrics.discard(self._metrics.discarded_exemplars, "rate_limited", exemplars)
            metrics.discard(self._metrics.discarded_metadata, "rate_limited", metadata)
            raise
        self._rate.add(samples)
        metrics.received_requests.inc()
        metrics.received_samples.inc(samples)
        metrics.received_histograms.inc(histograms)
        metrics.received_exemplars.inc(exemplars)
        metrics.received_metadata.inc(metadata)

    async def _tick(self) -> None:
        ticks, last_s = 0, self._clock.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now_s = self._clock.monotonic()
            self._rate.tick(max(now_s - last_s, TICK_S / 2))
            last_s = now_s
            await self._announce(self._traffic.state(now_s))
            ticks += 1
            if ticks % SWEEP_TICKS == 0:
                self._sweep(now_s)
            if ticks % AGE_TICKS == 0:
                self._store.age()

    async def _announce(self, state: InstanceState) -> None:
        """Tell the other distributors whether this one takes traffic."""
        if state is self._announced:
            return
        try:
            await self._peers.announce(state)
        except Unavailable:
            return  # again at the next tick
        self._announced = state

    def _sweep(self, now_s: float) -> None:
        """Forget tenants that have been idle for long, and show how many series of the others are known."""
        for name, state in list(self._tenants.items()):
            if not state.inflight and now_s - state.used_s > IDLE_S:
                self._forget(name)
            else:
                state.metrics.known_series.set(len(state.known))

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"the write request has {size} bytes and the limit is {self._config.max_recv_msg_size}; to change it, set "
            "-distributor.max-recv-msg-size or contact your service administrator",
            error_id="distributor-max-write-message-size",
        )


def _overloaded(limit: str, what: str, bound: float) -> Overloaded:
    return Overloaded(
        f"this distributor is at its limit of {bound:g} {what}; to change it, set "
        f"-distributor.instance-limits.{limit} or contact your service administrator",
        error_id=f"distributor-{limit}",
    )
