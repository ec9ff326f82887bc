"""An ingester's life in its ring: it has data that others look for under its name (ring-and-gossip.md section 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.service import Service
from mimir_rw.ring import membership
from mimir_rw.ring.desc import InstanceDesc, InstanceState
from mimir_rw.ring.entry import MembershipMetrics, RingEntry
from mimir_rw.ring.membership import ALLOWED, Identity
from mimir_rw.ring.service import RingService
from mimir_rw.ring.tokens import TokenGenerator

WAIT_S = 1.0
JOIN_IN_ORDER_S = 300.0
"""How long to wait at most for the instance before this one; then it goes without."""


@dataclass(frozen=True, slots=True)
class LifecyclerSettings:
    heartbeat_period_s: float = 15.0
    join_after_s: float = 0.0
    observe_s: float = 0.0
    """0: tokens are not observed."""
    min_ready_s: float = 0.0
    final_sleep_s: float = 0.0
    unregister_on_shutdown: bool = True
    readiness_check_ring_health: bool = True
    tokens_path: str = ""


class Lifecycler(Service):
    """Started when the ingester can serve, it makes it ACTIVE; stopped, it says LEAVING, lets `flush` do its work, and
    then leaves the ring or, by choice, stays in it. Heartbeats go on until the end."""

    def __init__(
        self,
        *,
        ring: RingService,
        me: Identity,
        settings: LifecyclerSettings,
        tokens: TokenGenerator,
        flush: Callable[[], Awaitable[None]],
        told: Callable[[], Awaitable[None]],
        clock: Clock,
        offload: Offload,
        metrics: MembershipMetrics,
        departs: Callable[[], Awaitable[bool]] | None = None,
        read_only_first: Callable[[], bool] = lambda: False,
    ) -> None:
        """told: returns once the others have probably heard what was last written to the ring; bounded in time.
        departs: at a stop, before it is LEAVING; whether it may be taken out of the ring then. read_only_first: whether
        it takes no writes from its first moment on."""
        super().__init__(f"{ring.ring_name}-lifecycler")
        self._ring = ring
        self._me = me
        self._settings = settings
        self._generator = tokens
        self._flush = flush
        self._told = told
        self._departs = departs
        self._read_only_first = read_only_first
        self._clock = clock
        self._shutdown = metrics.shutdown
        self._entry = RingEntry(
            ring.ring_name,
            kv=ring.kv,
            key=ring.key,
            me=me,
            tokens_path=settings.tokens_path,
            clock=clock,
            offload=offload,
            metrics=metrics.ingester(ring.ring_name),
        )
        self.unregister_on_shutdown = settings.unregister_on_shutdown
        """May be changed while it runs."""
        self._registered = False
        self._left = False
        self._ready_since: float | None = None
        self._was_ready = False

    @property
    def own(self) -> InstanceDesc:
        """The entry as it was last written."""
        return self._entry.own

    async def start_up(self) -> None:
        entry, me = self._entry, self._me
        register = membership.register(me, self._generator, await entry.read_file())
        if self._read_only_first():
            register = membership.read_only_too(register)
        await entry.apply_insisting(register)
        self._registered = True
        self.tasks.spawn(entry.beat(membership.heartbeat, self._settings.heartbeat_period_s), name=self.name)
        if self.own.state is InstanceState.PENDING:
            await self._join()
        await entry.save_file()
        entry.log.info("in the ring", state=self.own.state.name, tokens=len(self.own.tokens))

    async def shut_down(self) -> None:
        entry, stays = self._entry, False
        if self._registered and not self._left:
            stays = self._departs is not None and not await self._departs()
        if self._left:
            await asyncio.sleep(self._settings.final_sleep_s)
            return
        if self._registered:
            leaving = membership.change_state(InstanceState.LEAVING)
            await entry.apply_if_possible(leaving, "the ring does not know that this instance leaves")
            await self._flush_timed()
            await entry.save_file()
        entry.end_beat()
        if self.unregister_on_shutdown and not stays:
            await entry.apply_if_possible(membership.leave, "the entry stays in the ring")
        await asyncio.sleep(self._settings.final_sleep_s)

    async def change_state(self, state: InstanceState) -> None:
        """Raises ValueError for a change that does not exist, Unavailable."""
        if self.own.state is not state and (self.own.state, state) not in ALLOWED:
            raise ValueError(f"no change from {self.own.state.name} to {state.name}")
        await self._entry.apply(membership.change_state(state))

    async def leave(self) -> None:
        """Leave the ring now, while the process goes on; it does not come back by itself. Raises Unavailable, and then
        may be called again."""
        entry = self._entry
        if self._left:
            return
        await entry.apply(membership.change_state(InstanceState.LEAVING))
        entry.end_beat()
        await entry.apply(membership.leave)
        self._left = True
        entry.log.info("left the ring")

    @property
    def unregisters_by_default(self) -> bool:
        return self._settings.unregister_on_shutdown

    @property
    def read_only_since_s(self) -> int:
        """Unix time; 0: it takes writes."""
        return self.own.read_only_updated_s if self.own.read_only else 0

    async def set_read_only(self, read_only: bool) -> None:
        """Raises Unavailable."""
        await self._entry.apply(membership.set_read_only(read_only))

    def readiness(self) -> str | None:
        """The ring's health counts until the instance was ready once: one that is restarted waits for the others, but
        those that run are not made unready by one that fails."""
        if self._left:
            return "this instance has left the ring"
        if self.own.state is not InstanceState.ACTIVE:
            return f"this instance is {self.own.state.name} in the ring"
        if (wrong := self._entry.readiness()) is not None:
            return wrong
        if self._was_ready:
            return None
        if self._settings.readiness_check_ring_health and (wrong := self._problem()) is not None:
            self._ready_since = None
            return (
                "found an existing instance(s) with a problem in the ring, this instance cannot become ready until "
                f"this problem is resolved. The /ring page shows the ring. {wrong}"
            )
        now = self._clock.monotonic()
        if self._ready_since is None:
            self._ready_since = now
        left_s = self._ready_since + self._settings.min_ready_s - now
        if left_s > 0:
            return f"waiting for {left_s:.0f}s after being ready"
        self._was_ready = True
        return None

    def _problem(self) -> str | None:
        """Foreign instances are the ring service's to tell of."""
        ours = self._ring.view().desc.without(i.id for i in self._ring.view().foreign)
        return membership.problem(ours, self._me.id, self._ring.settings.heartbeat_timeout_s, self._entry.now_s())

    async def _flush_timed(self) -> None:
        began, status = self._clock.monotonic(), "fail"
        try:
            await self._flush()
            status = "success"
        finally:
            took = self._clock.monotonic() - began
            self._shutdown.labels("flush", status, self._ring.ring_name).observe(took)

    async def _join(self) -> None:
        """From PENDING on. Whoever reads must know of this instance before whoever writes does: else samples go to
        instances of several zones that no query asks yet."""
        if len(self._ring.view().desc.without([self._me.id])):
            await self._told()
        await asyncio.sleep(self._settings.join_after_s)
        await self._wait_turn()
        observed = self._settings.observe_s > 0
        state = InstanceState.JOINING if observed else InstanceState.ACTIVE
        await self._entry.apply_insisting(membership.join(self._me, self._generator, state))
        while self.own.state is InstanceState.JOINING:
            await asyncio.sleep(self._settings.observe_s)
            await self._entry.apply_insisting(membership.settle(self._me, self._generator))

    async def _wait_turn(self) -> None:
        until = self._clock.monotonic() + JOIN_IN_ORDER_S
        while (reason := self._generator.must_wait(self._ring.view().desc)) is not None:
            if self._clock.monotonic() >= until:
                self._entry.log.warning("joining out of order", reason=reason)
                return
            await asyncio.sleep(WAIT_S)
