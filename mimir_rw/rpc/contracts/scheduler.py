"""What a query-scheduler offers query-frontends and queriers, and a query-frontend offers queriers.

    frontend ──enqueue──► scheduler ◄──pull── querier
        ▲──────────────────result───────────────┘

`enqueue` lasts as long as the query: it returns once a querier has said `finished`, so that cancelling it reaches the
querier through the scheduler, and losing any of the three shows at the others at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mimir_rw.rpc.transport import Message


@dataclass(frozen=True, slots=True)
class QueuedQuery:
    """query_id: unique in its frontend, over all its lives. request: opaque to the scheduler. frontend_address: where
    the result goes."""

    query_id: str
    frontend_address: str
    tenant: str
    trace_id: str
    timeout_s: float
    """What is left of the deadline when it is handed on."""
    request: Message
    avoid: tuple[str, ...] = ()
    """Queriers that failed it before: they get it only while there is no other."""


@dataclass(frozen=True, slots=True)
class CancelledQuery:
    frontend_address: str
    query_id: str


class Scheduler(Protocol):
    async def enqueue(self, query: QueuedQuery) -> str:
        """Returns when a querier has finished it, or was lost with it: a caller that has no answer then may try again.
        The id of that querier, or nothing when none had it or the scheduler does not tell.

        Raises RateLimited when the tenant's queue is full, Unavailable when this scheduler takes no queries (any more):
        another one may."""
        ...

    def pull(self, querier_id: str, slots: int) -> AsyncGenerator[QueuedQuery | CancelledQuery, None]:
        """Queries for this querier, at most `slots` unfinished at a time, and cancellations of those it has.

        A later pull of the same querier replaces this one: no further query comes here, and it ends when those that it
        was given are finished. Queries that are unfinished when the iterator is left are lost."""
        ...

    async def finished(self, querier_id: str, frontend_address: str, query_id: str) -> None:
        """The querier has delivered the result (or failure) to the frontend; its slot is free."""
        ...

    async def leave(self, querier_id: str) -> None:
        """The querier stops: no further query for it; its pulls end when those it has are finished."""
        ...


class QueryResults(Protocol):
    """The query-frontend's side for queriers."""

    async def deliver(self, query_id: str, answer: Message, querier_id: str) -> None:
        """The answer (or the error, encoded) of a query, and who has it (nothing: it does not tell). One for a query
        that nobody waits for is dropped."""
        ...


class LocalResults(Protocol):
    """The query-frontend's side for a querier of the same process."""

    def accept(self, query_id: str, outcome: object, querier_id: str) -> None:
        """As `QueryResults.deliver`, with nothing encoded: a `promql.result_codec.Outcome`."""
        ...


@dataclass(frozen=True, slots=True)
class SchedulerTarget:
    """One query-scheduler of the cluster. in_use: frontends send their queries to these while they can; queriers give
    them their slots, and just one to each of the others."""

    address: str
    scheduler: Scheduler
    in_use: bool
    reachable: Callable[[], bool]
    """Connected now (or in this process)."""
    connect: Callable[[], Awaitable[None]]
    """Be connected, or raise Unavailable."""


class SchedulerDirectory(Protocol):
    """Which query-schedulers there are, by address. Asked and told on the event loop."""

    def targets(self) -> Sequence[SchedulerTarget]:
        """Those that may be called now, sorted by address."""
        ...

    async def changed(self) -> None:
        """Wait until `targets` may answer otherwise than now."""
        ...
