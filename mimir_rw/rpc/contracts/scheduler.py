"""What a query-scheduler offers query-frontends and queriers, and a query-frontend offers queriers.

    frontend ──enqueue──► scheduler ◄──pull── querier
        ▲──────────────────result───────────────┘

`enqueue` lasts as long as the query: it returns once a querier has said `finished`, so that cancelling it reaches the
querier through the scheduler, and losing any of the three shows at the others at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from mimir_rw.rpc.transport import Message


@dataclass(frozen=True, slots=True)
class QueuedQuery:
    """query_id: unique in its frontend. request: opaque to the scheduler. frontend_address: where the result goes."""

    query_id: str
    frontend_address: str
    tenant: str
    trace_id: str
    timeout_s: float
    """What is left of the deadline when it is handed on."""
    request: Message


@dataclass(frozen=True, slots=True)
class CancelledQuery:
    frontend_address: str
    query_id: str


class Scheduler(Protocol):
    async def enqueue(self, query: QueuedQuery) -> None:
        """Returns when a querier has finished it. Raises RateLimited when the tenant's queue is full, Unavailable when
        this scheduler is stopping or the querier that had it was lost: then another try may be made."""
        ...

    def pull(self, querier_id: str, slots: int) -> AsyncIterator[QueuedQuery | CancelledQuery]:
        """Queries for this querier, at most `slots` unfinished at a time, and cancellations of those it has."""
        ...

    async def finished(self, querier_id: str, frontend_address: str, query_id: str) -> None:
        """The querier has delivered the result (or failure) to the frontend; its slot is free."""
        ...

    async def leave(self, querier_id: str) -> None:
        """The querier stops: no further query for it; its pulls end when those it has are finished."""
        ...


class QueryResults(Protocol):
    """The query-frontend's side for queriers."""

    async def deliver(self, query_id: str, answer: Message) -> None:
        """The answer (or the error, encoded) of a query. One for a query that nobody waits for is dropped."""
        ...
