"""Exponential backoff with jitter, as a pure sequence of delays."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.kit.rng import Rng


@dataclass(frozen=True, slots=True)
class BackoffSpec:
    """Delays grow from min_s by doubling up to max_s. retries_max 0 means without end."""

    min_s: float = 0.1
    max_s: float = 10.0
    retries_max: int = 10


class Backoff:
    """Counts the tries of one operation. Not shared between operations."""

    __slots__ = ("_rng", "_spec", "tries")

    def __init__(self, *, spec: BackoffSpec, rng: Rng) -> None:
        self._spec = spec
        self._rng = rng
        self.tries = 0

    @property
    def ongoing(self) -> bool:
        """False once every retry is used up."""
        return self._spec.retries_max == 0 or self.tries < self._spec.retries_max

    def next_delay_s(self) -> float:
        """Seconds to wait before the next try: uniform between half of the current ceiling and all of it."""
        # The exponent is capped only to keep the power in range; max_s binds long before.
        ceiling = min(self._spec.max_s, self._spec.min_s * 2.0 ** min(self.tries, 60))
        self.tries += 1
        return ceiling * (0.5 + 0.5 * self._rng.random())

    def reset(self) -> None:
        self.tries = 0
