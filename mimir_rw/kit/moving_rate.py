"""A rate as an exponentially weighted moving average, pure state: the caller says when a tick ends."""

from __future__ import annotations


class MovingRate:
    """Events per second over ticks of about equal length."""

    __slots__ = ("_count", "_started", "per_second")

    WEIGHT = 0.2

    def __init__(self) -> None:
        self._count = 0
        self._started = False
        self.per_second = 0.0

    def add(self, n: int) -> None:
        self._count += n

    def tick(self, elapsed_s: float) -> None:
        """Close a tick of elapsed_s seconds."""
        rate = self._count / elapsed_s
        self._count = 0
        self.per_second += (rate - self.per_second) * (self.WEIGHT if self._started else 1.0)
        self._started = True
