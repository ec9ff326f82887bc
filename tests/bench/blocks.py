"""Blocks of two hours or a day, made natively: what compaction and queries over storage are measured on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import BlockBuilder, LabelFrame, SampleColumns
from mimir_rw.formats.block_meta import BlockCompaction, BlockMeta, BlockStats
from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock

RANGE_MS = 7_200_000
DAY_MS = 12 * RANGE_MS
BEGIN_MS = 1_700_000_000_000 // DAY_MS * DAY_MS
METRICS = 50
PART_SAMPLES = 2_400_000
TENANT = "anonymous"
Mask = Callable[[int, tuple[int, int]], NDArray[np.bool_]]


def labels(number: int, metrics: int = METRICS) -> dict[str, str]:
    pod = number // metrics
    return {
        "__name__": f"container_metric_{number % metrics:02d}_total",
        "cluster": "prod-eu-1",
        "namespace": f"team-{pod % 100:03d}",
        "pod": f"service-{pod % 1000:04d}-{pod:06x}",
        "container": f"app-{pod % 20}",
        "instance": f"10.{pod >> 16 & 255}.{pod >> 8 & 255}.{pod & 255}:9100",
        "job": f"job-{pod % 30}",
        "region": "eu-west-1",
        "node": f"node-{pod % 500:04d}",
        "image": f"registry/app-{pod % 20}:v1.{pod % 7}",
    }


def whole(_: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.ones(shape, bool)


def late(_: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.ones(shape, bool)
    mask[:, : shape[1] // 12] = False
    return mask


def gaps(seed: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.random.default_rng(seed + 1).random(shape) > 0.01


def write_block(
    root: Path, ulid: str, begin: int, series: int, step_ms: int, mask_of: Mask = whole,
    *, range_ms: int = RANGE_MS, metrics: int = METRICS,
) -> Path:  # fmt: skip
    """A quarter of the series stands still, grows evenly, grows by chance, and is random."""
    builder = BlockBuilder()
    count = range_ms // step_ms
    part = max(1, PART_SAMPLES // count)
    for first in range(0, series, part):
        numbers = np.arange(first, min(first + part, series))
        chance = np.random.default_rng((first, begin))
        kind = numbers % 4
        grown = chance.integers(0, 200, size=(len(numbers), count)).astype(np.float64)
        grown[kind == 0], grown[kind == 1] = 0, 7
        values = np.cumsum(grown, axis=1) + 1000
        values[kind == 3] = np.round(chance.random((int((kind == 3).sum()), count)) * 100, 3)
        offsets = numbers // metrics * 7919 % step_ms
        ts = begin + offsets[:, None] + np.arange(count)[None, :] * step_ms
        mask = mask_of(first, values.shape)
        ends = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64)
        frame = LabelFrame.from_rows([labels(int(number), metrics) for number in numbers])
        builder.add(frame, SampleColumns(ends, ts[mask].astype(np.int64), values[mask]))
    directory = root / ulid
    directory.mkdir(parents=True)
    found = builder.write(str(directory))
    stats = BlockStats(found.samples, found.floats, found.histograms, found.series, found.chunks)
    meta = BlockMeta(ulid, begin, begin + range_ms, stats, BlockCompaction(sources=(ulid,)))
    (directory / "meta.json").write_bytes(meta.encode())
    return directory


def write_index(bucket: Path, blocks: Iterable[Path]) -> None:
    """The bucket index, so that nobody waits for a compactor to write it."""
    now = int(time.time())
    index = tuple(IndexedBlock(m.ulid, m.min_time, m.max_time, now, 1) for m in map(meta_of, blocks))
    (bucket / TENANT / "bucket-index.json.gz").write_bytes(BucketIndex(index, (), now).encode())


def meta_of(block: Path) -> BlockMeta:
    return BlockMeta.decode((block / "meta.json").read_bytes())


def bytes_of(block: Path) -> int:
    return sum(path.stat().st_size for path in block.rglob("*") if path.is_file() and path.name != "meta.json")
