"""Whether pushes come to this distributor, which the others must know: tenants' rates are divided by those that work.

JOINING ──first push──► ACTIVE ──15 s without one──► PENDING ──push──► ACTIVE
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from mimir_rw.kit.clock import Clock
from mimir_rw.ring.desc import InstanceState
from mimir_rw.ring.operations import WRITE_NO_EXTEND
from mimir_rw.ring.view import RingView

QUIET_S = 15.0
"""Once the gateway has dropped three of six distributors, each of the others gets a third of a tenant's samples but
still passes a sixth of its rate. The burst, by default four seconds of the rate, makes up for that for 24 s at most:
the three must have said before that they are idle."""


class Traffic:
    """Pure state of the event loop."""

    __slots__ = ("_pushed_s",)

    def __init__(self) -> None:
        self._pushed_s: float | None = None

    def pushed(self, now_s: float) -> None:
        self._pushed_s = now_s

    def state(self, now_s: float) -> InstanceState:
        """What this distributor should be in the ring. now_s: on the monotonic clock."""
        if self._pushed_s is None:
            return InstanceState.JOINING
        return InstanceState.ACTIVE if now_s - self._pushed_s < QUIET_S else InstanceState.PENDING


class Peers(Protocol):
    """The distributors that a tenant's rates are divided by."""

    def count(self) -> int:
        """How many take traffic; this one, which asks because of a push, always does."""
        ...

    async def announce(self, state: InstanceState) -> None:
        """Show the others what this one does. Raises Unavailable."""
        ...


class RingPeers:
    """By the distributors' ring."""

    def __init__(
        self,
        *,
        view: Callable[[], RingView],
        instance_id: str,
        announce: Callable[[InstanceState], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._view = view
        self._id = instance_id
        self._announce = announce
        self._clock = clock
        self._counted_s = 0
        self._count = 1

    def count(self) -> int:
        """See `Peers`. This one counts whatever the ring says of it yet; counted once a second."""
        now_s = self._clock.now_ms() // 1000
        if now_s != self._counted_s:
            active = self._view().healthy_instances(WRITE_NO_EXTEND, now_s=now_s)
            self._count = len({instance.id for instance in active} | {self._id})
            self._counted_s = now_s
        return self._count

    async def announce(self, state: InstanceState) -> None:
        """See `Peers`."""
        await self._announce(state)
