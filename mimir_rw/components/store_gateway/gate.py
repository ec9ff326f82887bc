"""How many questions are worked on at once; the others wait, but not for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.model.errors import Unavailable


class Gate:
    def __init__(self, *, most: int, wait_s: float, clock: Clock, metrics: Metrics) -> None:
        """most 0: any number. wait_s 0: for any time."""
        self._room = asyncio.Semaphore(most) if most else None
        self._wait_s = wait_s
        self._clock = clock
        self._inside = metrics.gauge("cortex_bucket_stores_gate_queries_in_flight", "Questions that are worked on.")
        metrics.gauge("cortex_bucket_stores_gate_queries_concurrent_max", "Most of them at once.").set(most)
        self._waited = metrics.histogram(
            "cortex_bucket_stores_gate_duration_seconds", "How long questions waited for their turn."
        )

    @contextlib.asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """Raises Unavailable when there is no room in time."""
        began_s = self._clock.monotonic()
        if self._room is not None:
            try:
                async with asyncio.timeout(self._wait_s or None):
                    await self._room.acquire()
            except TimeoutError:
                raise Unavailable("the store-gateway has too many queries at once") from None
        self._waited.observe(self._clock.monotonic() - began_s)
        self._inside.inc()
        try:
            yield
        finally:
            self._inside.dec()
            if self._room is not None:
                self._room.release()
