"""A tenant near its limits while the write group grows from three to six ingesters and shrinks back: nothing is
refused.

New series arrive all the while; at the end the tenant has nine tenths of the series it may have, and it sends nine
tenths of the samples."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mimir_rw.testing.clock import EPOCH_MS
from mimir_rw.testing.cluster import Cluster
from mimir_rw.testing.gateway import Gateway
from mimir_rw.testing.history import History
from mimir_rw.testing.samples import SamplePlan
from mimir_rw.testing.simulation import Simulation
from mimir_rw.testing.workload import Workload

SERIES_MAX = 1000
FULL = 0.9
INTERVAL_MS = 15_000
PHASE_S = 150.0
PHASES = 4
WRITERS = 3
_TICKS = int(PHASES * PHASE_S * 1000) // INTERVAL_MS
_NEW = 120
"""Series that arrive in the course of the run."""


async def run(sim: Simulation, directory: Path) -> list[str]:
    rate = SERIES_MAX * 1000 / INTERVAL_MS
    cluster = Cluster(
        sim,
        directory,
        flags=[
            f"-ingester.max-global-series-per-user={SERIES_MAX}",
            f"-distributor.ingestion-rate-limit={rate}",
            f"-distributor.ingestion-burst-size={SERIES_MAX}",
        ],
    )
    cluster.start()
    await cluster.whole()
    work = _workload(sim, cluster)
    until_s = sim.loop.time() + PHASES * PHASE_S
    writing = [asyncio.ensure_future(work.write(share, WRITERS, until_s=until_s)) for share in range(WRITERS)]
    await asyncio.sleep(PHASE_S)
    more = cluster.add_write()
    await asyncio.sleep(PHASE_S)
    await cluster.whole()
    await cluster.remove_write(more)
    await asyncio.gather(*writing)
    return [*cluster.verdict(), *work.complaints]


def _workload(sim: Simulation, cluster: Cluster) -> Workload:
    start_ms = EPOCH_MS + int(sim.loop.time() * 1000)
    initial = int(SERIES_MAX * FULL) - _NEW
    plan = SamplePlan("tenant-1", start_ms, INTERVAL_MS, initial=initial, growth=1, births=_NEW // _TICKS)
    gateway = Gateway(process=sim.network.spawn(sim.network.add_host("gateway")), read_s=15.0)
    return Workload(
        loop=sim.loop, rng=sim.rng("work"), gateway=gateway, history=History(plan), writers=cluster.writers, readers=[]
    )  # fmt: skip
