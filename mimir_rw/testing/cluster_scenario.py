"""A whole cluster at work under faults: writers and readers go through a gateway while one zone, or one process
without a zone, is disturbed at a time.

    begin ── work under faults ── all is well: look at everything ── kill everything, start it again ── look again

In one seed of five there is a storm: any processes at all are disturbed together. A request may fail then; nothing else
of what follows may be. Settings that change how things are done, not what is promised, are drawn from the seed too.

Complaints: a write or a query that fails; an answer that lacks an acknowledged sample, or has one that was never sent,
or not so, or twice; an acknowledged sample that fewer than two ingesters hold; processes that do not become ready, that
do not agree on the rings, or that end by themselves.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mimir_rw.model.labels import METRIC_NAME, Matcher, MatchType
from mimir_rw.storage.contract import SelectHints
from mimir_rw.testing.clock import EPOCH_MS
from mimir_rw.testing.cluster import Cluster, ClusterNode
from mimir_rw.testing.gateway import Gateway
from mimir_rw.testing.history import History, Points, Window
from mimir_rw.testing.nemesis import Disturb, Nemesis
from mimir_rw.testing.object_store import ObjectStore
from mimir_rw.testing.samples import METRIC, SamplePlan
from mimir_rw.testing.simulation import Simulation
from mimir_rw.testing.workload import NEAR, Reach, Workload

LASTS_S = 600.0
TENANT = "tenant-1"
QUORUM = 2
WRITERS = 3
STORM = 0.2
VARIATIONS = (
    "-blocks-storage.tsdb.wal-compression-enabled=true",
    "-blocks-storage.tsdb.wal-segment-size-bytes=65536",
    "-distributor.ingestion-tenant-shard-size=3",
    "-distributor.series-references-max=0",
    "-distributor.series-references-max=8",
    "-ingester.ring.observe-period=2s",
    "-ingester.ring.unregister-on-shutdown=false",
    "-querier.max-concurrent=4",
    "-querier.minimize-ingester-requests=false",
    "-querier.minimize-ingester-requests-hedging-delay=0s",
    "-query-scheduler.max-used-instances=0",
    "-shutdown-delay=2s",
)
VARIED = 0.15
_LOOKS = 3
"""Times that each reader is asked at the end: any two zones may answer."""
# Prometheus' log: pages of 32 KiB, records of a type byte, a length, a checksum, and data.
_PAGE_BYTES = 32 << 10
_RECORD_HEAD = struct.Struct(">BHI")
_WHOLE_RECORD = 1
_TORN_BYTES = 200
_PUSH_READ_S = 15.0
"""What the gateway gives an upstream; clients of Prometheus wait for 30 s."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much work there is: the fewer, the more seeds a minute."""

    interval_ms: int = 10_000
    read_every_s: float = 8.0
    series: int = 30
    growth: int = 3
    reach: Reach = NEAR


