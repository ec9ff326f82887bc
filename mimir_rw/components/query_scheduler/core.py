"""What a query-scheduler decides: which querier gets which query, and what becomes of those whose querier or frontend
is lost. Pure: events in, effects out, times as arguments (seconds of one monotonic clock).

A query is waiting (in the queue), running (given to one connection of a querier) or unknown. A connection is open, or
leaving: it gets no more queries and is closed once those it has are finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b

from mimir_rw.components.query_scheduler.queue import FairQueue, QueryKey, Waiting, key_of
from mimir_rw.model.errors import BadRequest, Unavailable
from mimir_rw.rpc.contracts.scheduler import CancelledQuery, QueuedQuery

_SHARDS_KEPT_MAX = 4096
DRAINING = "the query-scheduler is shutting down"


@dataclass(frozen=True, slots=True)
class Handed:
    """Send the query down the connection. waited_s: how long it was in the queue."""

    connection: int
    query: QueuedQuery
    waited_s: float


@dataclass(frozen=True, slots=True)
class Recalled:
    """Tell the connection that nobody waits for the query any more."""

    connection: int
    query: CancelledQuery


@dataclass(frozen=True, slots=True)
class Ended:
    """The query is over here: whoever waits for it may go on. error: None when it was finished or its querier lost.
    querier: who had it, if anybody."""

    key: QueryKey
    error: Unavailable | None = None
    querier: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection has nothing left to do."""

    connection: int


Effect = Handed | Recalled | Ended | Closed


@dataclass(slots=True)
class _Connection:
    querier: str
    slots: int
    leaving: bool = False
    running: dict[QueryKey, None] = field(default_factory=dict)
    handed: int = 0
    """Serial number of the last query it was given."""

    @property
    def free(self) -> int:
        return 0 if self.leaving else self.slots - len(self.running)


