"""How a store-gateway comes into its ring.

    JOINING ──the ring stays the same──► first sync ──► ACTIVE

JOINING, it owns blocks already, so that it finds out which before anybody asks it for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.service import ServiceState
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.desc import InstanceState
from mimir_rw.ring.view import RingView

RETRY_S = 1.0
LOOK_S = 1.0


class Lifecycler(Protocol):
    """What `ring.basic_lifecycler.BasicLifecycler` is here."""

    unregister_on_shutdown: bool

    async def wait_state(self, *states: ServiceState) -> ServiceState: ...

    async def change_state(self, state: InstanceState) -> None: ...


class RingPlace:
    """This process's entry in the store-gateways' ring."""

    def __init__(
        self,
        *,
        lifecycler: Callable[[], Lifecycler],
        view: Callable[[], RingView],
        stable_s: float,
        stable_wait_s: float,
        unregisters_by_default: bool,
        clock: Clock,
    ) -> None:
        """lifecycler: made after this. stable_s: how long the ring must have been the same, which is waited for at most
        stable_wait_s; 0: it need not."""
        self.lifecycler = lifecycler
        self.unregisters_by_default = unregisters_by_default
        """Whether it leaves the ring at a stop, as configured."""
        self._view = view
        self._stable_s = stable_s
        self._stable_wait_s = stable_wait_s
        self._clock = clock
        self._log = get_logger(component="store-gateway")

    async def come(self, sync: Callable[[], Awaitable[None]]) -> None:
        """Return once ACTIVE. sync: what has to be done before it."""
        if await self.lifecycler().wait_state(ServiceState.RUNNING) is not ServiceState.RUNNING:
            return
        if self._stable_s:
            await self._stable()
        await sync()
        while True:
            try:
                await self.lifecycler().change_state(InstanceState.ACTIVE)
                return
            except Unavailable as error:
                self._log.warning("the ring cannot be told yet", err=str(error))
                await asyncio.sleep(RETRY_S)

    async def _stable(self) -> None:
        """Wait until nobody has come or gone for a while. Each instance that comes while others read its blocks makes
        those read some of them in vain."""
        topology = self._view().topology
        began = since = self._clock.monotonic()
        while (now := self._clock.monotonic()) - since < self._stable_s and now - began < self._stable_wait_s:
            await asyncio.sleep(min(LOOK_S, self._stable_s))
            if self._view().topology is not topology:
                topology, since = self._view().topology, self._clock.monotonic()
