"""A member's life in a ring where nothing is lost when it goes: distributors, schedulers, exporters, store-gateways."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.service import Service
from mimir_rw.ring import membership
from mimir_rw.ring.desc import InstanceDesc, InstanceState
from mimir_rw.ring.entry import MembershipMetrics, RingEntry
from mimir_rw.ring.membership import Identity
from mimir_rw.ring.service import RingService
from mimir_rw.ring.tokens import TokenGenerator


@dataclass(frozen=True, slots=True)
class BasicLifecyclerSettings:
    heartbeat_period_s: float = 15.0
    forget_after_s: int = 600
    """Members without a heartbeat for so long are dropped from the ring; 0: never."""
    unregister_on_shutdown: bool = True
    """False: it stays in the ring, LEAVING."""
    initial_state: InstanceState = InstanceState.ACTIVE
    tokens_path: str = ""


class BasicLifecycler(Service):
    """Registers with all its tokens in the initial state, which whoever owns it changes from there (`change_state`)."""

    def __init__(
        self,
        *,
        ring: RingService,
        me: Identity,
        settings: BasicLifecyclerSettings,
        tokens: TokenGenerator,
        clock: Clock,
        offload: Offload,
        metrics: MembershipMetrics,
    ) -> None:
        super().__init__(f"{ring.ring_name}-lifecycler")
        self._me = me
        self._settings = settings
        self._generator = tokens
        self._entry = RingEntry(
            ring.ring_name,
            kv=ring.kv,
            key=ring.key,
            me=me,
            tokens_path=settings.tokens_path,
            clock=clock,
            offload=offload,
            metrics=metrics.member(ring.ring_name),
        )
        self._registered = False
        self.unregister_on_shutdown = settings.unregister_on_shutdown
        """May be changed while it runs."""

    @property
    def own(self) -> InstanceDesc:
        """The entry as it was last written."""
        return self._entry.own

    async def start_up(self) -> None:
        entry, settings = self._entry, self._settings
        known = await entry.read_file()
        await entry.apply_insisting(membership.register_in(self._me, self._generator, known, settings.initial_state))
        self._registered = True
        await entry.save_file()
        forget = settings.forget_after_s
        beat = membership.heartbeat_forgetting(forget) if forget else membership.heartbeat
        self.tasks.spawn(entry.beat(beat, settings.heartbeat_period_s), name=self.name)

    async def shut_down(self) -> None:
        entry = self._entry
        entry.end_beat()
        if self.unregister_on_shutdown:
            await entry.apply_if_possible(membership.leave, "the entry stays in the ring")
        elif self._registered:
            await entry.apply_if_possible(membership.change_state(InstanceState.LEAVING), "the ring does not know")

    def readiness(self) -> str | None:
        return self._entry.readiness()

    async def change_state(self, state: InstanceState) -> None:
        """Raises Unavailable."""
        await self._entry.apply(membership.change_state(state))

    async def set_read_only(self, read_only: bool) -> None:
        """Raises Unavailable."""
        await self._entry.apply(membership.set_read_only(read_only))
