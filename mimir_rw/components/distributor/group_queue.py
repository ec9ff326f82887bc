"""What waits for one ingester, and which of it goes into the next message; pure.

Pushes of one tenant keep their order: a tenant has at most one message on the way (it is *busy*), and what comes
meanwhile joins its next one. Tenants without one may share a message. That is group commit, and the ordering rule of
series references by construction: rows sent again with labels go before the tenant's next message.

At most messages_max messages are on the way, so that many tenants share them. The bounds on bytes and rows hold for
what waits and what is on the way together; a single job always has room when there is nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Job(Protocol):
    @property
    def tenant(self) -> str: ...
    @property
    def key(self) -> bytes:
        """The series key of its hashes; a message has one per tenant, since hashes by two cannot be compared."""
        ...

    @property
    def size(self) -> int:
        """Bytes held, an estimate."""
        ...

    @property
    def rows(self) -> int: ...


J = TypeVar("J", bound=Job)


@dataclass(frozen=True, slots=True)
class QueueBounds:
    bytes_max: int
    rows_max: int
    message_bytes_max: int = 4 << 20
    """No setting, like the next one: larger messages save nothing more and hold up those behind them, and so many on
    the way keep a connection full over any distance that a zone may be at."""
    messages_max: int = 16


class GroupQueue(Generic[J]):
    __slots__ = ("_bounds", "_busy", "_waiting", "bytes", "messages", "rows")

    def __init__(self, bounds: QueueBounds) -> None:
        self._bounds = bounds
        self._waiting: dict[str, deque[J]] = {}
        """Of each tenant that has any; the one that was served longest ago comes first."""
        self._busy: set[str] = set()
        self.bytes = 0
        self.rows = 0
        self.messages = 0
        """On the way."""

    def offer(self, job: J) -> bool:
        """Take the job in, unless it is over a bound."""
        bounds = self._bounds
        if self.rows and (self.bytes + job.size > bounds.bytes_max or self.rows + job.rows > bounds.rows_max):
            return False
        self.bytes += job.size
        self.rows += job.rows
        self._waiting.setdefault(job.tenant, deque()).append(job)
        return True

    def take(self) -> list[J]:
        """The jobs of the next message, their tenants being busy from now on; empty when none may be sent now."""
        if self.messages >= self._bounds.messages_max:
            return []
        taken: list[J] = []
        room = self._bounds.message_bytes_max
        for tenant in [tenant for tenant in self._waiting if tenant not in self._busy]:
            jobs = self._take_of(tenant, room if taken else max(room, self._waiting[tenant][0].size))
            if not jobs:
                break
            self._busy.add(tenant)
            room -= sum(job.size for job in jobs)
            taken += jobs
        if taken:
            self.messages += 1
        return taken

    def done(self, job: J) -> None:
        """The job needs no room any more: it was sent and answered, or was given up."""
        self.bytes -= job.size
        self.rows -= job.rows

    def message_ended(self, jobs: Iterable[J]) -> None:
        """The message of these jobs is not on the way any more, nor is anything else of their tenants."""
        self.messages -= 1
        self._busy.difference_update(job.tenant for job in jobs)

    def drain(self) -> list[J]:
        """Take out all that waits; the caller says `done` for each."""
        jobs = [job for waiting in self._waiting.values() for job in waiting]
        self._waiting.clear()
        return jobs

    def _take_of(self, tenant: str, room: int) -> list[J]:
        """The tenant's oldest jobs of one key that fit; its place among the others is now the last."""
        waiting = self._waiting[tenant]
        jobs: list[J] = []
        while waiting and waiting[0].size <= room and waiting[0].key == (jobs or waiting)[0].key:
            jobs.append(waiting.popleft())
            room -= jobs[-1].size
        if jobs:
            del self._waiting[tenant]
            if waiting:
                self._waiting[tenant] = waiting
        return jobs
