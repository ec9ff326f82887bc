"""Waiting for a ring to come to rest, so that a start of many instances does not hand the same work around."""

from __future__ import annotations

import asyncio

from mimir_rw.ring.service import RingService

_LOOK_S = 0.2


async def wait_stable(ring: RingService, *, min_s: float, max_s: float) -> bool:
    """Return once nobody has come, gone or changed state for min_s; False when that was not so within max_s.

    Heartbeats do not count. min_s 0 does not wait.
    """
    loop = asyncio.get_running_loop()
    begin = since = loop.time()
    topology = ring.view().topology
    while (now := loop.time()) - since < min_s:
        if now - begin >= max_s:
            return False
        await asyncio.sleep(_LOOK_S)
        if ring.view().topology is not topology:
            topology, since = ring.view().topology, loop.time()
    return True
