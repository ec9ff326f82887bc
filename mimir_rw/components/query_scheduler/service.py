"""The query-scheduler as a running service: `rpc.contracts.scheduler.Scheduler` around `core.SchedulerCore`.

On the event loop only. Each pull has a mailbox; each enqueue waits on a future. The core bounds both: no more queries
wait than a tenant may have, and no more are in a mailbox than its querier has slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from mimir_rw.components.query_scheduler.core import (
    DRAINING,
    Closed,
    Effect,
    Ended,
    Handed,
    Recalled,
    SchedulerCore,
)
from mimir_rw.components.query_scheduler.queue import QueryKey, key_of
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.service import Service, ServiceState
from mimir_rw.model.errors import RateLimited, Unavailable
from mimir_rw.rpc.contracts.scheduler import CancelledQuery, QueuedQuery

_TICK_S = 1.0

_Mailbox = asyncio.Queue["QueuedQuery | CancelledQuery | None"]


class QuerySchedulerService(Service):
    def __init__(
        self,
        *,
        waiting_per_tenant_max: int,
        forget_delay_s: float,
        drain_s: float,
        queriers_max: Callable[[str], int],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """drain_s: how long a stopping scheduler serves what is queued; queriers_max: of a tenant, 0 for all."""
        super().__init__("query-scheduler")
        self._drain_s = drain_s
        self._clock = clock
        self._core = SchedulerCore(
            waiting_per_tenant_max=waiting_per_tenant_max, forget_delay_s=forget_delay_s, queriers_max=queriers_max
        )
        self._mailboxes: dict[int, _Mailbox] = {}
        self._waiters: dict[QueryKey, asyncio.Future[str]] = {}
        self._connection = 0
        self._idle = asyncio.Event()
        self._describe(metrics)

    def _describe(self, metrics: Metrics) -> None:
        core, name = self._core, "cortex_query_scheduler_"
        metrics.gauges_read(
            name + "queue_length",
            "Queries waiting for a querier.",
            ("user",),
            lambda: [((tenant,), float(length)) for tenant, length in core.queue.lengths()],
        )
        metrics.gauges_read(
            name + "inflight_requests",
            "Queries waiting or being answered.",
            (),
            lambda: [((), float(core.running + len(core.queue)))],
        )
        metrics.gauges_read(
            name + "connected_querier_clients", "Pulls of queriers.", (), lambda: [((), float(core.connections))]
        )
        metrics.gauges_read(
            name + "connected_frontend_clients",
            "Query-frontends with a query here.",
            (),
            lambda: [((), float(core.frontends()))],
        )
        self._queue_duration = metrics.histogram(name + "queue_duration_seconds", "Time that queries waited.")
        self._discarded = metrics.counters(
            name + "discarded_requests_total", "Queries refused because the queue of the tenant was full.", ("user",)
        )
        self._cancelled = metrics.counters(
            name + "cancelled_requests_total", "Queries whose frontend did not wait for the end.", ("user",)
        )

    async def start_up(self) -> None:
        self.tasks.spawn(self._tick(), name="query-scheduler")

    async def shut_down(self) -> None:
        """Serve what is queued, for a while; then end what is left."""
        self._apply(self._core.drain())
        try:
            async with asyncio.timeout(self._drain_s):
                while not self._core.idle:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass
        self._apply(self._core.give_up())

    # -- contract -------------------------------------------------------------------------------------------------

    async def enqueue(self, query: QueuedQuery) -> str:
        """See `rpc.contracts.scheduler.Scheduler`."""
        if self.state is not ServiceState.RUNNING:
            raise Unavailable(DRAINING if self.state is ServiceState.STOPPING else "the query-scheduler is not running")
        key = key_of(query)
        try:
            effects = self._core.enqueue(query, self._clock.monotonic())
        except RateLimited:
            self._discarded.labels(query.tenant).inc()
            raise
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiters[key] = waiter
        self._apply(effects)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._cancelled.labels(query.tenant).inc()
            self._apply(self._core.cancel(key))
            raise
        finally:
            del self._waiters[key]

    async def pull(self, querier_id: str, slots: int) -> AsyncGenerator[QueuedQuery | CancelledQuery, None]:
        """See `rpc.contracts.scheduler.Scheduler`."""
        if self.state is not ServiceState.RUNNING:
            raise Unavailable("the query-scheduler is not running")
        self._connection += 1
        connection = self._connection
        mailbox: _Mailbox = asyncio.Queue()
        self._mailboxes[connection] = mailbox
        try:
            self._apply(self._core.connect(connection, querier_id, slots, self._clock.monotonic()))
            while (item := await mailbox.get()) is not None:
                yield item
        finally:
            del self._mailboxes[connection]
            self._apply(self._core.disconnect(connection, self._clock.monotonic()))

    async def finished(self, querier_id: str, frontend_address: str, query_id: str) -> None:
        """See `rpc.contracts.scheduler.Scheduler`."""
        self._apply(self._core.finished(querier_id, (frontend_address, query_id), self._clock.monotonic()))

    async def leave(self, querier_id: str) -> None:
        """See `rpc.contracts.scheduler.Scheduler`."""
        self._apply(self._core.leave(querier_id, self._clock.monotonic()))

    # -- effects --------------------------------------------------------------------------------------------------

    def _apply(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Handed(connection, query, waited_s):
                    self._queue_duration.observe(waited_s)
                    self._mail(connection, query)
                case Recalled(connection, query):
                    self._mail(connection, query)
                case Ended(key, error, querier):
                    self._end(key, error, querier)
                case Closed(connection):
                    self._mail(connection, None)
        if self._core.idle:
            self._idle.set()

    def _mail(self, connection: int, item: QueuedQuery | CancelledQuery | None) -> None:
        mailbox = self._mailboxes.get(connection)
        if mailbox is not None:
            mailbox.put_nowait(item)

    def _end(self, key: QueryKey, error: Unavailable | None, querier: str) -> None:
        waiter = self._waiters.get(key)
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(querier)
        else:
            waiter.set_exception(error)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._apply(self._core.tick(self._clock.monotonic()))
