"""What only ingesters have, however old it is: asked of them, because settings can only guess.

Most samples are in the bucket hours before ingesters are not asked for them any more. But one that came late, or whose
ingester was down for half a day, may be in a head still; so ingesters tell the oldest time of which they, and no block,
may have a sample, and are asked for everything from there on. What they told is held on to until a block that was
shipped since is sure to be in the index. On the event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.tasks import TaskSupervisor, together
from mimir_rw.model.errors import MimirError

LOOK_S = 15.0
ANSWER_S = 5.0


class Holder(Protocol):
    """An ingester."""

    async def only_here(self) -> Mapping[str, int]: ...


class Unshipped:
    def __init__(self, *, holders: Callable[[], Sequence[Holder]], keep_s: float, clock: Clock) -> None:
        """holders: those to ask now. keep_s: how long what was told is held on to."""
        self._holders = holders
        self._keep_s = keep_s
        self._clock = clock
        self._told: dict[str, dict[int, float]] = {}
        """By tenant: when a time was last told."""
        self._log = get_logger(component="querier")

    def oldest_ms(self, tenant: str) -> int | None:
        """From when on ingesters may have samples that no block has; None: nobody has said so."""
        now_s = self._clock.monotonic()
        return min(
            (time for time, told_s in self._told.get(tenant, {}).items() if now_s - told_s < self._keep_s), default=None
        )

    async def look(self) -> None:
        """Ask all of them."""
        answers = await together(self._ask(holder) for holder in self._holders())
        now_s = self._clock.monotonic()
        for tenant, times in list(self._told.items()):
            kept = {time: told_s for time, told_s in times.items() if now_s - told_s < self._keep_s}
            self._told[tenant] = kept
            if not kept:
                del self._told[tenant]
        for answer in answers:
            for tenant, time in answer.items():
                self._told.setdefault(tenant, {})[time] = now_s

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    def start(self, tasks: TaskSupervisor) -> None:
        tasks.spawn(self.run(), name="what ingesters have not shipped", traced=False)

    async def _ask(self, holder: Holder) -> Mapping[str, int]:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await holder.only_here()
        except (MimirError, TimeoutError) as error:
            self._log.debug("an ingester does not say what only it has", err=str(error))
            return {}
