"""A quorum of the ingesters of a tenant as if it were one: `rpc.contracts.ingester.IngesterReads` over a ring.

Each question goes to as many zones as a quorum needs, the querier's own first; the others are asked when one fails or
is slow. An answer is made of whole zones only and never partial: with too few of them there is an error. What is not
needed any more is cancelled. On the event loop only; merging runs in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mimir_rw._native import LabelFrame
from mimir_rw.components.querier.charges import ReplicaCharges
from mimir_rw.config.limits import Limits
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import Internal, MimirError, Unavailable
from mimir_rw.model.exemplars import SeriesExemplars
from mimir_rw.model.labels import Matcher
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.operations import READ
from mimir_rw.ring.placement import ReplicationSet
from mimir_rw.ring.quorum import ReadTracker
from mimir_rw.ring.view import TOO_MANY_UNHEALTHY, RingView
from mimir_rw.rpc.contracts.ingester import Charge, IngesterReads, MetricMetadata
from mimir_rw.storage.contract import SelectHints, SeriesSet
from mimir_rw.storage.exemplars import merge_exemplars
from mimir_rw.storage.merge import merge_series

UNITED_INLINE_MAX = 10_000
"""More strings than these are united in a thread."""

T = TypeVar("T")
Ask = Callable[[InstanceDesc, IngesterReads], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class RingReadSettings:
    """minimise: ask only as many zones as needed at first. hedge_s: how long they may take before others are asked too;
    0: they are asked on failure only. zone: asked first. shards: ask only who may have had series of the tenant."""

    minimise: bool
    hedge_s: float
    zone: str
    shards: bool


class RingIngesters:
    def __init__(
        self,
        *,
        view: Callable[[], RingView],
        client: Callable[[InstanceDesc], IngesterReads],
        settings: RingReadSettings,
        limits: Limits,
        offload: Offload,
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
    ) -> None:
        self._view = view
        self._client = client
        self._settings = settings
        self._limits = limits
        self._offload = offload
        self._clock = clock
        self._rng = rng
        self._log = get_logger(component="querier")
        self._asked = metrics.counter("mimir_rw_querier_ingester_requests_total", "Questions sent to ingesters.")
        self._failed = metrics.counter(
            "mimir_rw_querier_ingester_requests_failed_total", "Questions that an ingester could not answer."
        )
        self._hedged = metrics.counter(
            "mimir_rw_querier_ingester_requests_hedged_total", "Questions sent because other ingesters were slow."
        )

    # -- contract -------------------------------------------------------------------------------------------------

    async def select(
        self, tenant: str, matchers: Sequence[Matcher], hints: SelectHints, charge: Charge | None = None
    ) -> SeriesSet:
        """See `IngesterReads`. Series and bytes are charged once, whatever number of replicas sends them."""
        replicas = self._replicas(tenant)
        charges = None if charge is None else ReplicaCharges(charge, copies=_copies(replicas, self._view()))

        async def ask(instance: InstanceDesc, ingester: IngesterReads) -> SeriesSet:
            own = None if charges is None else charges.of(instance.zone if replicas.zone_aware else "")
            return await ingester.select(tenant, matchers, hints, own)

        found = await self._gather(replicas, ask)
        return await merge_series(found, self._offload)

    async def series(self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int) -> LabelFrame:
        """See `IngesterReads`."""
        frames = await self._gather(
            self._replicas(tenant), lambda _, ingester: ingester.series(tenant, matcher_sets, mint, maxt)
        )
        return frames[0] if len(frames) == 1 else await self._offload.run(LabelFrame.union_sorted, frames)

    async def label_names(self, tenant: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        """See `IngesterReads`."""
        return await self._union(tenant, lambda _, ingester: ingester.label_names(tenant, matchers, mint, maxt))

    async def label_values(
        self, tenant: str, name: str, matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> list[str]:
        """See `IngesterReads`."""
        return await self._union(tenant, lambda _, ingester: ingester.label_values(tenant, name, matchers, mint, maxt))

    async def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]:
        """See `IngesterReads`."""
        found = await self._gather(self._replicas(tenant), lambda _, ingester: ingester.metadata(tenant, metric))
        if len(found) == 1:
            return found[0]
        distinct = {entry: None for entries in found for entry in entries}
        return sorted(distinct, key=lambda entry: entry.metric)

    async def exemplars(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[SeriesExemplars]:
        """See `IngesterReads`."""
        found = await self._gather(
            self._replicas(tenant), lambda _, ingester: ingester.exemplars(tenant, matcher_sets, mint, maxt)
        )
        return await self._offload.run(merge_exemplars, found)

    # -- whom to ask ----------------------------------------------------------------------------------------------

    def _replicas(self, tenant: str) -> ReplicationSet:
        """Raises Unavailable when too many are unhealthy."""
        view, now_s = self._view(), self._clock.now_ms() // 1000
        limits = self._limits.for_tenant(tenant)
        if self._settings.shards and limits.query_ingesters_within:
            lookback_s = max(1, limits.query_ingesters_within // 1000)
            view = view.shuffle_shard(tenant, limits.ingestion_tenant_shard_size, lookback_s=lookback_s, now_s=now_s)
        return view.query_set(READ, now_s=now_s)

    async def _union(self, tenant: str, ask: Ask[list[str]]) -> list[str]:
        found = await self._gather(self._replicas(tenant), ask)
        if len(found) == 1:
            return found[0]
        if sum(map(len, found)) <= UNITED_INLINE_MAX:
            return _united(found)
        return await self._offload.run(_united, found)

    async def _gather(self, replicas: ReplicationSet, ask: Ask[T]) -> list[T]:
        """Answers that together are whole. Raises what a client did wrong, and Unavailable when too few zones answer;
        when it returns or is left, nothing goes on."""
        settings = self._settings
        round_ = _Round(
            ReadTracker(replicas, minimise=settings.minimise, rng=self._rng, prefer=settings.zone), self._call(ask)
        )
        try:
            return await self._watch(round_)
        finally:
            await round_.tasks.cancel()

    async def _watch(self, round_: _Round[T]) -> list[T]:
        tracker, hedge_s = round_.tracker, self._settings.hedge_s
        hedge_at = asyncio.get_running_loop().time() + hedge_s if hedge_s else None
        self._start(round_, tracker.start())
        answers: dict[str, T] = {}
        while not tracker.done:
            try:
                async with asyncio.timeout_at(hedge_at if tracker.hedges else None):
                    instance, answer, error = await round_.outcomes.get()
            except TimeoutError:
                hedge_at = None
                late = tracker.hedge()
                self._hedged.inc(len(late))
                self._start(round_, late)
                continue
            if error is None:
                assert answer is not None
                answers[instance.id] = answer
                tracker.answered(instance.id)
            else:
                self._fail(round_, instance, error)
        return [answers[id] for id in tracker.counted()]

    def _start(self, round_: _Round[T], instances: Sequence[InstanceDesc]) -> None:
        for instance in instances:
            self._asked.inc()
            round_.ask(instance)

    def _fail(self, round_: _Round[T], instance: InstanceDesc, error: MimirError) -> None:
        """Raises when nobody else can answer in its place."""
        if error.client_fault:
            raise error
        self._failed.inc()
        self._log.debug("ingester does not answer", ingester=instance.id, address=instance.addr, err=str(error))
        tracker = round_.tracker
        self._start(round_, tracker.failed(instance.id, error))
        if tracker.error is not None:
            raise Unavailable(f"{TOO_MANY_UNHEALTHY}: {instance.id}: {error}") from error
        for id in tracker.useless():
            round_.calls[id].cancel()

    def _call(self, ask: Ask[T]) -> Callable[[InstanceDesc], Awaitable[T]]:
        async def call(instance: InstanceDesc) -> T:
            try:
                return await ask(instance, self._client(instance))
            except MimirError:
                raise
            except Exception as error:
                self._log.exception("question to an ingester failed unexpectedly", ingester=instance.id)
                raise Internal(f"{type(error).__name__}: {error}") from error

        return call


class _Round(Generic[T]):
    """One question to several ingesters."""

    def __init__(self, tracker: ReadTracker, call: Callable[[InstanceDesc], Awaitable[T]]) -> None:
        self.tracker = tracker
        self.outcomes: asyncio.Queue[tuple[InstanceDesc, T | None, MimirError | None]] = asyncio.Queue()
        self.calls: dict[str, asyncio.Task[None]] = {}
        self.tasks = TaskSupervisor()
        self._call = call

    def ask(self, instance: InstanceDesc) -> None:
        self.calls[instance.id] = self.tasks.spawn(self._outcome(instance), name=f"ask {instance.id}")

    async def _outcome(self, instance: InstanceDesc) -> None:
        try:
            self.outcomes.put_nowait((instance, await self._call(instance), None))
        except MimirError as error:
            self.outcomes.put_nowait((instance, None, error))


def _copies(replicas: ReplicationSet, view: RingView) -> int:
    """How often each series comes within what `ReplicaCharges` takes for one replica."""
    return 1 if replicas.zone_aware else view.settings.replication_factor


def _united(sets: Sequence[Sequence[str]]) -> list[str]:
    return sorted(set().union(*sets))
