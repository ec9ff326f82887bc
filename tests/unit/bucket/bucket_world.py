"""A bucket in memory, local blocks, a clock that is set: what the tests of bucket/ stand on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mimir_rw.bucket.blocks import fetch_meta
from mimir_rw.bucket.cleaner import Cleaner, CleanerSettings
from mimir_rw.bucket.cleaner_metrics import CleanerMetrics
from mimir_rw.bucket.index_updater import read_index
from mimir_rw.bucket.shipper import Shipper, ShipperMetrics
from mimir_rw.bucket.upload import upload_block
from mimir_rw.formats.block_meta import BlockCompaction, BlockMeta, BlockStats, ThanosMeta
from mimir_rw.formats.ulid import make_ulid
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.objstore.contract import Bucket
from mimir_rw.objstore.memory import MemoryBucket

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000
TENANT = "tenant"


class Clock:
    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def pass_hours(self, hours: float) -> None:
        self.ms += int(hours * HOUR_MS)


def ulid(number: int) -> str:
    return make_ulid(START_MS + number, bytes(10))


def meta_of(number: int, *, level: int = 1, samples: int = 5, hours: int = 0) -> BlockMeta:
    """A block of two hours that ends `hours` before START_MS."""
    name = ulid(number)
    end = START_MS - hours * HOUR_MS
    return BlockMeta(
        name, end - 2 * HOUR_MS, end, BlockStats(samples=samples, floats=samples, series=1, chunks=1),
        BlockCompaction(level=level, sources=(name,)),
    )  # fmt: skip


def local_block(directory: Path, number: int, *, segments: int = 2, **more: int) -> BlockMeta:
    """Write what looks like a block to whoever moves files only."""
    meta = meta_of(number, **more)
    place = directory / meta.ulid
    (place / "chunks").mkdir(parents=True)
    for segment in range(1, segments + 1):
        (place / "chunks" / f"{segment:06}").write_bytes(b"%d of %d" % (segment, number) * 10)
    (place / "index").write_bytes(b"index of %d" % number)
    (place / "tombstones").write_bytes(b"none")
    (place / "meta.json").write_bytes(meta.encode())
    return meta


def promtool_blocks(place: Path) -> Path:
    """A directory with real blocks of ten hours and two series, made by promtool."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not here")
    lines = ["# TYPE up gauge"]
    lines += [f'up{{job="{job}"}} {n} {1_600_000_000 + 600 * n}' for job in "ab" for n in range(60)] + ["# EOF", ""]
    (place / "metrics").write_text("\n".join(lines))
    argv = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(place / "metrics"), str(place / "made")]
    subprocess.run(argv, check=True, capture_output=True)
    return place / "made"


class World:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.clock = Clock()
        self.bucket = MemoryBucket(clock=self.clock)

    def shipper(self, bucket: Bucket | None = None) -> Shipper:
        return Shipper(
            bucket=bucket or self.bucket, tenant=TENANT, directory=self.place, offload=InlineOffload(),
            clock=self.clock, metrics=ShipperMetrics(Metrics()),
        )  # fmt: skip

    def cleaner(self, bucket: Bucket | None = None) -> Cleaner:
        return Cleaner(
            bucket=bucket or self.bucket, clock=self.clock, settings=CleanerSettings(),
            metrics=CleanerMetrics(Metrics()),
        )  # fmt: skip

    async def upload(self, number: int, bucket: Bucket | None = None, *, resumable: bool = True, **more: int) -> str:
        name = ulid(number)
        meta = meta_of(number, **more) if (self.place / name).exists() else local_block(self.place, number, **more)
        meta = meta.replaced(thanos=ThanosMeta(source="receive"))
        await upload_block(
            bucket or self.bucket, TENANT, self.place / name, meta, offload=InlineOffload(), resumable=resumable
        )
        return name

    def names(self, number: int) -> list[str]:
        """What is in a block's directory in the bucket."""
        prefix = f"{TENANT}/{ulid(number)}/"
        return sorted(key.removeprefix(prefix) for key in self.bucket.objects if key.startswith(prefix))

    async def readable(self) -> set[str]:
        """The blocks that a reader of the index finds: each must be whole, and ignores those marked an hour ago."""
        index = await read_index(self.bucket, TENANT)
        if index is None:
            return set()
        named = [block.ulid for block in index.blocks]
        assert len(named) == len(set(named)), "a block is named twice"
        now_s = self.clock.now_ms() // 1000
        ignored = {mark.ulid for mark in index.deletion_marks if now_s - mark.deletion_time_s >= 3600}
        for name in set(named) - ignored:
            await self.whole(name)
        return set(named) - ignored

    async def whole(self, name: str) -> None:
        """Fails unless all that the block's meta.json names is there."""
        meta = await fetch_meta(self.bucket, TENANT, name)
        assert meta.thanos is not None
        for file in meta.thanos.files:
            data, _ = self.bucket.objects[f"{TENANT}/{name}/{file.path}"]
            assert file.size is None or len(data) == file.size
