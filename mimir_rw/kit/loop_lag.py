"""How late the event loop is: the time between when a timer was due and when it ran.

Whatever holds the loop (a long loop in Python, a kernel called without Offload) shows here.
"""

from __future__ import annotations

import asyncio

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.service import Service

_PERIOD_S = 0.05
_WINDOW_S = 60.0
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class LoopLag(Service):
    """Samples the lag twenty times a second while Running."""

    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        super().__init__("event-loop-lag")
        self._clock = clock
        self._lag = metrics.histogram(
            "cortex_event_loop_lag_seconds", "How late timers of the event loop ran.", _BUCKETS
        )
        self._max = metrics.gauge(
            "cortex_event_loop_lag_max_seconds", "Longest lag of the event loop in the current and the past minute."
        )

    async def start_up(self) -> None:
        self.tasks.spawn(self._sample(), name="event-loop-lag")

    async def _sample(self) -> None:
        current = previous = 0.0
        turn_at = self._clock.monotonic() + _WINDOW_S
        while True:
            due = self._clock.monotonic() + _PERIOD_S
            await asyncio.sleep(_PERIOD_S)
            now = self._clock.monotonic()
            lag = max(0.0, now - due)
            self._lag.observe(lag)
            if now >= turn_at:
                previous, current, turn_at = current, 0.0, now + _WINDOW_S
            current = max(current, lag)
            self._max.set(max(current, previous))
