"""The clocks that a simulated process reads."""

from __future__ import annotations

from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.process import SimHost

EPOCH_MS = 1_700_000_000_000
"""Wall time at loop time zero."""


class SimClock:
    """Wall time as the host sees it, skew included; monotonic time is the loop's. A `kit.clock.Clock`."""

    __slots__ = ("_host", "_loop")

    def __init__(self, *, loop: SimLoop, host: SimHost | None = None) -> None:
        """host: None for true time."""
        self._loop = loop
        self._host = host

    def now_ms(self) -> int:
        skew_ms = 0 if self._host is None else self._host.skew_ms
        return EPOCH_MS + int(self._loop.time() * 1000) + skew_ms

    def monotonic(self) -> float:
        return self._loop.time()
