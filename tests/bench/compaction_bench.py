"""Cost of compaction: three replicas of two hours, and three neighbours, beside Prometheus compacting the same blocks.

usage: python -m tests.bench.compaction_bench [--series 100000] [--step 60] [--no-prometheus]

Two of the replicas have gaps, so that all of their chunks are decoded. Prometheus' processor time and memory are those
of the process from its start until the block is there, which takes it a minute each time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import BlockBuilder, LabelFrame, SampleColumns
from mimir_rw.components.compactor.merge_process import Merged, MergeRequest, MergeSource
from mimir_rw.formats.block_meta import BlockCompaction, BlockMeta, BlockStats

RANGE_MS = 7_200_000
BEGIN_MS = 1_700_000_000_000 // (3 * RANGE_MS) * 3 * RANGE_MS
METRICS = 50
PART = 20_000
MIB = 1 << 20
Mask = Callable[[int, tuple[int, int]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Cost:
    who: str
    cpu_s: float
    peak_bytes: int
    read: int
    samples: int
    size: int

    def line(self) -> str:
        return (
            f"  {self.who:<12}{self.cpu_s:7.1f} s CPU {self.read / self.cpu_s / 1e6:8.1f} M samples read per CPU s"
            f"{self.peak_bytes // MIB:7} MiB peak {self.size / self.samples:7.3f} bytes a sample"
        )


def labels(number: int) -> dict[str, str]:
    pod = number // METRICS
    return {
        "__name__": f"container_metric_{number % METRICS:02d}_total",
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


def write_block(root: Path, ulid: str, window: int, series: int, step_ms: int, mask_of: Mask) -> Path:
    """A quarter of the series stands still, grows evenly, grows by chance, and is random."""
    builder = BlockBuilder()
    begin, count = BEGIN_MS + window * RANGE_MS, RANGE_MS // step_ms
    for first in range(0, series, PART):
        numbers = np.arange(first, min(first + PART, series))
        chance = np.random.default_rng(first * 100 + window)
        kind = numbers % 4
        grown = chance.integers(0, 200, size=(len(numbers), count)).astype(np.float64)
        grown[kind == 0], grown[kind == 1] = 0, 7
        values = np.cumsum(grown, axis=1) + 1000
        values[kind == 3] = np.round(chance.random((int((kind == 3).sum()), count)) * 100, 3)
        offsets = numbers // METRICS * 7919 % step_ms
        ts = begin + offsets[:, None] + np.arange(count)[None, :] * step_ms
        mask = mask_of(first, values.shape)
        ends = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64)
        frame = LabelFrame.from_rows([labels(int(number)) for number in numbers])
        builder.add(frame, SampleColumns(ends, ts[mask].astype(np.int64), values[mask]))
    directory = root / ulid
    directory.mkdir(parents=True)
    found = builder.write(str(directory))
    stats = BlockStats(found.samples, found.floats, found.histograms, found.series, found.chunks)
    meta = BlockMeta(ulid, begin, begin + RANGE_MS, stats, BlockCompaction(sources=(ulid,)))
    (directory / "meta.json").write_bytes(meta.encode())
    return directory


def whole(_: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.ones(shape, bool)


def late(_: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.ones(shape, bool)
    mask[:, : shape[1] // 12] = False
    return mask


def gaps(seed: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.random.default_rng(seed + 1).random(shape) > 0.01


def meta_of(block: Path) -> BlockMeta:
    return BlockMeta.decode((block / "meta.json").read_bytes())


def bytes_of(block: Path) -> int:
    return sum(path.stat().st_size for path in block.rglob("*") if path.is_file() and path.name != "meta.json")


def ours(blocks: list[Path], scratch: Path, shards: int = 1) -> Cost:
    outputs = [scratch / f"out{number}" for number in range(shards)]
    for output in outputs:
        output.mkdir(parents=True)
    metas = [meta_of(block) for block in blocks]
    sources = tuple(MergeSource(str(b), m.min_time, m.max_time) for b, m in zip(blocks, metas, strict=True))
    request = msgspec.json.encode(MergeRequest(sources, tuple(map(str, outputs)), 1 << 30))
    argv = [sys.executable, "-m", "mimir_rw.components.compactor.merge_process"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(request + b"\n")
        child.stdin.flush()
        merged = msgspec.json.decode(child.stdout.read(), type=Merged)
    assert not merged.error, merged.error
    samples = sum(output.samples for output in merged.outputs)
    size = sum(map(bytes_of, outputs))
    shutil.rmtree(scratch)
    return Cost("mimir-rw", merged.cpu_s, merged.peak_bytes, sum(m.stats.samples for m in metas), samples, size)


def prometheus(blocks: list[Path], scratch: Path) -> Cost | None:
    binary = shutil.which("prometheus")
    if binary is None:
        return None
    data = scratch / "data"
    for block in blocks:
        shutil.copytree(block, data / block.name)
    (scratch / "p.yml").write_text("global: {}")
    argv = [
        binary, f"--config.file={scratch / 'p.yml'}", f"--storage.tsdb.path={data}", "--log.level=error",
        "--storage.tsdb.retention.time=100y", "--web.listen-address=127.0.0.1:0",
    ]  # fmt: skip
    with subprocess.Popen(argv) as process:
        try:
            result = wait_compacted(data)
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        finally:
            process.terminate()
    meta = json.loads((result / "meta.json").read_text())
    parents = {parent["ulid"] for parent in meta["compaction"]["parents"]}
    read = sum(meta_of(block).stats.samples for block in blocks if block.name in parents)
    cpu_s = (int(fields[11]) + int(fields[12])) / 100
    cost = Cost("Prometheus", cpu_s, peak, read, meta["stats"]["numSamples"], bytes_of(result))
    shutil.rmtree(scratch)
    return cost


def level_of(path: Path) -> int:
    try:
        level: int = json.loads(path.read_text())["compaction"]["level"]
    except (OSError, ValueError):
        return 0
    return 0 if "tmp" in path.parent.name else level


def wait_compacted(data: Path) -> Path:
    for _ in range(1200):
        found = [path.parent for path in data.glob("*/meta.json") if level_of(path) == 2]
        if found:
            return found[0]
        time.sleep(0.25)
    raise AssertionError("Prometheus has not compacted within five minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--step", type=int, default=60, help="seconds between samples")
    parser.add_argument("--no-prometheus", action="store_true")
    parser.add_argument("--scratch", default=None)
    given = parser.parse_args()
    step_ms = given.step * 1000
    with tempfile.TemporaryDirectory(dir=given.scratch) as name:
        root = Path(name)
        names = [f"01HF000000000000000000000{number}" for number in range(4)]
        masks: list[Mask] = [whole, late, gaps]
        replicas = [
            write_block(root / "replicas", names[n], 0, given.series, step_ms, mask) for n, mask in enumerate(masks)
        ]
        neighbours = [write_block(root / "next", names[n], n, given.series, step_ms, whole) for n in range(3)]
        # Prometheus leaves the newest block alone.
        newest = write_block(root / "next", names[3], 3, METRICS, step_ms, whole)
        for what, blocks, more in (("three replicas", replicas, []), ("three neighbours", neighbours, [newest])):
            print(f"{what} of {given.series} series, {given.step} s apart")
            print(ours(blocks, root / "ours").line())
            theirs = None if given.no_prometheus else prometheus([*blocks, *more], root / "theirs")
            if theirs is not None:
                print(theirs.line())
        print("three replicas split into four")
        print(ours(replicas, root / "split", shards=4).line())


if __name__ == "__main__":
    main()
