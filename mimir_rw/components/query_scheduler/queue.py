"""Waiting queries: first in, first out within a tenant; between tenants in turn. Pure.

Turns are start-time fair queueing with equal weights: a tenant's next query has a turn number, one after that of its
last served query, but not before the turn that is being served. A tenant that comes back after a pause therefore
neither jumps ahead of the others again and again nor pays for the time it was away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mimir_rw.model.errors import RateLimited
from mimir_rw.rpc.contracts.scheduler import QueuedQuery

QueryKey = tuple[str, str]
"""Frontend address and query id."""


def key_of(query: QueuedQuery) -> QueryKey:
    return (query.frontend_address, query.query_id)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Times in seconds of the caller's monotonic clock."""

    query: QueuedQuery
    since_s: float
    deadline_s: float


@dataclass(slots=True)
class _Tenant:
    turn: int
    since: int
    """Breaks ties between equal turns: who was served, or began to wait, longest ago."""
    waiting: dict[QueryKey, Waiting] = field(default_factory=dict)


class FairQueue:
    def __init__(self, *, waiting_per_tenant_max: int) -> None:
        self._waiting_max = waiting_per_tenant_max
        self._tenants: dict[str, _Tenant] = {}
        self._next_turn: dict[str, int] = {}
        """Of tenants without waiting queries whose next turn may be ahead of the one being served. Forgotten whenever
        nobody waits."""
        self._turn = 0
        self._events = 0
        self._tenant_of: dict[QueryKey, str] = {}

    def __len__(self) -> int:
        return len(self._tenant_of)

    def __contains__(self, key: object) -> bool:
        return key in self._tenant_of

    def keys(self) -> list[QueryKey]:
        """Of all waiting queries."""
        return list(self._tenant_of)

    def lengths(self) -> list[tuple[str, int]]:
        """Waiting queries of each tenant that has any."""
        return [(name, len(tenant.waiting)) for name, tenant in list(self._tenants.items())]

    def add(self, query: QueuedQuery, now_s: float) -> None:
        """Raises RateLimited when as many of the tenant wait as may."""
        key = key_of(query)
        assert key not in self, f"query {key} waits already"
        tenant = self._tenants.get(query.tenant)
        if tenant is None:
            turn = max(self._next_turn.pop(query.tenant, 0), self._turn)
            tenant = self._tenants[query.tenant] = _Tenant(turn, self._next_event())
        elif len(tenant.waiting) >= self._waiting_max:
            raise RateLimited("too many outstanding requests")
        tenant.waiting[key] = Waiting(query, now_s, now_s + query.timeout_s)
        self._tenant_of[key] = query.tenant

    def remove(self, key: QueryKey) -> bool:
        """Whether it was waiting."""
        name = self._tenant_of.pop(key, None)
        if name is None:
            return False
        state = self._tenants[name]
        del state.waiting[key]
        if not state.waiting:
            self._emptied(name, state)
        return True

    def clear(self) -> list[QueryKey]:
        """Remove everything; what was waiting."""
        keys = self.keys()
        for key in keys:
            self.remove(key)
        return keys

    def take(self, eligible: Callable[[str], bool], suits: Callable[[QueuedQuery], bool]) -> Waiting | None:
        """The query whose turn it is among those that suit, of tenants that are eligible."""
        candidates = [
            (state.turn, state.since, name, key)
            for name, state in self._tenants.items()
            if eligible(name)
            and (key := next((key for key, waits in state.waiting.items() if suits(waits.query)), None)) is not None
        ]
        if not candidates:
            return None
        turn, _, name, key = min(candidates)
        state = self._tenants[name]
        taken = state.waiting.pop(key)
        del self._tenant_of[key]
        self._turn = max(self._turn, turn)
        state.turn, state.since = turn + 1, self._next_event()
        if not state.waiting:
            self._emptied(name, state)
        return taken

    def _emptied(self, name: str, state: _Tenant) -> None:
        del self._tenants[name]
        if not self._tenants:
            self._turn = 0
            self._next_turn.clear()
        elif state.turn > self._turn:
            self._next_turn[name] = state.turn

    def _next_event(self) -> int:
        self._events += 1
        return self._events
