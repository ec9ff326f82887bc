"""The write group grows from three to six ingesters and shrinks back while a tenant at nine tenths of its series and
rate limits goes on writing, with new series: nothing is refused.

Ingesters with real heads and distributors on one loop with virtual time; each process hears of changes of the rings
after a delay of its own. The gateway gives pushes to all distributors in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from mimir_rw._native import LocalBlock
from mimir_rw.components.distributor.metrics import DistributorMetrics
from mimir_rw.components.distributor.replication import RingStore
from mimir_rw.components.distributor.sender import LocalSender
from mimir_rw.components.distributor.senders import Senders
from mimir_rw.components.distributor.service import DistributorService
from mimir_rw.components.distributor.traffic import RingPeers
from mimir_rw.components.ingester.service import IngesterService
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import (
    DistributorConfig,
    DistributorInstanceLimits,
    IngesterConfig,
    IngesterInstanceLimits,
)
from mimir_rw.config.tsdb import TsdbConfig
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import Service, ServiceState
from mimir_rw.kv.memory import MemoryKV, MemoryStore
from mimir_rw.model.errors import MimirError
from mimir_rw.ring.basic_lifecycler import BasicLifecycler, BasicLifecyclerSettings
from mimir_rw.ring.codec import RING_CODEC
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceState, RingDesc
from mimir_rw.ring.entry import MembershipMetrics
from mimir_rw.ring.lifecycler import Lifecycler, LifecyclerSettings
from mimir_rw.ring.membership import Identity
from mimir_rw.ring.service import RingMetrics, RingService
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.tokens import RandomTokens
from mimir_rw.testing.remote_write import body, series
from mimir_rw.testing.simulation import Simulation

KEY = bytes(range(32))
SERIES_MAX = 1000
LIMITS = TenantLimits(
    max_global_series_per_user=SERIES_MAX,
    ingestion_rate=SERIES_MAX,
    ingestion_burst_size=2 * SERIES_MAX,
    out_of_order_time_window=60_000,
)
SERIES_A_PUSH = 250
ZONES = ("a", "b", "c")


class LateKV(MemoryKV[RingDesc]):
    """Its watcher hears of each change up to three seconds late."""

    def __init__(self, store: MemoryStore, rng: Random) -> None:
        super().__init__(RING_CODEC, store=store)
        self._rng = rng

    async def watch(self, key: str) -> AsyncIterator[RingDesc]:
        async for _ in super().watch(key):
            await asyncio.sleep(self._rng.uniform(0.0, 3.0))
            latest = await self.get(key)
            if latest is not None:
                yield latest


class World:
    def __init__(self, sim: Simulation, directory: Path) -> None:
        self.sim = sim
        self.directory = directory
        self.stores = {"ingester": MemoryStore(), "distributor": MemoryStore()}
        self.ingesters: dict[str, IngesterService] = {}
        self.refused: list[str] = []
        self.pushed = 0


class Node:
    """A write process."""

    def __init__(self, world: World, name: str, zone: str) -> None:
        self.name = name
        self._world, self._zone = world, zone
        self._metrics = Metrics()
        self._rng = world.sim.rng(name)
        self._discarded = self._metrics.counters("cortex_discarded_samples_total", "", ("reason", "user"))
        self._rings = self._make_rings()
        membership = MembershipMetrics(self._metrics)
        self.ingester = self._make_ingester()
        self._in_ring = Lifecycler(
            ring=self._rings["ingester"],
            me=self._identity(128),
            settings=LifecyclerSettings(),
            tokens=RandomTokens(rng=self._rng),
            flush=_nothing,
            told=_nothing,
            clock=world.sim.clock,
            offload=InlineOffload(),
            metrics=membership,
        )
        self._among_distributors = BasicLifecycler(
            ring=self._rings["distributor"],
            me=self._identity(1),
            settings=BasicLifecyclerSettings(initial_state=InstanceState.JOINING),
            tokens=RandomTokens(rng=self._rng),
            clock=world.sim.clock,
            offload=InlineOffload(),
            metrics=membership,
        )
        self.distributor = self._make_distributor()
        self._services: list[Service] = [
            *self._rings.values(), self.ingester, self._in_ring, self._among_distributors, self.distributor
        ]  # fmt: skip
        self._lives: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._world.ingesters[self.name] = self.ingester
        for service in self._services:
            self._lives.append(asyncio.ensure_future(service.live()))
            assert await service.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING, service.failure

    async def stop(self) -> None:
        """The gateway has let go of it before."""
        for service, life in reversed(list(zip(self._services, self._lives, strict=True))):
            service.request_stop()
            await life
            if service is self._in_ring:
                await asyncio.sleep(5.0)  # as final_sleep: until all have heard of it
        assert all(service.failure is None for service in self._services)

    def _identity(self, tokens: int) -> Identity:
        return Identity(self.name, f"{self.name}:9095", self._zone, versions={RPC_VERSION_KEY: 2}, tokens_count=tokens)

    def _make_rings(self) -> dict[str, RingService]:
        metrics = RingMetrics(metrics=self._metrics, clock=self._world.sim.clock)
        settings = {
            "ingester": RingSettings(replication_factor=3, zone_awareness=True),
            "distributor": RingSettings(),
        }
        return {
            name: RingService(
                name,
                kv=LateKV(store, self._rng),
                key="ring",
                settings=settings[name],
                clock=self._world.sim.clock,
                metrics=metrics,
            )
            for name, store in self._world.stores.items()
        }

    def _make_ingester(self) -> IngesterService:
        return IngesterService(
            config=IngesterConfig(),
            tsdb=replace(TsdbConfig(), dir=str(self._world.directory / self.name)),
            limits=Limits(defaults=LIMITS),
            instance_limits=IngesterInstanceLimits,
            offload=InlineOffload(),
            clock=self._world.sim.clock,
            metrics=self._metrics,
            discarded_samples=self._discarded,
            discarded_exemplars=self._discarded,
            series_key=lambda: KEY,
            ring=self._rings["ingester"],
            instance_id=self.name,
            rng=seeded_rng(1),
            open_block=LocalBlock,
        )

    def _make_distributor(self) -> DistributorService:
        ingesters = self._world.ingesters
        return DistributorService(
            config=DistributorConfig(),
            limits=Limits(defaults=LIMITS),
            instance_limits=DistributorInstanceLimits,
            store=RingStore(
                ring=self._rings["ingester"],
                senders=lambda tasks: Senders(make=lambda to: LocalSender(ingester=ingesters[to.id], tasks=tasks)),
                local=None,
                clock=self._world.sim.clock,
                timeout_s=2.0,
            ),
            peers=RingPeers(
                view=self._rings["distributor"].view,
                instance_id=self.name,
                announce=self._among_distributors.change_state,
                clock=self._world.sim.clock,
            ),
            offload=InlineOffload(),
            clock=self._world.sim.clock,
            metrics=DistributorMetrics(
                metrics=self._metrics, discarded_samples=self._discarded, discarded_exemplars=self._discarded
            ),
            series_key=lambda: KEY,
        )


async def _nothing() -> None: ...


class Tenant:
    """Sends every series once a second, in pushes that go to the nodes behind the gateway in turn."""

    def __init__(self, world: World, nodes: list[Node]) -> None:
        self._world = world
        self.nodes = nodes
        self.series = SERIES_MAX * 8 // 10
        self._turn = 0

    async def write(self, seconds: int, *, every: int = 1, until: Callable[[], bool] = lambda: False) -> None:
        """every: seconds between two rounds, which then have so many seconds' samples less."""
        for _ in range(0, seconds, every):
            await asyncio.gather(*(self._push(start) for start in range(0, self.series, SERIES_A_PUSH)))
            if until():
                return
            await asyncio.sleep(every)

    async def _push(self, start: int) -> None:
        now_ms = self._world.sim.clock.now_ms()
        numbers = range(start, min(start + SERIES_A_PUSH, self.series))
        node = self.nodes[self._turn % len(self.nodes)]
        self._turn += 1
        rows = (series({"__name__": "m", "n": str(n)}, [(now_ms, float(n))]) for n in numbers)
        try:
            await node.distributor.push_remote_write("t", body(*rows))
        except MimirError as error:
            at_s = self._world.sim.loop.time()
            self._world.refused.append(f"{at_s:.1f} s at {node.name}: {type(error).__name__}: {error}")
        self._world.pushed += 1


