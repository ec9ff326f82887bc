"""The shell around an instance's own entry: steps are carried out one after another, and the store is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.metrics import Counter, Gauge, Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kv.contract import KV
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.desc import EMPTY, InstanceDesc, RingDesc
from mimir_rw.ring.membership import Identity, Step, nobody
from mimir_rw.ring.token_file import TokenFileDamaged, read_tokens, write_tokens

RETRY_S = 1.0
_AHEAD_WARNED_S = 10


@dataclass(frozen=True, slots=True)
class EntryMetrics:
    """Of one own entry."""

    heartbeats: Counter
    heartbeats_failed: Counter
    tokens_owned: Gauge
    tokens_to_own: Gauge


class MembershipMetrics:
    """dskit's metrics of own entries, of all rings of the process. Ingesters have names of their own."""

    def __init__(self, metrics: Metrics) -> None:
        owned, to_own = "The number of tokens owned in the ring.", "The number of tokens to own in the ring."
        sent, name = "The total number of heartbeats sent.", ("name",)
        self._heartbeats = metrics.counters("cortex_ring_member_heartbeats_total", sent, name)
        self._ingester_heartbeats = metrics.counters("cortex_member_consul_heartbeats_total", sent, name)
        self._heartbeats_failed = metrics.counters(
            "mimir_rw_ring_member_heartbeat_failures_total", "Heartbeats that the ring's store did not take.", name
        )
        self._tokens_owned = metrics.gauges("cortex_ring_member_tokens_owned", owned, name)
        self._ingester_tokens_owned = metrics.gauges("cortex_member_ring_tokens_owned", owned, name)
        self._tokens_to_own = metrics.gauges("cortex_ring_member_tokens_to_own", to_own, name)
        self._ingester_tokens_to_own = metrics.gauges("cortex_member_ring_tokens_to_own", to_own, name)
        self.shutdown = metrics.histograms(
            "cortex_shutdown_duration_seconds",
            "Duration (in seconds) of shutdown procedure (ie transfer or flush).",
            ("op", "status", "name"),
            tuple(10.0 * 2**n for n in range(8)),
        )

    def member(self, ring_name: str) -> EntryMetrics:
        return EntryMetrics(
            self._heartbeats.labels(ring_name),
            self._heartbeats_failed.labels(ring_name),
            self._tokens_owned.labels(ring_name),
            self._tokens_to_own.labels(ring_name),
        )

    def ingester(self, ring_name: str) -> EntryMetrics:
        return EntryMetrics(
            self._ingester_heartbeats.labels(ring_name),
            self._heartbeats_failed.labels(ring_name),
            self._ingester_tokens_owned.labels(ring_name),
            self._ingester_tokens_to_own.labels(ring_name),
        )


class RingEntry:
    """`own` is what was last written. One task at a time changes it: a heartbeat must not undo a change of state."""

    def __init__(
        self,
        ring_name: str,
        *,
        kv: KV[RingDesc],
        key: str,
        me: Identity,
        tokens_path: str,
        clock: Clock,
        offload: Offload,
        metrics: EntryMetrics,
    ) -> None:
        """tokens_path: "" keeps tokens nowhere."""
        self._kv = kv
        self._key = key
        self._clock = clock
        self._offload = offload
        self._tokens_path = tokens_path
        self._on_disk: tuple[int, ...] | None = None
        self._lock = asyncio.Lock()
        self._beaten = False
        self.log: Logger = get_logger(component="lifecycler", ring=ring_name, instance=me.id)
        self.own: InstanceDesc = nobody(me)
        self.ring: RingDesc = EMPTY
        """As it was when last written to."""
        self._rival = ""
        """Address of another process that has overwritten the entry since it was written last."""
        self._metrics = metrics
        metrics.tokens_to_own.set(me.tokens_count)

    def now_s(self) -> int:
        return self._clock.now_ms() // 1000

    async def apply(self, step: Step) -> None:
        """Carry out a step. Raises Unavailable when the store cannot be written to."""
        async with self._lock:
            outcome: list[tuple[InstanceDesc, RingDesc]] = []

            def change(ring: RingDesc | None) -> RingDesc | None:
                before = EMPTY if ring is None else ring
                self._look_for_rival(before)
                own, stored = step(before, self.own, self.now_s())
                outcome[:] = [(own, before if stored is None else stored)]
                return stored

            await self._kv.cas(self._key, change)
            self.own, self.ring = outcome[0]
        self._metrics.tokens_owned.set(len(self.own.tokens))
        ahead_s = self.own.timestamp_s - self.now_s()
        if ahead_s > _AHEAD_WARNED_S:
            self.log.warning("an earlier heartbeat is ahead of this machine's clock", seconds=ahead_s)

    def readiness(self) -> str | None:
        """One entry for two processes: what is written to it goes to either, and what is read from it is a part."""
        if not self._rival:
            return None
        return (
            f"another process, at {self._rival}, has this instance's id ({self.own.id}): give each its own "
            "(-common.instance-id)"
        )

    def _look_for_rival(self, ring: RingDesc) -> None:
        """Once this process has written its address, only another one writes a different address."""
        known = ring.get(self.own.id)
        written = self.own.timestamp_s > 0
        rival = known.addr if written and known is not None and known.addr != self.own.addr else ""
        if rival and rival != self._rival:
            self.log.warning("another process has this instance's id", addr=self.own.addr, other=rival)
        self._rival = rival

    async def apply_insisting(self, step: Step) -> None:
        """Carry out a step as soon as the store can be written to."""
        while True:
            try:
                await self.apply(step)
                return
            except Unavailable as error:
                self.log.warning("the ring cannot be written to yet", err=str(error))
            await asyncio.sleep(RETRY_S)

    async def apply_if_possible(self, step: Step, what: str) -> bool:
        """On the way out: a store that cannot be written to keeps nobody from stopping."""
        try:
            await self.apply(step)
        except Unavailable as error:
            self.log.warning(what, err=str(error))
            return False
        return True

    async def beat(self, step: Step, period_s: float) -> None:
        """Heartbeats until `end_beat`; one that fails is counted, and followed by the next. period_s 0: none."""
        while period_s > 0:
            await asyncio.sleep(period_s)
            if self._beaten:
                return
            if await self.apply_if_possible(step, "heartbeat failed"):
                self._metrics.heartbeats.inc()
            else:
                self._metrics.heartbeats_failed.inc()

    def end_beat(self) -> None:
        """No heartbeat begins from now on: it would bring back an entry that has left."""
        self._beaten = True

    async def read_file(self) -> tuple[int, ...]:
        """Tokens of an earlier life; none when they cannot be read."""
        if not self._tokens_path:
            return ()
        try:
            return await self._offload.run(read_tokens, self._tokens_path)
        except (OSError, TokenFileDamaged) as error:
            self.log.error("tokens cannot be read, new ones are taken", err=str(error))
            return ()

    async def save_file(self) -> None:
        """Keep the tokens for the next life."""
        tokens = self.own.tokens
        if not self._tokens_path or tokens == self._on_disk:
            return
        try:
            await self._offload.run(write_tokens, self._tokens_path, tokens)
            self._on_disk = tokens
        except OSError as error:
            self.log.error("tokens cannot be kept", err=str(error))
