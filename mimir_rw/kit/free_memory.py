"""Gives memory that is free inside this process back to the system.

The allocator keeps what was freed, in an arena per thread, for the next who asks. After a large query that is most of
the resident memory. So the process looks at its resident size now and then, and when that has grown by much since the
last time, asks the allocator to return what nobody uses. Only glibc can; elsewhere nothing is done.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.kit.service import Service

_PERIOD_S = 1.0
_GROWTH_BYTES_MIN = 64 << 20


def resident_bytes() -> int:
    """Of this process; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def return_free_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class FreeMemory(Service):
    """Looks once a second while Running; the call itself runs in a thread."""

    def __init__(
        self,
        *,
        offload: Offload,
        metrics: Metrics,
        resident: Callable[[], int] = resident_bytes,
        give_back: Callable[[], None] = return_free_memory,
    ) -> None:
        super().__init__("free-memory")
        self._offload = offload
        self._resident = resident
        self._give_back = give_back
        self._returned = metrics.counter(
            "cortex_memory_returns_total", "How often free memory of the process was given back to the system."
        )

    async def start_up(self) -> None:
        self.tasks.spawn(self._watch(), name="free-memory")

    async def _watch(self) -> None:
        low = self._resident()
        while True:
            await asyncio.sleep(_PERIOD_S)
            low = min(low, self._resident())
            if self._resident() - low < _GROWTH_BYTES_MIN:
                continue
            try:
                await self._offload.run(self._give_back)
            except OffloadFull:
                continue
            self._returned.inc()
            low = self._resident()