async def grow_and_shrink(world: World, *, long_after: bool) -> None:
    nodes = [Node(world, f"{zone}-0", zone) for zone in ZONES]
    for node in nodes:
        await node.start()
    await asyncio.sleep(4.0)
    tenant = Tenant(world, nodes)
    await tenant.write(10)
    for zone in ZONES:
        node = Node(world, f"{zone}-1", zone)
        await node.start()
        tenant.nodes.append(node)
        tenant.series += SERIES_MAX // 50
        await tenant.write(8)
    if long_after:  # the limits are those of six ingesters by now
        await tenant.write(3 * 3600, every=600)
    tenant.series += SERIES_MAX // 50
    await tenant.write(8)
    for node in [node for node in nodes if node.name.endswith("-1")]:
        tenant.nodes.remove(node)
        stopping = asyncio.ensure_future(node.stop())
        tenant.series += SERIES_MAX // 200
        await tenant.write(10, until=stopping.done)
        await stopping
        await tenant.write(8)
    await tenant.write(40)
    for node in tenant.nodes:
        await node.stop()


@pytest.mark.parametrize(("seed", "long_after"), [(1, False), (2, True)], ids=["soon", "hours later"])
def test_nothing_is_refused_while_the_write_group_grows_and_shrinks(
    seed: int, long_after: bool, tmp_path: Path
) -> None:
    with Simulation(seed) as sim:
        world = World(sim, tmp_path)
        sim.run(grow_and_shrink(world, long_after=long_after))
        assert world.refused == []
        assert world.pushed > 400
