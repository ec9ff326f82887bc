"""From a request to its outcome: finds a query-scheduler, hands the request in, waits for what a querier delivers, and
tries again where that may help.

A scheduler that is lost or refuses costs nothing but the time to ask the next one; with none left the frontend waits a
moment for one to come (back). An answer that says `not now`, or a querier lost with the query, is a try; there are
`tries_max` of them, and each asks for another querier than those before it: one that cannot reach the ingesters would
otherwise take the same query again and again. All of it within the caller's deadline, whose passing cancels the query
everywhere.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from mimir_rw.components.query_frontend.core import retry_delay_s, worth_another_try
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.kit.trace import current_trace
from mimir_rw.model.errors import MimirError, Unavailable
from mimir_rw.promql.result_codec import Answer, Outcome, decode_outcome
from mimir_rw.rpc.contracts.query import QueryRequest
from mimir_rw.rpc.contracts.scheduler import QueuedQuery, SchedulerDirectory, SchedulerTarget
from mimir_rw.rpc.query_requests import encode_request
from mimir_rw.rpc.transport import Message

DECODED_INLINE_BYTES_MAX = 16 << 10
"""A larger answer is decoded in a thread."""
_LOOK_AGAIN_S = 0.05
_LOOK_AGAIN_S_MAX = 1.0
_RETRY_BUCKETS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
_LOST = "the querier was lost while it worked on the query"
_NONE = "no query-scheduler can be reached"


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """tries_max: of one request. scheduler_wait_s: how long to wait for a scheduler while none can be reached."""

    tries_max: int
    scheduler_wait_s: float


@dataclass(frozen=True, slots=True)
class _NotTaken:
    """What the scheduler said instead of queueing the query."""

    error: MimirError


@dataclass(frozen=True, slots=True)
class Arrival:
    """answer: None when the scheduler is done with the query, and none came. querier: who had it, if that is known."""

    answer: Message | Outcome | None
    querier: str


@dataclass(slots=True)
class _Asked:
    """A request over all its tries."""

    tenant: str
    message: Message
    deadline_s: float
    avoid: list[str] = field(default_factory=list)

    def failed_by(self, querier: str) -> None:
        if querier and querier not in self.avoid:
            self.avoid.append(querier)


class Dispatcher:
    """On the event loop only. `pending` are the queries that an answer may come for."""

    def __init__(
        self,
        *,
        address: str,
        directory: SchedulerDirectory,
        settings: DispatchSettings,
        offload: Offload,
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
    ) -> None:
        """address: where queriers deliver to."""
        self.pending: dict[str, asyncio.Future[Arrival | _NotTaken]] = {}
        self._address = address
        self._directory = directory
        self._settings = settings
        self._offload = offload
        self._clock = clock
        self._rng = rng
        self._life = f"{int(rng.random() * (1 << 48)):012x}"
        self._serial = 0
        self._retries = metrics.histogram(
            "cortex_query_frontend_retries", "Number of times a request is retried.", _RETRY_BUCKETS
        )

    async def ask(self, tasks: TaskSupervisor, tenant: str, request: QueryRequest, timeout_s: float) -> Answer:
        """The answer. Raises the error of the last try, RateLimited, or Unavailable when no scheduler takes it.

        The caller ends it at the deadline; timeout_s: what is left of it, for the others to know.
        """
        asked = _Asked(tenant, encode_request(request), self._clock.monotonic() + timeout_s)
        tries = 0
        try:
            while True:
                arrival = await self._try(tasks, asked)
                outcome = await self._read(arrival.answer)
                if not isinstance(outcome, MimirError):
                    return outcome
                asked.failed_by(arrival.querier)
                tries += 1
                if tries >= self._settings.tries_max or not worth_another_try(outcome):
                    raise outcome
                await asyncio.sleep(retry_delay_s(tries, self._rng.random()))
        finally:
            self._retries.observe(float(tries))

    async def _try(self, tasks: TaskSupervisor, asked: _Asked) -> Arrival:
        """Through the first scheduler that takes it."""
        since_s = self._clock.monotonic()
        refused: dict[str, MimirError] = {}
        rounds = 0
        while True:
            target = self._choose(refused)
            if target is None:
                if self._clock.monotonic() - since_s >= self._settings.scheduler_wait_s:
                    raise next(iter(refused.values()), None) or Unavailable(_NONE)
                await self._wait_for_schedulers(rounds)
                refused.clear()
                rounds += 1
                continue
            arrival = await self._hand_in(tasks, target, asked)
            if isinstance(arrival, Arrival):
                return arrival
            if not isinstance(arrival.error, Unavailable):
                raise arrival.error
            refused[target.address] = arrival.error

    def _choose(self, refused: dict[str, MimirError]) -> SchedulerTarget | None:
        """One that has not refused: in use before others, reachable before others, in turn among equals."""
        left = [target for target in self._directory.targets() if target.address not in refused]
        if not left:
            return None
        ranks = [(target.in_use, target.reachable()) for target in left]
        best = max(ranks, key=lambda rank: (rank[1], rank[0]))
        equals = [target for target, rank in zip(left, ranks, strict=True) if rank == best]
        return equals[self._serial % len(equals)]

    async def _wait_for_schedulers(self, rounds: int) -> None:
        """Until the directory changes, or for a moment."""
        try:
            async with asyncio.timeout(min(_LOOK_AGAIN_S_MAX, _LOOK_AGAIN_S * float(1 << min(rounds, 10)))):
                await self._directory.changed()
        except TimeoutError:
            pass

    async def _hand_in(self, tasks: TaskSupervisor, target: SchedulerTarget, asked: _Asked) -> Arrival | _NotTaken:
        self._serial += 1
        query_id = f"{self._life}-{self._serial}"
        query = QueuedQuery(
            query_id=query_id,
            frontend_address=self._address,
            tenant=asked.tenant,
            trace_id=current_trace(),
            timeout_s=max(0.001, asked.deadline_s - self._clock.monotonic()),
            request=asked.message,
            avoid=tuple(asked.avoid),
        )
        arrived: asyncio.Future[Arrival | _NotTaken] = asyncio.get_running_loop().create_future()
        self.pending[query_id] = arrived
        queued = tasks.spawn(self._enqueue(target, query, arrived), name=f"query {query_id}")
        try:
            return await arrived
        except asyncio.CancelledError:
            queued.cancel()
            raise
        finally:
            del self.pending[query_id]

    async def _enqueue(
        self, target: SchedulerTarget, query: QueuedQuery, arrived: asyncio.Future[Arrival | _NotTaken]
    ) -> None:
        """Goes on, to its own end, when the answer is faster than the scheduler's word that it was delivered."""
        over: Arrival | _NotTaken
        try:
            over = Arrival(None, await target.scheduler.enqueue(query))
        except MimirError as error:
            over = _NotTaken(error)
        if not arrived.done():
            arrived.set_result(over)

    async def _read(self, answer: Message | Outcome | None) -> Outcome:
        if answer is None:
            return Unavailable(_LOST)
        if not isinstance(answer, Message):
            return answer
        if len(answer.payload) <= DECODED_INLINE_BYTES_MAX:
            return decode_outcome(answer)
        return await self._offload.run(decode_outcome, answer)
