"""Circuit breaker of one ingester, pure: whether a message may be sent to it now.

    closed ──failures_max in a row──► open ──cooldown over──► probing (one message)
       ▲                                ▲                        │
       │                                └──────── it fails ──────┤
       └───────────────────────────────────────── it succeeds ───┘

A failure is a message without an answer; what the ingester says in an answer is none.
"""

from __future__ import annotations

import enum

COOLDOWN_JITTER = 0.25


class BreakerState(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    PROBING = "half-open"


class CircuitBreaker:
    __slots__ = ("_cooldown_s", "_failures", "_failures_max", "_open_until_s", "state")

    def __init__(self, *, failures_max: int, cooldown_s: float) -> None:
        """failures_max: 0 never opens."""
        self._failures_max = failures_max
        self._cooldown_s = cooldown_s
        self._failures = 0
        self._open_until_s = 0.0
        self.state = BreakerState.CLOSED

    def allows(self, now_s: float) -> bool:
        """Whether a message may be sent. When it is the probe, the next answer is False until this one ends."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.PROBING or now_s < self._open_until_s:
            return False
        self.state = BreakerState.PROBING
        return True

    def refuses(self, now_s: float) -> bool:
        """Whether `allows` would say no; changes nothing."""
        return self.state is BreakerState.PROBING or (self.state is BreakerState.OPEN and now_s < self._open_until_s)

    def succeeded(self) -> None:
        self._failures = 0
        self.state = BreakerState.CLOSED

    def failed(self, now_s: float, chance: float) -> None:
        """chance: uniform in [0, 1), spreads the probes of many distributors."""
        self._failures += 1
        probe_failed = self.state is BreakerState.PROBING
        if probe_failed or (self._failures_max and self._failures >= self._failures_max):
            self.state = BreakerState.OPEN
            self._open_until_s = now_s + self._cooldown_s * (1 - COOLDOWN_JITTER + 2 * COOLDOWN_JITTER * chance)
