"""The processes of a cluster under faults, without any work to do: after each disturbance they all become ready and see
the same rings, everyone ACTIVE in theirs."""

from __future__ import annotations

from pathlib import Path

from mimir_rw.testing.cluster import Cluster
from mimir_rw.testing.nemesis import Nemesis
from mimir_rw.testing.simulation import Simulation

LASTS_S = 600.0


async def run(sim: Simulation, directory: Path) -> list[str]:
    cluster = Cluster(sim, directory)
    cluster.start()
    await cluster.whole()
    nemesis = Nemesis(network=sim.network, rng=sim.rng("nemesis"), groups=cluster.groups(), whole=cluster.whole)
    await nemesis.run(sim.loop.time() + LASTS_S)
    return cluster.verdict()
