"""A whole cluster at work with its long-term storage, everything that takes hours in life turned down to minutes.

    begin ── work under faults, of processes and of object storage ── all is well: ask for everything ──
    all ingesters that took samples hand them over, leave, and lose their disks ── ask ──
    everything is compacted: look into the bucket ── kill everything, start it again ── ask again

Heads are cut, blocks shipped, compacted, marked, deleted, and forgotten by ingesters, while readers ask for samples of
any age. In one seed of five there is a storm, as in `cluster_scenario`.

Complaints: those of `cluster_scenario`, but that queries may fail while object storage is in trouble, and for a while
after that, and that nobody looks into ingesters; those of `object_store`; and, at the end, a block that is not whole,
or an acknowledged sample that is not in the bucket once.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mimir_rw._native import LocalBlock
from mimir_rw.blocks.verify import verify_block
from mimir_rw.model.labels import METRIC_NAME, Matcher, MatchType
from mimir_rw.testing.clock import EPOCH_MS
from mimir_rw.testing.cluster_scenario import TENANT, ClusterRun, Pace
from mimir_rw.testing.faulty_bucket import Faults
from mimir_rw.testing.nemesis import AnyNode, Disturb
from mimir_rw.testing.object_store import FINE, ObjectStore
from mimir_rw.testing.process import SimHost
from mimir_rw.testing.samples import METRIC, decode_value
from mimir_rw.testing.simulation import Simulation
from mimir_rw.testing.workload import Reach

LASTS_S = 1500.0
DELETION_DELAY_S = 420
COMPACTED_S = 480.0
"""What compactors have at the end."""
EXCUSED_S = 90.0
"""How long after a trouble of object storage queries may fail."""
TROUBLE_S = (5.0, 120.0)
CALM_S = (30.0, 200.0)

# Two hours are two minutes; the chain of times that docs/store-gateway.md draws is kept.
FLAGS = (
    "-blocks-storage.tsdb.block-ranges-period=2m",
    "-blocks-storage.tsdb.head-compaction-interval=15s",
    "-blocks-storage.tsdb.head-compaction-idle-timeout=3m",
    "-blocks-storage.tsdb.ship-interval=15s",
    "-blocks-storage.tsdb.retention-period=14m",
    "-blocks-storage.tsdb.close-idle-tsdb-timeout=30m",
    "-querier.query-store-after=10m",
    "-querier.query-ingesters-within=14m",
    "-blocks-storage.bucket-store.ignore-blocks-within=8m",
    "-blocks-storage.bucket-store.sync-interval=30s",
    "-blocks-storage.bucket-store.bucket-index.update-on-error-interval=5s",
    "-blocks-storage.bucket-store.bucket-index.max-stale-period=4m",
    "-blocks-storage.bucket-store.ignore-deletion-marks-delay=3m",
    "-blocks-storage.bucket-store.ignore-deletion-marks-while-querying-delay=2m",
    "-compactor.block-ranges=2m,4m,8m",
    "-compactor.compaction-interval=40s",
    "-compactor.cleanup-interval=40s",
    "-compactor.first-level-compaction-wait-period=45s",
    f"-compactor.deletion-delay={DELETION_DELAY_S}s",
)
VARIATIONS = (
    "-blocks-storage.bucket-store.batch-series-size=3",
    "-blocks-storage.bucket-store.chunks-cache.backend=",
    "-blocks-storage.bucket-store.index-header.lazy-loading-idle-timeout=1m",
    "-blocks-storage.tsdb.flush-blocks-on-shutdown=true",
    "-blocks-storage.tsdb.wal-segment-size-bytes=65536",
    "-compactor.split-and-merge-shards=2",
    "-compactor.split-groups=2",
    "-distributor.ingestion-tenant-shard-size=3",
    "-ingester.ring.unregister-on-shutdown=false",
    "-querier.minimize-ingester-requests=false",
    "-store-gateway.sharding-ring.unregister-on-shutdown=false",
    "-store-gateway.tenant-shard-size=3",
)
PACE = Pace(
    interval_ms=20_000, read_every_s=12.0, series=12, growth=30, reach=Reach(window_ms=1_200_000, ago_ms=1_500_000)
)  # fmt: skip
_LOOKS = 2


class StorageRun(ClusterRun):
    def __init__(self, sim: Simulation, directory: Path, pace: Pace) -> None:
        self.store = ObjectStore(sim, deletion_delay_s=DELETION_DELAY_S)
        super().__init__(sim, directory, pace, flags=FLAGS, variations=VARIATIONS, store=self.store)
        self.store.kill = self._kill
        self._scratch = directory
        self._rng = sim.rng("troubles of object storage")
        self._troubled: set[SimHost] = set()
        self._well_since_s = -EXCUSED_S

    # -- faults -----------------------------------------------------------------------------------------------------

    async def under_faults(self, lasts_s: float) -> None:
        until_s = self.sim.loop.time() + lasts_s
        await asyncio.gather(super().under_faults(lasts_s), self._trouble(until_s))

    async def _trouble(self, until_s: float) -> None:
        """Object storage is well and is not, by turns, for all or for some."""
        while (now_s := self.sim.loop.time()) < until_s:
            await asyncio.sleep(min(self._rng.uniform(*CALM_S), until_s - now_s))
            hosts = [node.host for node in self.cluster.nodes]
            if self._rng.random() < 0.5:
                hosts = self._rng.sample(hosts, self._rng.randint(1, 3))
            faults = self._faults()
            self.sim.network.saw(f"object storage: {faults} for {' '.join(host.name for host in hosts)}")
            self._set(hosts, faults)
            await asyncio.sleep(self._rng.uniform(*TROUBLE_S))
            self.sim.network.saw("object storage is well")
            self._set(hosts, FINE)

    def _faults(self) -> Faults:
        rate = self._rng.uniform(0.05, 0.5)
        kinds = (
            Faults(fails=1.0),
            Faults(fails=rate),
            Faults(loses=rate),
            Faults(fails=rate / 2, loses=rate / 2),
            Faults(slow=rate, slow_s=self._rng.uniform(1.0, 40.0)),
        )
        return self._rng.choice(kinds)

    def _set(self, hosts: Sequence[SimHost], faults: Faults) -> None:
        for host in hosts:
            self.store.trouble(host, faults)
        self._troubled = set() if faults is FINE else set(hosts)
        self._well_since_s = self.sim.loop.time()

    def excused(self, begun_s: float) -> bool:
        return bool(self._troubled) or begun_s < self._well_since_s + EXCUSED_S

    def more_disturbances(self) -> Mapping[str, Disturb]:
        return {"crash": self._crash, "crashes": self._crash}

    async def _crash(self, nodes: Sequence[AnyNode]) -> None:
        """Killed at a call to object storage, if there is one soon; started again in a moment."""
        for node in nodes:
            self.store.crash(node.host, self._rng.randint(0, 12))
        await asyncio.sleep(self._rng.uniform(10.0, 60.0))
        for node in nodes:
            self.store.no_crash(node.host)
            if node.process is None:
                node.start()

    def _kill(self, host: SimHost) -> None:
        for node in self.cluster.nodes:
            if node.host is host:
                node.kill()

    # -- the end ----------------------------------------------------------------------------------------------------

    async def ask_for_everything(self) -> None:
        await asyncio.sleep(max(0.0, self._well_since_s + EXCUSED_S - self.sim.loop.time()))
        self.work.forgiving = False
        end_ms = EPOCH_MS + int(self.sim.loop.time() * 1000)
        window_ms = end_ms - self.history.plan.start_ms + 1000
        for node in self.cluster.read * _LOOKS:
            await self.work.read_points(
                self.history.series, end_ms=end_ms, window_ms=window_ms, readers=[node.name]
            )  # fmt: skip

    async def everybody_leaves(self) -> None:
        """Other ingesters come; those that took samples hand over, leave, and lose their disks."""
        leavers = list(self.cluster.write)
        self.cluster.add_write()
        await self.cluster.whole()
        for node in leavers:
            assert node.process is not None
            assert node.host.directory is not None
            await node.process.run(node.parts.process.write._hand_over.leave())
            await node.stop()
            self.cluster.write.remove(node)
            self.cluster.nodes.remove(node)
            shutil.rmtree(node.host.directory)
            await self.cluster.whole()

    def look_into_bucket(self) -> None:
        """Every block is whole; every acknowledged sample is in one that stays, and in no other of those."""
        holders: Counter[tuple[int, int]] = Counter()
        bucket = self.store.bucket
        for meta in bucket.metas(TENANT):
            with tempfile.TemporaryDirectory(dir=self._scratch) as scratch:
                directory = Path(scratch) / meta.ulid
                for name, data in bucket.files(TENANT, meta.ulid).items():
                    (directory / name).parent.mkdir(parents=True, exist_ok=True)
                    (directory / name).write_bytes(data)
                report = verify_block(directory)
                self.complaints += [f"block {meta.ulid}: {problem}" for problem in report.problems]
                if bucket.mark(TENANT, meta.ulid) is None:
                    holders.update(_samples(directory))
        self.complaints += self.history.lost(holders, 1)
        self.complaints += [
            f"series {series} sample {sequence} is in {count} blocks"
            for (series, sequence), count in sorted(holders.items())
            if count > 1
        ]

    def verdict(self) -> list[str]:
        found = [*super().verdict(), *self.store.bucket.complaints]
        if not self.store.bucket.deleted:
            found.append("no block was ever deleted")
        return found


def _samples(directory: Path) -> list[tuple[int, int]]:
    """(series, sequence) of all in a block."""
    end_ms = EPOCH_MS * 2
    matcher = Matcher(MatchType.EQUAL, METRIC_NAME, METRIC)
    found = LocalBlock(str(directory)).select([matcher.as_tuple()], 0, end_ms)
    columns = found.decode(0, len(found.labels), 0, end_ms)
    return [decode_value(value) for value in columns.values.tolist()]


async def run(sim: Simulation, directory: Path) -> list[str]:
    this = StorageRun(sim, directory, PACE)
    this.cluster.start()
    await this.cluster.whole()
    await this.under_faults(LASTS_S)
    await this.ask_for_everything()
    await this.everybody_leaves()
    await this.ask_for_everything()
    await asyncio.sleep(COMPACTED_S)
    this.look_into_bucket()
    await this.kill_everything()
    await this.ask_for_everything()
    return this.verdict()
