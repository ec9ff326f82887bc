"""The querier as a running service: pulls queries from query-schedulers, carries them out, delivers what came of them.

    directory ──► one pull per scheduler ──► a task per query: execute, deliver to the frontend, say finished

A query ends early when the scheduler recalls it (its client or frontend is gone) and when the scheduler that gave it is
lost (the frontend asks another one then). When the querier stops it says so to the schedulers, pulls no more and
finishes what it has. On the event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from mimir_rw.components.querier.executor import QueryExecutor
from mimir_rw.components.querier.pull import SchedulerPull
from mimir_rw.components.querier.slots import spread_slots
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.service import Service
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.kit.trace import tracing
from mimir_rw.model.errors import Internal, MimirError, Unavailable
from mimir_rw.promql.result_codec import Outcome, encode_outcome
from mimir_rw.rpc.contracts.scheduler import (
    LocalResults,
    QueryResults,
    QueuedQuery,
    SchedulerDirectory,
    SchedulerTarget,
)
from mimir_rw.rpc.query_requests import decode_request
from mimir_rw.rpc.transport import Message

_INTERNAL = "internal error; the log of this process has the details"


class QuerierService(Service):
    def __init__(
        self,
        *,
        querier_id: str,
        executor: QueryExecutor,
        refresh: Sequence[Callable[[TaskSupervisor], None]],
        directory: SchedulerDirectory,
        slots: int,
        drain_s: float,
        local: Callable[[str], LocalResults | None],
        frontend: Callable[[str], QueryResults],
        offload: Offload,
        rng: Rng,
        metrics: Metrics,
    ) -> None:
        """refresh: each starts what keeps up to date what queries go by. slots: queries carried out at once; drain_s:
        how long a stopping querier waits for them. local, frontend: the query-frontend at an address, when it is in
        this process and when it is not."""
        super().__init__("querier")
        self._id = querier_id
        self._executor = executor
        self._refresh = refresh
        self._directory = directory
        self._slots = slots
        self._drain_s = drain_s
        self._local = local
        self._frontend = frontend
        self._offload = offload
        self._rng = rng
        self._log = get_logger(component="querier")
        self._pulls: dict[str, SchedulerPull] = {}
        self.running = 0
        self._ended = asyncio.Event()
        self._following: asyncio.Task[None]
        metrics.gauges_read(
            "cortex_querier_running_queries", "Queries being evaluated.", (), lambda: [((), float(self.running))]
        )
        metrics.gauges_read(
            "mimir_rw_querier_schedulers",
            "Query-schedulers that are pulled from.",
            (),
            lambda: [((), len(self._pulls))],
        )

    async def start_up(self) -> None:
        for start in self._refresh:
            start(self.tasks)
        self._following = self.tasks.spawn(self._follow(), name="query-schedulers")

    def readiness(self) -> str | None:
        if any(pull.target.reachable() for pull in self._pulls.values()):
            return None
        return "no query-scheduler can be reached"

    async def shut_down(self) -> None:
        """Pull no more, and finish what runs."""
        self._following.cancel()
        for pull in list(self._pulls.values()):
            await pull.leave()
        try:
            async with asyncio.timeout(self._drain_s):
                while self.running:
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:
            self._log.warning("queries were cut off", queries=self.running)

    async def _follow(self) -> None:
        while True:
            targets = self._directory.targets()
            spread = spread_slots([(target.address, target.in_use) for target in targets], self._slots)
            for target in targets:
                self._pull_from(target, spread[target.address])
            for address, pull in self._pulls.items():
                pull.wanted = address in spread
            await self._directory.changed()

    def _pull_from(self, target: SchedulerTarget, slots: int) -> None:
        pull = self._pulls.get(target.address)
        if pull is not None:
            pull.want(slots)
            return
        pull = self._pulls[target.address] = SchedulerPull(
            target=target,
            querier_id=self._id,
            slots=slots,
            carry_out=self._carry_out,
            tasks=self.tasks,
            rng=self._rng,
            log=self._log,
        )
        self.tasks.spawn(self._live(pull), name=f"pull from {target.address}")

    async def _live(self, pull: SchedulerPull) -> None:
        try:
            await pull.live()
        finally:
            del self._pulls[pull.target.address]

    # -- a query --------------------------------------------------------------------------------------------------

    async def _carry_out(self, target: SchedulerTarget, query: QueuedQuery) -> None:
        self.running += 1
        with tracing(query.trace_id):
            try:
                await self._deliver(query, await self._outcome(query))
            finally:
                self.running -= 1
                self._ended.set()
                await self._tell_finished(target, query)

    async def _outcome(self, query: QueuedQuery) -> Outcome:
        try:
            return await self._executor.execute(query.tenant, decode_request(query.request), query.timeout_s)
        except MimirError as error:
            return error
        except OffloadFull as error:
            return Unavailable(str(error))
        except Exception:
            self._log.exception("query failed unexpectedly", tenant=query.tenant)
            return Internal(_INTERNAL)

    async def _deliver(self, query: QueuedQuery, outcome: Outcome) -> None:
        local = self._local(query.frontend_address)
        if local is not None:
            local.accept(query.query_id, outcome, self._id)
            return
        try:
            message = await self._encoded(outcome)
            await self._frontend(query.frontend_address).deliver(query.query_id, message, self._id)
        except MimirError as error:
            # The frontend is told `finished` without having an answer, and tries again if it is still there.
            self._log.info("answer not delivered", frontend=query.frontend_address, err=str(error))

    async def _encoded(self, outcome: Outcome) -> Message:
        try:
            return await self._offload.run(encode_outcome, outcome)
        except OffloadFull as error:
            return encode_outcome(Unavailable(str(error)))
        except Exception:
            self._log.exception("answer could not be encoded")
            return encode_outcome(Internal(_INTERNAL))

    async def _tell_finished(self, target: SchedulerTarget, query: QueuedQuery) -> None:
        try:
            await target.scheduler.finished(self._id, query.frontend_address, query.query_id)
        except MimirError as error:
            self._log.debug("query-scheduler not told", address=target.address, err=str(error))
