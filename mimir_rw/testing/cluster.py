"""A whole cluster in one loop: the very processes that `app` builds, on simulated hosts.

Three write and three backend processes in zones a, b and c, and two read processes, find each other by gossip. Given to
each process: a clock of its host, chance and secrets from the seed, work that others do in threads done at once, and a
door where the HTTP server would be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mimir_rw.app.build.world import World
from mimir_rw.app.identity import Machine
from mimir_rw.app.modules import checked_components
from mimir_rw.app.wiring import Process
from mimir_rw.components.distributor.service import DistributorService
from mimir_rw.components.query_frontend.service import QueryFrontendService
from mimir_rw.config.flags import parse_arguments
from mimir_rw.config.load import load_arguments, read_bytes, settings_by_flag
from mimir_rw.config.tree import Config
from mimir_rw.kit.host import InterfaceAddress
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.service import Service, ServiceSet
from mimir_rw.objstore.contract import Bucket
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.ring.desc import InstanceState, RingDesc
from mimir_rw.rpc.contracts.query import InstantQuery, RangeQuery
from mimir_rw.testing.gateway import Door, Handler
from mimir_rw.testing.node import Node
from mimir_rw.testing.object_store import ObjectStore
from mimir_rw.testing.process import SimProcess
from mimir_rw.testing.simulation import Simulation

ZONES = ("zone-a", "zone-b", "zone-c")
READERS = 2
SEEDS = "gossip"
WHOLE_S = 240.0
"""What the cluster may take to be whole again once nothing is wrong any more."""

_FLAGS = (
    f"-memberlist.join={SEEDS}",
    "-memberlist.rejoin-interval=30s",
    "-memberlist.compression-enabled=false",
    "-ingester.ring.zone-awareness-enabled=true",
    "-store-gateway.sharding-ring.zone-awareness-enabled=true",
)


_MEASURING = ("event-loop-lag", "free-memory")


class _SimulatedProcess(Process):
    """Without what measures the machine."""

    def _builders(self) -> Mapping[str, Callable[[], Service]]:
        return {name: build for name, build in super()._builders().items() if name not in _MEASURING}


@dataclass(frozen=True, slots=True)
class Parts:
    process: Process
    services: ServiceSet
    handlers: dict[str, Handler] = field(default_factory=dict)


ClusterNode = Node[Parts]


class Cluster:
    def __init__(
        self, sim: Simulation, directory: Path, *, flags: Sequence[str] = (), store: ObjectStore | None = None
    ) -> None:
        """directory: data of the processes. flags: of all processes, beside those that make a simulated cluster.
        store: object storage; None: one in which nothing ever goes wrong."""
        self.sim = sim
        self.complaints: list[str] = []
        self.store = store
        self._directory = directory
        self._flags = (*_FLAGS, *flags)
        self.bucket: Bucket = MemoryBucket(clock=sim.clock)
        """Object storage of all processes; it outlives them."""
        self.write = [self._node(f"write-{zone[-1]}-0", "write", zone) for zone in ZONES]
        self.backend = [self._node(f"backend-{zone[-1]}", "backend", zone) for zone in ZONES]
        self.read = [self._node(f"read-{number}", "read", "") for number in range(1, READERS + 1)]
        self.nodes = [*self.write, *self.backend, *self.read]
        sim.network.add_name(SEEDS, [node.host for node in self.nodes])

    def _node(self, name: str, target: str, zone: str) -> ClusterNode:
        network = self.sim.network
        host = network.add_host(name, zone=zone, directory=self._directory / name)
        return Node(
            network=network,
            host=host,
            build=lambda process: self._build(process, target),
            services=lambda parts: parts.services,
        )

    def _config(self, process: SimProcess, target: str) -> Config:
        """In one seed of four the first processes speak the protocol before this one, and those after them this one."""
        host = process.host
        flags = [
            *self._flags,
            f"-target={target}",
            f"-blocks-storage.tsdb.dir={host.directory}/tsdb",
            f"-compactor.data-dir={host.directory}/compactor",
            f"-blocks-storage.bucket-store.sync-dir={host.directory}/tsdb-sync",
        ]
        if host.zone:
            flags.append(f"-common.instance-availability-zone={host.zone}")
        if self.sim.seed % 4 == 0 and process.number <= len(self.nodes):
            flags.append("-server.rpc-protocol-max=1")
        if target == "write":
            flags.append(f"-ingester.ring.tokens-file-path={host.directory}/tokens")
        loaded = load_arguments(parse_arguments(flags, settings_by_flag()), environment={}, read=read_bytes)
        return loaded.config

    def _build(self, process: SimProcess, target: str) -> Parts:
        host, rng = process.host, self.sim.rng(process.name)
        assert host.directory is not None
        host.directory.mkdir(parents=True, exist_ok=True)
        config = self._config(process, target)
        world = World(
            clock=self.sim.clock_of(host),
            rng=rng,
            offload=InlineOffload(),
            secret=self.sim.rng(f"secrets of {process.name}").randbytes,
            machine=Machine(host.name, (InterfaceAddress("eth0", host.address),)),
            one_loop=True,
            bucket=self.bucket if self.store is None else self.store.seen_by(process),
        )
        handlers: dict[str, Handler] = {}
        door = Door(handlers)
        made = _SimulatedProcess(config=config, components=checked_components(config), world=world, server=door)
        door.gate = made.base.gate
        parts = Parts(made, made.services(), handlers)
        handlers.update(_handlers(parts))
        if target == "write":
            # The kernel does it for a process that dies, and this one does not.
            process.on_death.append(made.write.local_ingester._directory.unlock)
        return parts

    # -- from outside -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        for node in self.nodes:
            node.start()

    def writers(self) -> list[str]:
        """Names of the hosts that take writes."""
        return [node.name for node in self.write]

    def add_write(self) -> list[ClusterNode]:
        """One more write process in each zone, started."""
        number = len(self.write) // len(ZONES)
        more = [self._node(f"write-{zone[-1]}-{number}", "write", zone) for zone in ZONES]
        self.write += more
        self.nodes += more
        for node in more:
            node.start()
        return more

    async def remove_write(self, nodes: Sequence[ClusterNode]) -> None:
        """Stop write processes for good, one after the other."""
        for node in nodes:
            await node.stop()
            self.write.remove(node)
            self.nodes.remove(node)
            await self.whole()

    def groups(self) -> dict[str, list[ClusterNode]]:
        """What may be disturbed together."""
        zones = {zone: [node for node in self.nodes if node.host.zone == zone] for zone in ZONES}
        return {**zones, **{node.name: [node] for node in self.read}}

    async def whole(self) -> None:
        """Wait until every process is ready and they all see the same rings; complain if it takes too long."""
        begun_s = self.sim.loop.time()
        while (reason := self._wrong()) is not None:
            if self.sim.loop.time() - begun_s > WHOLE_S:
                self.complaints.append(f"not whole {WHOLE_S:.0f} s after the last disturbance: {reason}")
                return
            await asyncio.sleep(1.0)

    def verdict(self) -> list[str]:
        """What was wrong with the processes themselves."""
        return [*self.complaints, *(node.failure for node in self.nodes if node.failure is not None)]

    def _wrong(self) -> str | None:
        reasons = (node.not_ready() for node in self.nodes)
        return next((reason for reason in reasons if reason), None) or self._rings_apart()

    def _rings_apart(self) -> str | None:
        for name in sorted(self.nodes[0].parts.process.cluster.rings):
            first = self._ring(self.nodes[0], name)
            for node in self.nodes:
                ring = self._ring(node, name)
                if _shape(ring) != _shape(first):
                    return f"{node.name} sees {_shape(ring)} in the {name} ring, {self.nodes[0].name} {_shape(first)}"
                if (reason := self._unwell(name, ring)) is not None:
                    return f"{node.name} sees in the {name} ring {reason}"
        return None

    def _unwell(self, name: str, ring: RingDesc) -> str | None:
        now_s = self.sim.clock.now_ms() // 1000
        for instance in ring.values():
            # Distributors are ACTIVE while they take traffic.
            if instance.state is not InstanceState.ACTIVE and name != "distributor":
                return f"{instance.id} {instance.state.name}"
            if now_s - instance.timestamp_s > 30:
                return f"{instance.id} without heartbeat for {now_s - instance.timestamp_s} s"
        return None

    def _ring(self, node: ClusterNode, name: str) -> RingDesc:
        return node.parts.process.cluster.rings[name].view().desc


def _handlers(parts: Parts) -> dict[str, Handler]:
    """What the process answers at its door."""
    found: dict[str, Handler] = {}
    for service in parts.services.services:
        if isinstance(service, DistributorService):
            found["push"] = service.push_remote_write
        elif isinstance(service, QueryFrontendService):
            found.update(_query_handlers(service))
    return found


def _query_handlers(frontend: QueryFrontendService) -> dict[str, Handler]:
    async def query(tenant: str, text: str, time_ms: int) -> bytes:
        return await frontend.query(tenant, InstantQuery(text, time_ms))

    async def query_range(tenant: str, text: str, start_ms: int, end_ms: int, step_ms: int) -> bytes:
        return await frontend.query_range(tenant, RangeQuery(text, start_ms, end_ms, step_ms))

    async def label_values(tenant: str, name: str, mint: int, maxt: int) -> list[str]:
        return await frontend.label_values(tenant, name, [], mint, maxt)

    return {"query": query, "query_range": query_range, "label_values": label_values}


def _shape(ring: RingDesc) -> list[tuple[object, ...]]:
    """A ring without its heartbeats."""
    return [(i.id, i.addr, i.zone, i.state.name, hash(i.tokens), i.read_only) for i in ring.values()]
