"""A cluster of nothing but gossip under faults: everyone comes to know the living members and the same values.

Nine nodes in three zones keep one ring: each registers itself and beats its heart there, by compare-and-swap. A zone at
a time is disturbed. After each disturbance, within a bound, all nodes see exactly the living as members; once the
hearts stand still, all nodes hold the same ring, and in it the last that each instance is known to have written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.service import Service, ServiceSet
from mimir_rw.kv.contract import KV
from mimir_rw.kv.memberlist.messages import NodeState
from mimir_rw.kv.memberlist.service import MemberlistService
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.codec import RING_CODEC
from mimir_rw.ring.desc import EMPTY, InstanceDesc, InstanceState, RingDesc
from mimir_rw.testing.nemesis import Nemesis
from mimir_rw.testing.node import Node
from mimir_rw.testing.process import SimProcess
from mimir_rw.testing.simulation import Simulation

LASTS_S = 600.0
ZONES = ("zone-a", "zone-b", "zone-c")
NODES_PER_ZONE = 3
SEEDS = "gossip-seeds"
KEY = "collectors/ring"
HEARTBEAT_S = 15.0
MEMBERS_AGREE_S = 180.0
"""The longest suspicion of a small cluster is two minutes; a node that was cut off finds back by rejoining."""
VALUES_AGREE_S = 60.0
_TOKENS = 16


class Heart(Service):
    """Registers this node's instance and keeps its heartbeat going."""

    def __init__(self, *, name: str, zone: str, kv: KV[RingDesc], clock: Clock, tokens: tuple[int, ...]) -> None:
        super().__init__("heart")
        self.written_s = 0
        """Heartbeat of the last write that was accepted."""
        self.beating = True
        self._me = InstanceDesc(id=name, addr=name, zone=zone, state=InstanceState.ACTIVE, tokens=tokens)
        self._kv = kv
        self._clock = clock

    async def start_up(self) -> None:
        self.tasks.spawn(self._beat(), name="heart")

    async def _beat(self) -> None:
        while True:
            if self.beating:
                await self._write()
            await asyncio.sleep(HEARTBEAT_S)

    async def _write(self) -> None:
        written = self._me

        def change(ring: RingDesc | None) -> RingDesc:
            nonlocal written
            written = replace(self._me, timestamp_s=self._clock.now_ms() // 1000)
            return (ring or EMPTY).with_instance(written)

        try:
            await self._kv.cas(KEY, change)
        except Unavailable:
            return  # its clock was set back: the time will come again
        self.written_s = max(self.written_s, written.timestamp_s)


@dataclass(frozen=True, slots=True)
class Parts:
    services: ServiceSet
    memberlist: MemberlistService
    heart: Heart


class GossipRun:
    def __init__(self, sim: Simulation, settings: MemberlistSettings) -> None:
        self.sim = sim
        self.settings = settings
        self.complaints: list[str] = []
        self.nodes = [self._node(f"{zone}-{n}", zone) for zone in ZONES for n in range(NODES_PER_ZONE)]
        sim.network.add_name(SEEDS, [node.host for node in self.nodes[::NODES_PER_ZONE]])

    def _node(self, name: str, zone: str) -> Node[Parts]:
        network = self.sim.network
        return Node(
            network=network,
            host=network.add_host(name, zone=zone),
            build=self._build,
            services=lambda parts: parts.services,
        )

    def _build(self, process: SimProcess) -> Parts:
        host, rng = process.host, self.sim.rng(process.name)
        clock = self.sim.clock_of(host)
        memberlist = MemberlistService(
            settings=replace(self.settings, advertise_addr=host.address),
            codecs=[RING_CODEC],
            clock=clock,
            rng=rng,
            metrics=Metrics(),
            hostname=host.name,
            inline=True,
        )
        tokens = self.sim.rng(host.name).sample(range(1 << 32), _TOKENS)
        heart = Heart(
            name=host.name, zone=host.zone, kv=memberlist.kv(RING_CODEC), clock=clock, tokens=tuple(sorted(tokens))
        )
        return Parts(ServiceSet([memberlist, heart], {"heart": ["memberlist-kv"]}), memberlist, heart)

    def groups(self) -> dict[str, list[Node[Parts]]]:
        return {zone: [node for node in self.nodes if node.host.zone == zone] for zone in ZONES}

    async def members_agree(self) -> None:
        """Wait until every node sees exactly the living ones as members; complain if it takes too long."""
        await self._agree("members", self._members_apart, MEMBERS_AGREE_S)

    async def values_agree(self) -> None:
        for node in self.nodes:
            node.parts.heart.beating = False
        await self._agree("values", self._values_apart, VALUES_AGREE_S)

    async def _agree(self, what: str, apart: Callable[[], str | None], bound_s: float) -> None:
        begun_s = self.sim.loop.time()
        while (reason := apart()) is not None:
            if self.sim.loop.time() - begun_s > bound_s:
                self.complaints.append(f"{what} differ {bound_s:.0f} s after the last disturbance: {reason}")
                return
            await asyncio.sleep(1.0)

    def _members_apart(self) -> str | None:
        names = sorted(_member_name(node) for node in self.nodes if _started(node))
        if len(names) < len(self.nodes):
            return "not all run"
        for node in self.nodes:
            known = node.parts.memberlist.node
            assert known is not None
            alive = sorted(name for name, m in known.members.members.items() if m.state is NodeState.ALIVE)
            if alive != names:
                missing, extra = sorted({*names} - {*alive}), sorted({*alive} - {*names})
                return f"{node.name} misses {missing} and believes in {extra}"
        return None

    def _values_apart(self) -> str | None:
        rings = [node.parts.memberlist.store.visible(KEY)[0] or EMPTY for node in self.nodes]
        for node, ring in zip(self.nodes, rings, strict=True):
            if ring != rings[0]:
                ids = sorted(id for id in {*ring, *rings[0]} if ring.get(id) != rings[0].get(id))
                return f"{node.name} and {self.nodes[0].name} hold different {ids}"
            written_s, there = node.parts.heart.written_s, ring.get(node.name)
            if there is None or there.timestamp_s < written_s or len(there.tokens) != _TOKENS:
                return f"the ring has {there} for {node.name}, which wrote {written_s}"
        return None


def _started(node: Node[Parts]) -> bool:
    return node.not_ready() is None and node.parts.memberlist.node is not None


def _member_name(node: Node[Parts]) -> str:
    assert node.parts.memberlist.node is not None
    return node.parts.memberlist.node.members.name


async def run(sim: Simulation, directory: Path, settings: MemberlistSettings | None = None) -> list[str]:
    # Packing takes most of a run's time in a node written in Python: a few seeds do it.
    default = MemberlistSettings(
        join_members=(SEEDS,), rejoin_interval_s=30.0, leave_timeout_s=5.0, compression_enabled=sim.seed % 10 == 0
    )
    this = GossipRun(sim, settings or default)
    for node in this.nodes:
        node.start()
    await this.members_agree()
    nemesis = Nemesis(
        network=sim.network, rng=sim.rng("nemesis"), groups=this.groups(), whole=this.members_agree
    )  # fmt: skip
    await nemesis.run(sim.loop.time() + LASTS_S)
    await this.values_agree()
    failures = [node.failure for node in this.nodes if node.failure is not None]
    return [*this.complaints, *failures]
