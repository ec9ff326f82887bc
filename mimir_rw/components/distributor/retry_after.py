"""The Retry-After rule of the push API."""

from __future__ import annotations

from mimir_rw.components.distributor.core import retry_after_s
from mimir_rw.config.tree import RetryAfterConfig
from mimir_rw.kit.rng import Rng

_RATE_LIMITED = (429, 529)


class RetryAfter:
    """Says how long a sender should wait after an answer that a later try may improve."""

    def __init__(self, *, config: RetryAfterConfig, rng: Rng) -> None:
        self._config = config
        self._rng = rng

    def __call__(self, status: int, attempt: int) -> int | None:
        """Seconds after the attempt-th try (as the sender's Retry-Attempt counts) ended in `status`; None for no
        header."""
        if not self._config.enabled or (status < 500 and status not in _RATE_LIMITED):
            return None
        return retry_after_s(
            attempt,
            backoff_s_min=self._config.min_backoff / 1000,
            backoff_s_max=self._config.max_backoff / 1000,
            chance=self._rng.random(),
        )
