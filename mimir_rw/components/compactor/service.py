"""The compactor as a running service."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.service import Service
from mimir_rw.ring.service import RingService
from mimir_rw.ring.stability import wait_stable


@dataclass(frozen=True, slots=True)
class CompactorSettings:
    ring_stable_s: float
    """How long the ring must rest before work is looked for, and the longest wait for that."""
    ring_stable_s_max: float


class Compactor(Service):
    def __init__(self, *, ring: RingService, settings: CompactorSettings) -> None:
        super().__init__("compactor")
        self._ring = ring
        self._settings = settings
        self._log = get_logger(component="compactor")

    async def start_up(self) -> None:
        self.tasks.spawn(self._work(), name="compactor")

    async def _work(self) -> None:
        settings = self._settings
        if not await wait_stable(self._ring, min_s=settings.ring_stable_s, max_s=settings.ring_stable_s_max):
            self._log.warning("the ring of compactors keeps changing; looking for work all the same")
