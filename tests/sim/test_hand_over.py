"""Ingesters of a simulated cluster leave for good while everything is asked for all the time: the processes that `app`
builds, their gossip, and somebody frozen between two steps."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from mimir_rw.components.ingester.hand_over.core import Status
from mimir_rw.kit.logging import configure
from mimir_rw.kv.hand_over import HandOvers
from mimir_rw.testing.clock import EPOCH_MS
from mimir_rw.testing.cluster import Cluster, ClusterNode
from mimir_rw.testing.gateway import Gateway
from mimir_rw.testing.history import History
from mimir_rw.testing.samples import SamplePlan
from mimir_rw.testing.simulation import Simulation
from mimir_rw.testing.workload import Workload

pytestmark = pytest.mark.timeout(300)

TENANT = "tenant-1"
TIMEOUT_S = 20
FROZEN_S = 45.0
WRITERS = 2
WINDOW_MS = 3_600_000


class World:
    def __init__(self, sim: Simulation, directory: Path) -> None:
        self.sim = sim
        self.cluster = Cluster(sim, directory, flags=[f"-querier.timeout={TIMEOUT_S}s"])
        gateway = Gateway(process=sim.network.spawn(sim.network.add_host("gateway")), read_s=60.0)
        start_ms = EPOCH_MS + int(sim.loop.time() * 1000) + 60_000
        self.history = History(SamplePlan(TENANT, start_ms, 10_000, initial=12))
        self.work = Workload(
            loop=sim.loop,
            rng=sim.rng("work"),
            gateway=gateway,
            history=self.history,
            writers=self.cluster.writers,
            readers=[node.name for node in self.cluster.read],
        )
        self.until_s = sim.loop.time() + 10_000
        self.asked = 0

    async def begin(self) -> None:
        """Samples in three zones, then some in two only; then a second ingester in each zone."""
        self.cluster.start()
        await self.cluster.whole()
        for share in range(WRITERS):
            asyncio.ensure_future(self.work.write(share, WRITERS, until_s=self.until_s))  # noqa: RUF006
        await asyncio.sleep(90)
        away = self.cluster.write[2]
        away.kill()
        await asyncio.sleep(60)
        away.start()
        await self.cluster.whole()
        self.cluster.add_write()
        await self.cluster.whole()

    async def ask_always(self) -> None:
        while True:
            await self.ask()
            await asyncio.sleep(2.0)

    async def ask(self) -> None:
        """For every sample there is."""
        end_ms = EPOCH_MS + int(self.sim.loop.time() * 1000)
        await self.work.read_points(self.history.series, end_ms=end_ms, window_ms=WINDOW_MS)
        self.asked += 1

    async def leave(self, node: ClusterNode) -> None:
        """Returns when it has left; raises what it was answered."""
        assert node.process is not None
        await node.process.run(node.parts.process.write._hand_over.leave())

    async def step(self, node: ClusterNode, step: int) -> None:
        hand_over = node.parts.process.write._hand_over
        while hand_over.progress.status is not Status.LEFT and hand_over.report().step < step:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def discard(self, node: ClusterNode) -> None:
        """The process and its disk."""
        await node.stop()
        self.cluster.write.remove(node)
        self.cluster.nodes.remove(node)
        assert node.host.directory is not None
        shutil.rmtree(node.host.directory)


def play(script, seed: int, directory: Path) -> World:  # type: ignore[no-untyped-def]
    configure(level="error")
    with Simulation(seed) as sim:
        world = World(sim, directory)
        sim.run(script(world))
    complaints = [*world.work.complaints, *world.cluster.verdict()]
    assert not complaints, f"{len(complaints)} complaints, first: {complaints[:3]}"
    return world


async def all_leave(world: World) -> None:
    await world.begin()
    asking = asyncio.ensure_future(world.ask_always())
    for node in list(world.cluster.write[:3]):
        await world.leave(node)
        await world.discard(node)
        await world.cluster.whole()
    await asyncio.sleep(TIMEOUT_S)
    asking.cancel()
    for _ in range(6):
        await world.ask()


def test_all_that_took_the_samples_leave_and_their_disks_with_them(tmp_path: Path) -> None:
    assert play(all_leave, 1, tmp_path).asked > 30


def test_queriers_that_do_not_go_by_the_record_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandOvers, "served", lambda self, tenant, now_s: ())
    with pytest.raises(AssertionError, match="complaints"):
        play(all_leave, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, 7))
@pytest.mark.parametrize("victim", ["read-1", "backend-b"])
def test_a_querier_or_a_store_gateway_is_frozen_between_two_steps(victim: str, step: int, tmp_path: Path) -> None:
    """Requests may fail while it is; no answer may lack a sample."""

    async def script(world: World) -> None:
        await world.begin()
        frozen = next(node for node in world.cluster.nodes if node.name == victim)
        asking = asyncio.ensure_future(world.ask_always())
        leaver = world.cluster.write[0]
        leaving = asyncio.ensure_future(world.leave(leaver))
        await world.step(leaver, step)
        world.work.forgiving = True
        frozen.freeze()
        await asyncio.sleep(FROZEN_S)
        frozen.thaw()
        await leaving
        await world.discard(leaver)
        await world.cluster.whole()
        asking.cancel()
        world.work.forgiving = False
        for _ in range(6):
            await world.ask()

    play(script, 10 * step + len(victim), tmp_path)
