"""A compactor over a bucket in memory, with blocks whose samples can be read without a kernel.

The `index` of such a block is JSON: series to time to value; its one segment holds nothing of meaning.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mimir_rw.bucket.cleaner_metrics import CleanerMetrics
from mimir_rw.bucket.layout import DELETION_MARK, MARKS, block_key, marked_block, meta_key
from mimir_rw.components.compactor.compaction import Compaction, CompactionSettings
from mimir_rw.components.compactor.jobs import CompactionJob
from mimir_rw.components.compactor.merge_process import Merged, MergeSource, Output, SourceDamaged
from mimir_rw.components.compactor.metrics import CompactorMetrics
from mimir_rw.components.compactor.planner import PlannerSettings
from mimir_rw.components.compactor.progress import Progress
from mimir_rw.components.compactor.runner import JobRunner
from mimir_rw.components.compactor.store import BucketBlockStore
from mimir_rw.formats.block_meta import SHARD_LABEL, BlockCompaction, BlockFile, BlockMeta, BlockStats, ThanosMeta
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.objstore.contract import Bucket
from mimir_rw.objstore.memory import MemoryBucket
from tests.unit.components.compactor.bucket_states import HOUR_MS, ulid

TENANT = "tenant"
Samples = dict[str, dict[int, float]]


class WorldClock:
    def __init__(self, now_ms: int) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class JsonMerger:
    """Merges blocks of JSON: the first source wins, series are split by a checksum of their names."""

    def __init__(self) -> None:
        self.merges = 0
        self.before: Callable[[], None] = lambda: None

    async def merge(self, sources: Sequence[MergeSource], outputs: Sequence[Path]) -> Merged:
        self.merges += 1
        self.before()
        samples: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for number, source in enumerate(sources):
            try:
                found = json.loads((Path(source.directory) / "index").read_text())
            except ValueError as error:
                raise SourceDamaged(number, f"the index is no index: {error}") from None
            for series, values in found.items():
                for t, value in values.items():
                    samples[series].setdefault(int(t), value)
        made = []
        for number, directory in enumerate(outputs):
            mine = {s: v for s, v in samples.items() if zlib.crc32(s.encode()) % len(outputs) == number}
            write_block(directory, mine)
            times = [t for values in mine.values() for t in values]
            made.append(
                Output(len(mine), len(mine), len(times), len(times), 0, min(times, default=0), max(times, default=0))
            )
        return Merged(tuple(made))


def write_block(directory: Path, samples: Samples) -> None:
    (directory / "chunks").mkdir(parents=True)
    (directory / "chunks" / "000001").write_bytes(b"chunks")
    (directory / "index").write_text(json.dumps(samples))


class Everything:
    """Owns all work."""

    def shares(self, tenant: str) -> bool:
        return True

    def owns_tenant(self, tenant: str) -> bool:
        return True

    def owns_job(self, job: CompactionJob) -> bool:
        return True


class World:
    def __init__(self, scratch: Path, *, shards: int = 0, now_h: float = 240) -> None:
        self.scratch = scratch
        self.clock = WorldClock(int(now_h * HOUR_MS))
        self.memory = MemoryBucket(clock=self.clock)
        self.bucket: Bucket = self.memory
        self.merger = JsonMerger()
        self.rng = seeded_rng(1)
        self.settings = PlannerSettings((2 * HOUR_MS, 12 * HOUR_MS, 24 * HOUR_MS), shards=shards, split_groups=1)
        self.progress = Progress()
        self.metrics = Metrics()
        self.free = 1 << 40

    async def block(
        self, name: str, begin_h: float, samples: Samples, *, hours: float = 2, shard: str = ""
    ) -> BlockMeta:
        """Put a level-1 block into the bucket."""
        index = json.dumps(samples).encode()
        count = sum(map(len, samples.values()))
        meta = BlockMeta(
            ulid=ulid(name),
            min_time=int(begin_h * HOUR_MS),
            max_time=int((begin_h + hours) * HOUR_MS),
            stats=BlockStats(samples=count, floats=count, series=len(samples), chunks=len(samples)),
            compaction=BlockCompaction(sources=(ulid(name),)),
            thanos=ThanosMeta(
                labels={SHARD_LABEL: shard} if shard else {},
                files=(BlockFile("chunks/000001", 6), BlockFile("index", len(index)), BlockFile("meta.json")),
            ),
        )
        await self.memory.upload(block_key(TENANT, meta.ulid, "chunks/000001"), b"chunks")
        await self.memory.upload(block_key(TENANT, meta.ulid, "index"), index)
        await self.memory.upload(meta_key(TENANT, meta.ulid), meta.encode())
        return meta

    def runner(self) -> JobRunner:
        return JobRunner(
            store=self.store(),
            merger=self.merger,
            scratch=self.scratch,
            offload=InlineOffload(),
            clock=self.clock,
            entropy=lambda count: bytes(self.rng.randrange(256) for _ in range(count)),
            space_free=lambda path: self.free,
            downloads=4,
        )

    def store(self) -> BucketBlockStore:
        return BucketBlockStore(bucket=self.bucket, offload=InlineOffload(), clock=self.clock, concurrency=4)

    def compaction(self, owns: object = None, *, tries: int = 2) -> Compaction:
        """A compactor that has just started."""
        metrics = Metrics()
        return Compaction(
            store=self.store(),
            runner=self.runner(),
            owns=owns or Everything(),  # type: ignore[arg-type]
            settings=CompactionSettings(concurrency=1, tries=tries, run_s_max=0),
            planner=lambda tenant: self.settings,
            progress=self.progress,
            metrics=CompactorMetrics(metrics, marked_for_deletion=CleanerMetrics(metrics).marked),
            clock=self.clock,
            rng=self.rng,
        )

    # -- what a reader sees ---------------------------------------------------------------------------------------

    def ulids(self) -> list[str]:
        """Of whole blocks."""
        found = [key.split("/")[1] for key in self.memory.objects if key.endswith("/meta.json")]
        return sorted(found)

    def marked(self, mark: str = DELETION_MARK) -> set[str]:
        assert mark in MARKS
        keys = [key for key in self.memory.objects if "/markers/" in key]
        return {name for key in keys if (name := marked_block(key, mark))}

    def live(self) -> list[str]:
        """Whole and not marked for deletion."""
        return [name for name in self.ulids() if name not in self.marked()]

    def read(self, ulids: Iterable[str]) -> Samples:
        """As a querier reads blocks: of one time one sample, and no two that differ."""
        found: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for name in ulids:
            for series, values in json.loads(self.memory.objects[block_key(TENANT, name, "index")][0]).items():
                for t, value in values.items():
                    assert found[series].setdefault(int(t), value) == value
        return dict(found)

    def meta(self, name: str) -> BlockMeta:
        return BlockMeta.decode(self.memory.objects[meta_key(TENANT, name)][0])


def ramp(series: int, begin_h: float, *, hours: float = 2, step_h: float = 0.5) -> Samples:
    """The same samples of some series for the same time, always."""
    times = [int((begin_h + i * step_h) * HOUR_MS) for i in range(int(hours / step_h))]
    return {f"s{number}": {t: float(t % 1009 + number) for t in times} for number in range(series)}