class SchedulerCore:
    def __init__(
        self,
        *,
        waiting_per_tenant_max: int,
        forget_delay_s: float,
        queriers_max: Callable[[str], int],
    ) -> None:
        """forget_delay_s: how long a querier that was lost keeps its place among those that may serve a tenant.
        queriers_max: how many may, by tenant; 0 for all."""
        self.queue = FairQueue(waiting_per_tenant_max=waiting_per_tenant_max)
        self.draining = False
        self._forget_delay_s = forget_delay_s
        self._queriers_max = queriers_max
        self._connections: dict[int, _Connection] = {}
        self._running: dict[QueryKey, int] = {}
        self._queriers: dict[str, float | None] = {}
        """Queriers by id; since when one is gone that is not forgotten yet."""
        self._shards: dict[tuple[str, int], frozenset[str]] = {}
        self._handed = 0

    # -- facts ----------------------------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def idle(self) -> bool:
        """No query waits or runs."""
        return not self._running and not self.queue

    def frontends(self) -> int:
        """Frontends with a query here."""
        return len({address for address, _ in (*self.queue.keys(), *list(self._running))})

    # -- events of frontends --------------------------------------------------------------------------------------

    def enqueue(self, query: QueuedQuery, now_s: float) -> list[Effect]:
        """Raises RateLimited when the tenant's queue is full, Unavailable while draining, BadRequest for a query that
        is here already."""
        if self.draining:
            raise Unavailable(DRAINING)
        key = key_of(query)
        if key in self._running or key in self.queue:
            raise BadRequest(f"query {query.query_id} of {query.frontend_address} is here already")
        self.queue.add(query, now_s)
        return self._hand_out(now_s)

    def cancel(self, key: QueryKey) -> list[Effect]:
        """Nobody waits for it any more. A querier that has it keeps its slot until it says `finished`."""
        self.queue.remove(key)
        connection = self._running.get(key)
        return [] if connection is None else [Recalled(connection, CancelledQuery(*key))]

    # -- events of queriers ---------------------------------------------------------------------------------------

    def connect(self, connection: int, querier: str, slots: int, now_s: float) -> list[Effect]:
        """A querier asks for queries; what it was connected by before is leaving."""
        effects = self._leave(querier)
        self._connections[connection] = _Connection(querier, slots)
        if querier not in self._queriers:
            self._shards.clear()
        self._queriers[querier] = None
        return effects + self._hand_out(now_s)

    def finished(self, querier: str, key: QueryKey, now_s: float) -> list[Effect]:
        """Ignored for a query that this querier does not have."""
        connection = self._running.get(key)
        if connection is None or self._connections[connection].querier != querier:
            return []
        state = self._connections[connection]
        del self._running[key], state.running[key]
        closed: list[Effect] = [Closed(connection)] if state.leaving and not state.running else []
        return [Ended(key, querier=querier), *closed, *self._hand_out(now_s), *self._drained()]

    def leave(self, querier: str, now_s: float) -> list[Effect]:
        """The querier stops in order: it is forgotten at once."""
        effects = self._leave(querier)
        if self._queriers.pop(querier, 0.0) is None:
            self._shards.clear()
        return effects + self._hand_out(now_s) + self._drained()

    def disconnect(self, connection: int, now_s: float) -> list[Effect]:
        """The connection is gone; what ran there is lost."""
        state = self._connections.pop(connection, None)
        if state is None:
            return []
        for key in state.running:
            self._running.pop(key, None)
        if all(other.querier != state.querier for other in self._connections.values()):
            self._lost(state.querier, now_s)
        lost: list[Effect] = [Ended(key, querier=state.querier) for key in state.running]
        return lost + self._hand_out(now_s) + self._drained()

    # -- time and end ---------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> list[Effect]:
        """Forget queriers that were lost long enough ago."""
        gone = [
            name
            for name, since_s in self._queriers.items()
            if since_s is not None and now_s - since_s >= self._forget_delay_s
        ]
        for name in gone:
            del self._queriers[name]
        if gone:
            self._shards.clear()
        return self._hand_out(now_s)

    def drain(self) -> list[Effect]:
        """Take no more queries. What is queued is served while a querier is there, and handed back otherwise."""
        self.draining = True
        return self._drained()

    def give_up(self) -> list[Effect]:
        """End everything that is here."""
        left: list[Effect] = [Ended(key, Unavailable(DRAINING)) for key in (*self.queue.clear(), *self._running)]
        self._running.clear()
        return left + [Closed(connection) for connection in self._connections]

    # -- inside -----------------------------------------------------------------------------------------------------

    def _hand_out(self, now_s: float) -> list[Effect]:
        """Give queries to connections with free slots, to the one with the most of them first."""
        effects: list[Effect] = []
        open_to = [number for number, state in self._connections.items() if state.free > 0]
        while self.queue and open_to:
            number = min(open_to, key=self._preference)
            state = self._connections[number]
            taken = self.queue.take(partial(self._serves, state.querier), partial(self._suits, state.querier))
            if taken is None:
                open_to.remove(number)
                continue
            effects.append(self._hand(number, state, taken, now_s))
            if state.free <= 0:
                open_to.remove(number)
        return effects

    def _preference(self, number: int) -> tuple[int, int, int]:
        state = self._connections[number]
        return (-state.free, state.handed, number)

    def _hand(self, number: int, state: _Connection, taken: Waiting, now_s: float) -> Effect:
        key = key_of(taken.query)
        left_s = taken.deadline_s - now_s
        if left_s <= 0:
            return Ended(key)
        self._handed += 1
        state.handed = self._handed
        state.running[key] = None
        self._running[key] = number
        return Handed(number, replace(taken.query, timeout_s=left_s), now_s - taken.since_s)

    def _serves(self, querier: str, tenant: str) -> bool:
        """Whether the querier is one of those that the tenant may use."""
        most = self._queriers_max(tenant)
        if not 0 < most < len(self._queriers):
            return True
        shard = self._shards.get((tenant, most))
        if shard is None:
            if len(self._shards) >= _SHARDS_KEPT_MAX:
                self._shards.clear()
            shard = self._shards[tenant, most] = querier_shard(tenant, self._queriers, most)
        return querier in shard

    def _suits(self, querier: str, query: QueuedQuery) -> bool:
        """Whether the querier may have it: one that failed it before, only while there is no other for it."""
        if querier not in query.avoid:
            return True
        connected = {state.querier for state in self._connections.values() if not state.leaving}
        return not any(self._serves(other, query.tenant) for other in connected.difference(query.avoid))

    def _leave(self, querier: str) -> list[Effect]:
        effects: list[Effect] = []
        for number, state in self._connections.items():
            if state.querier == querier and not state.leaving:
                state.leaving = True
                if not state.running:
                    effects.append(Closed(number))
        return effects

    def _lost(self, querier: str, now_s: float) -> None:
        if querier not in self._queriers:
            return
        if self._forget_delay_s > 0:
            self._queriers[querier] = now_s
        else:
            del self._queriers[querier]
            self._shards.clear()

    def _drained(self) -> list[Effect]:
        """While draining: what is left to do once there is nobody, or nothing, left to serve."""
        if not self.draining:
            return []
        if not any(not state.leaving for state in self._connections.values()):
            return [Ended(key, Unavailable(DRAINING)) for key in self.queue.clear()]
        return [Closed(number) for number in self._connections] if self.idle else []


def querier_shard(tenant: str, queriers: Iterable[str], size: int) -> frozenset[str]:
    """The `size` queriers that serve the tenant: the same in every scheduler, and few change when queriers do."""

    def rank(querier: str) -> tuple[bytes, str]:
        return blake2b(f"{tenant}\0{querier}".encode("utf-8", "surrogatepass"), digest_size=8).digest(), querier

    return frozenset(sorted(queriers, key=rank)[:size])
