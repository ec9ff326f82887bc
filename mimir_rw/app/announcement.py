"""The last step of a start: what this process has written into rings is on its way to the others.

Until then the others do not know that it is back. Were it ready before, whoever restarts one process after the other
would go on to the next one while some still count on that one alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mimir_rw.kit.service import Service


class Announcement(Service):
    """Running once `told` has returned; it is bounded in time by itself."""

    def __init__(self, *, told: Callable[[], Awaitable[None]]) -> None:
        super().__init__("announcement")
        self._told = told

    async def start_up(self) -> None:
        await self._told()
