"""The store-gateway as a running service."""

from __future__ import annotations

from mimir_rw.components.store_gateway.place import RingPlace
from mimir_rw.kit.service import Service


class StoreGatewayService(Service):
    def __init__(self, *, place: RingPlace) -> None:
        super().__init__("store-gateway")
        self._place = place
        self._active = False

    async def start_up(self) -> None:
        self.tasks.spawn(self._come(), name="store-gateway-ring")

    def readiness(self) -> str | None:
        return None if self._active else "finding out which blocks are its own"

    async def _come(self) -> None:
        await self._place.come(self._sync)
        self._active = True

    async def _sync(self) -> None:
        """Nothing to serve yet."""
