"""Token bucket. The caller passes the time, so the bucket itself is pure state."""

from __future__ import annotations


class TokenBucket:
    """`rate` tokens a second flow in, up to `burst`. Starts full. Changed on the event loop only."""

    __slots__ = ("_last_s", "_tokens", "burst", "rate")

    def __init__(self, *, rate: float, burst: float, now_s: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._last_s = now_s

    def allow(self, now_s: float, n: float = 1.0) -> bool:
        """Take n tokens if they are there, else take none. More than `burst` at once is never allowed. O(1)."""
        tokens = self.tokens(now_s)
        allowed = n <= tokens
        self._tokens = tokens - n if allowed else tokens
        if now_s > self._last_s:
            self._last_s = now_s
        return allowed

    def tokens(self, now_s: float) -> float:
        """Tokens there at now_s (monotonic seconds). A clock that stands still or goes back adds nothing."""
        elapsed = now_s - self._last_s
        if elapsed <= 0.0:
            return min(self._tokens, self.burst)
        return min(self.burst, self._tokens + elapsed * self.rate)

    def reconfigure(self, *, rate: float, burst: float, now_s: float) -> None:
        """Settings changed at now_s: what flowed in before does so at the old rate."""
        self._tokens = self.tokens(now_s)
        self._last_s = max(self._last_s, now_s)
        self.rate = rate
        self.burst = burst
