"""Repeats calls that failed for a reason that may pass: after a pause that doubles, with jitter, so that many processes
do not come back at once; bounded in number and in time. Only for calls that may be made twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.metrics import Counter, Family
from mimir_rw.kit.rng import Rng
from mimir_rw.model.errors import Unavailable

PAUSE_S = 0.1
PAUSE_S_MAX = 10.0
PATIENCE_S = 180.0
"""No further try once this long has gone into a call."""

T = TypeVar("T")


class Retrier:
    def __init__(self, *, retries: int, clock: Clock, rng: Rng, repeated: Family[Counter]) -> None:
        """retries: tries after the first one. repeated: counts them, by operation."""
        self._retries = retries
        self._clock = clock
        self._rng = rng
        self._repeated = repeated

    async def run(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call, or what its last try raised; anything but Unavailable is raised at once."""
        until = self._clock.monotonic() + PATIENCE_S
        for attempt in range(self._retries):
            try:
                return await call()
            except Unavailable:
                pause_s = self._pause_s(attempt)
                if self._clock.monotonic() + pause_s > until:
                    raise
            self._repeated.labels(operation).inc()
            await asyncio.sleep(pause_s)
        return await call()

    def _pause_s(self, attempt: int) -> float:
        """Between a half and the whole of the attempt's pause."""
        return float(min(PAUSE_S * 2 ** min(attempt, 16), PAUSE_S_MAX) * (0.5 + self._rng.random() / 2))
