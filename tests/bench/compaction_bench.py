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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mimir_rw.components.compactor.merge_process import Merged, MergeRequest, MergeSource
from tests.bench.blocks import BEGIN_MS, METRICS, RANGE_MS, bytes_of, gaps, late, meta_of, whole, write_block
from tests.bench.servers import cpu_seconds

MIB = 1 << 20


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


def prometheus(binary: str, blocks: list[Path], scratch: Path) -> Cost:
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
            cpu_s = cpu_seconds(process.pid)
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        finally:
            process.terminate()
    meta = json.loads((result / "meta.json").read_text())
    parents = {parent["ulid"] for parent in meta["compaction"]["parents"]}
    read = sum(meta_of(block).stats.samples for block in blocks if block.name in parents)
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


def measure(root: Path, series: int, step_ms: int, binary: str | None) -> Iterator[tuple[str, list[Cost]]]:
    """Costs by what is compacted; ours first, Prometheus' unless `binary` is None."""
    names = [f"01HF000000000000000000000{number}" for number in range(4)]
    replicas = [
        write_block(root / "replicas", name, BEGIN_MS, series, step_ms, mask)
        for name, mask in zip(names, (whole, late, gaps), strict=False)
    ]
    neighbours = [write_block(root / "next", names[n], BEGIN_MS + n * RANGE_MS, series, step_ms) for n in range(3)]
    # Prometheus leaves the newest block alone.
    newest = write_block(root / "next", names[3], BEGIN_MS + 3 * RANGE_MS, METRICS, step_ms)
    for what, blocks, more in (("three replicas", replicas, []), ("three neighbours", neighbours, [newest])):
        costs = [ours(blocks, root / "ours")]
        if binary:
            costs.append(prometheus(binary, [*blocks, *more], root / "theirs"))
        yield what, costs
    yield "three replicas split into four", [ours(replicas, root / "split", shards=4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--step", type=int, default=60, help="seconds between samples")
    parser.add_argument("--no-prometheus", action="store_true")
    parser.add_argument("--scratch", default=None)
    given = parser.parse_args()
    binary = None if given.no_prometheus else shutil.which("prometheus")
    with tempfile.TemporaryDirectory(dir=given.scratch) as name:
        for what, costs in measure(Path(name), given.series, given.step * 1000, binary):
            print(f"{what} of {given.series} series, {given.step} s apart")
            for cost in costs:
                print(cost.line())


if __name__ == "__main__":
    main()
