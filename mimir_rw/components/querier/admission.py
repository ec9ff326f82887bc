"""How many queries run at once, and how many of a tenant may wait. On the event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mimir_rw.model.errors import RateLimited

WAITING_PER_TENANT_MAX = 100


class Admission:
    def __init__(self, *, running_max: int, waiting_per_tenant_max: int = WAITING_PER_TENANT_MAX) -> None:
        self._slots = asyncio.Semaphore(running_max)
        self._waiting_max = waiting_per_tenant_max
        self._waiting: dict[str, int] = {}
        self.running = 0

    @property
    def waiting(self) -> int:
        return sum(self._waiting.values())

    @asynccontextmanager
    async def slot(self, tenant: str) -> AsyncIterator[None]:
        """Hold one of the slots, waiting for it in order of arrival. Raises RateLimited when as many of the tenant
        wait as may."""
        waiting = self._waiting.get(tenant, 0)
        if waiting >= self._waiting_max:
            raise RateLimited("too many outstanding requests")
        self._waiting[tenant] = waiting + 1
        try:
            await self._slots.acquire()
        finally:
            self._leave_queue(tenant)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()

    def _leave_queue(self, tenant: str) -> None:
        left = self._waiting[tenant] - 1
        if left:
            self._waiting[tenant] = left
        else:
            del self._waiting[tenant]