class ClusterRun:
    def __init__(
        self,
        sim: Simulation,
        directory: Path,
        pace: Pace,
        *,
        flags: Sequence[str] = (),
        variations: Sequence[str] = VARIATIONS,
        store: ObjectStore | None = None,
    ) -> None:
        """flags: of all runs; variations: of some."""
        self.sim = sim
        self.pace = pace
        rng = sim.rng("variations")
        self.storm = rng.random() < STORM
        varied = [flag for flag in variations if rng.random() < VARIED]
        self.cluster = Cluster(sim, directory, flags=[*flags, *varied], store=store)
        host = sim.network.add_host("gateway")
        gateway = Gateway(process=sim.network.spawn(host), read_s=_PUSH_READ_S)
        start_ms = EPOCH_MS + int(sim.loop.time() * 1000) + 30_000
        plan = SamplePlan(TENANT, start_ms, pace.interval_ms, initial=pace.series, growth=pace.growth)
        self.history = History(plan)
        self.work = Workload(
            loop=sim.loop,
            rng=sim.rng("work"),
            gateway=gateway,
            history=self.history,
            writers=self.cluster.writers,
            readers=[node.name for node in self.cluster.read],
            forgiving=self.storm,
            excused=self.excused,
            reach=pace.reach,
        )
        self.complaints: list[str] = []

    async def under_faults(self, lasts_s: float) -> None:
        until_s = self.sim.loop.time() + lasts_s
        clients = [
            *(self.work.write(share, WRITERS, until_s=until_s) for share in range(WRITERS)),
            self.work.read(every_s=self.pace.read_every_s, until_s=until_s),
        ]
        nemesis = Nemesis(
            network=self.sim.network,
            rng=self.sim.rng("nemesis"),
            groups={"everything": self.cluster.nodes} if self.storm else self.cluster.groups(),
            whole=self.cluster.whole,
            crashed=tear_log,
            more=self.more_disturbances(),
        )
        await asyncio.gather(nemesis.run(until_s), *clients)

    def excused(self, begun_s: float) -> bool:
        """Whether a query that began then may fail."""
        return False

    def more_disturbances(self) -> Mapping[str, Disturb]:
        return {}

    async def kill_everything(self) -> None:
        """All processes at once, and all of them again."""
        for node in self.cluster.nodes:
            node.kill()
        await asyncio.sleep(1.0)
        self.cluster.start()
        await self.cluster.whole()

    async def look(self) -> None:
        """Ask every reader for everything, look into every ingester: all is well now, and so must the answers be."""
        self.work.forgiving = False
        await self.look_into_ingesters()
        end_ms = EPOCH_MS + int(self.sim.loop.time() * 1000)
        window_ms = end_ms - self.history.plan.start_ms + 1
        for node in self.cluster.read * _LOOKS:
            await self.work.read_points(
                self.history.series, end_ms=end_ms, window_ms=window_ms, readers=[node.name]
            )  # fmt: skip

    async def look_into_ingesters(self) -> None:
        holders: Counter[tuple[int, int]] = Counter()
        plan = self.history.plan
        for node in self.cluster.write:
            held = await self._held(node)
            now_s = self.sim.loop.time()
            whole = Window(0, EPOCH_MS * 2, now_s, now_s)
            self.complaints += [f"{node.name} holds: {text}" for text in self.history.inventions(held, whole)]
            for series, points in held.items():
                holders.update(
                    (series, (time_ms - plan.time_ms(series, 0)) // plan.interval_ms) for time_ms, _ in points
                )
        self.complaints += self.history.lost(holders, QUORUM)

    async def _held(self, node: ClusterNode) -> dict[int, Points]:
        ingester = node.parts.process.write.local_ingester
        matchers = [Matcher(MatchType.EQUAL, METRIC_NAME, METRIC)]
        maxt = EPOCH_MS * 2
        found = await ingester.select(TENANT, matchers, SelectHints(mint=0, maxt=maxt))
        columns = found.decode(0, len(found.labels), 0, maxt)
        points: dict[int, Points] = {}
        for row, labels in enumerate(found.labels.rows()):
            begin, end = columns.offsets[row], columns.offsets[row + 1]
            points[int(labels["series"])] = list(
                zip(columns.ts[begin:end].tolist(), columns.values[begin:end].tolist(), strict=True)
            )
        return points

    def verdict(self) -> list[str]:
        found = [*self.cluster.verdict(), *self.work.complaints, *self.complaints]
        if not self.history.acknowledged_count():
            found.append("nothing was ever acknowledged")
        return found


def tear_log(node: ClusterNode, rng: Random) -> None:
    """Leave the first part of a record at the end of a log, as a process that is killed while it writes may."""
    assert node.host.directory is not None
    for wal in sorted(node.host.directory.glob("tsdb/*/wal")):
        segments = sorted(path for path in wal.iterdir() if path.name.isdigit())
        if not segments or rng.random() < 0.5:
            continue
        with segments[-1].open("ab") as file:
            room = _PAGE_BYTES - file.tell() % _PAGE_BYTES
            if room > _RECORD_HEAD.size + _TORN_BYTES:
                head = _RECORD_HEAD.pack(_WHOLE_RECORD, _TORN_BYTES, rng.getrandbits(32))
                file.write((head + rng.randbytes(_TORN_BYTES))[: rng.randrange(1, _TORN_BYTES)])


async def run(sim: Simulation, directory: Path) -> list[str]:
    this = ClusterRun(sim, directory, Pace())
    this.cluster.start()
    await this.cluster.whole()
    await this.under_faults(LASTS_S)
    await this.look()
    await this.kill_everything()
    await this.look()
    return this.verdict()
