"""Keeps a view of a ring up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.metrics import Metrics, Reading
from mimir_rw.kit.service import Service
from mimir_rw.kv.contract import KV
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.desc import EMPTY, InstanceDesc, InstanceState, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import RingView, empty_view, ring_view

RETRY_S = 1.0
UNHEALTHY = "Unhealthy"


class RingService(Service):
    """Watches a key; `view` is the ring as it was last heard of. Lives on the main loop."""

    def __init__(
        self, name: str, *, kv: KV[RingDesc], key: str, settings: RingSettings, clock: Clock, metrics: RingMetrics
    ) -> None:
        """name: of the ring, as metrics and pages show it: `ingester`. key: in the store, `ring`."""
        super().__init__(f"{name}-ring")
        self.ring_name = name
        self.key = key
        self.kv = kv
        self.settings = settings
        self._clock = clock
        self._log: Logger = get_logger(component="ring", ring=name)
        self._view = empty_view(settings)
        self._watchers: list[Callable[[RingView], None]] = []
        metrics.watch(self)

    def view(self) -> RingView:
        return self._view

    def now_s(self) -> int:
        return self._clock.now_ms() // 1000

    def watch(self, watcher: Callable[[RingView], None]) -> Callable[[], None]:
        """Call `watcher` with each new view, heartbeats too (`view.topology` is the same then). What is returned ends
        it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    async def forget(self, id: str) -> None:
        """Take an instance out of the ring, whatever state it is in; one that lives comes back with its next heartbeat.
        Raises Unavailable."""

        def change(ring: RingDesc | None) -> RingDesc | None:
            return ring.without([id]) if ring is not None and id in ring else None

        await self.kv.cas(self.key, change)
        self._log.info("instance forgotten", instance=id)

    async def start_up(self) -> None:
        """Running once the ring was read, empty or not."""
        while True:
            try:
                self._replace(await self.kv.get(self.key) or EMPTY)
                break
            except Unavailable as error:
                self._log.warning("the ring cannot be read yet", err=str(error))
                await asyncio.sleep(RETRY_S)
        self.tasks.spawn(self._watch(), name=self.name)

    def readiness(self) -> str | None:
        foreign = self._view.foreign
        if not foreign:
            return None
        first = foreign[0]
        return (
            f"{len(foreign)} foreign instance(s) in the ring, the first is {first.id} ({first.addr}): another cluster "
            "gossips with this one; give this one a label of its own (-memberlist.cluster-label) and forget them"
        )

    async def _watch(self) -> None:
        while True:
            try:
                async for desc in self.kv.watch(self.key):
                    self._replace(desc)
            except Unavailable as error:
                self._log.warning("the ring cannot be watched", err=str(error))
            await asyncio.sleep(RETRY_S)

    def _replace(self, desc: RingDesc) -> None:
        self._view = ring_view(desc, self.settings, self._view)
        for watcher in tuple(self._watchers):
            watcher(self._view)


class RingMetrics:
    """dskit's metrics of all rings of the process, read from their views at each scrape."""

    def __init__(self, *, metrics: Metrics, clock: Clock) -> None:
        self._clock = clock
        self._rings: list[RingService] = []
        metrics.gauges_read("cortex_ring_members", "Number of members in the ring.", ("name", "state"), self._members)
        metrics.gauges_read(
            "cortex_ring_oldest_member_timestamp",
            "Timestamp of the oldest member in the ring.",
            ("name", "state"),
            self._oldest,
        )
        metrics.gauges_read("cortex_ring_tokens_total", "Number of tokens in the ring.", ("name",), self._tokens)
        metrics.gauges_read(
            "mimir_rw_ring_foreign_members",
            "Instances of another kind or cluster in the ring.",
            ("name",),
            self._foreign,
        )
        metrics.gauges_read(
            "mimir_rw_ring_cached_shards",
            "Shards of tenants remembered since the ring last changed.",
            ("name",),
            self._cached_shards,
        )

    def watch(self, ring: RingService) -> None:
        self._rings.append(ring)

    def _members(self) -> Reading:
        for ring, by_state in self._by_state():
            for state, members in by_state.items():
                yield (ring, state), len(members)

    def _oldest(self) -> Reading:
        for ring, by_state in self._by_state():
            for state, members in by_state.items():
                yield (ring, state), min((member.timestamp_s for member in members), default=0)

    def _tokens(self) -> Reading:
        for ring in self._rings:
            yield (ring.ring_name,), sum(len(member.tokens) for member in ring.view().desc.values())

    def _foreign(self) -> Reading:
        for ring in self._rings:
            yield (ring.ring_name,), len(ring.view().foreign)

    def _cached_shards(self) -> Reading:
        for ring in self._rings:
            yield (ring.ring_name,), ring.view().topology.shards_kept

    def _by_state(self) -> list[tuple[str, dict[str, list[InstanceDesc]]]]:
        now_s = self._clock.now_ms() // 1000
        found = []
        for ring in self._rings:
            by_state: dict[str, list[InstanceDesc]] = {
                state.name: [] for state in InstanceState if state is not InstanceState.LEFT
            }
            by_state[UNHEALTHY] = []
            for member in ring.view().desc.values():
                by_state.setdefault(state_text(member, ring.settings.heartbeat_timeout_s, now_s), []).append(member)
            found.append((ring.ring_name, by_state))
        return found


def state_text(member: InstanceDesc, heartbeat_timeout_s: int, now_s: int) -> str:
    """Its state, or Unhealthy when its heartbeat is too old."""
    return member.state.name if member.heartbeat_ok(heartbeat_timeout_s, now_s) else UNHEALTHY
