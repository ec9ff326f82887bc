"""Cutting a block from a head: CPU, bytes per sample, and for how long each step holds up appends.

usage: python -m tests.bench.cut_bench [--series 500000] [--hours 2] [--interval 60] [--ended 0.1]

A part of the series ends before the cut, so that there is something to drop. Latencies of appends are those of one
thread that goes on pushing scrapes in turn with the steps, as the tenant's lane would have it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mimir_rw._native import Head, HeadUpkeep, KnownSeries, WriteBatch
from tests.bench.head_bench import KEY, decode, resident_bytes
from tests.bench.load import Load, bodies

RANGE_MS = 7_200_000
START_MS = 1_700_000_000_000 // RANGE_MS * RANGE_MS


class Lane:
    """Appends and steps in turn."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.lock = threading.Lock()
        self.waits: list[float] = []
        self.steps: dict[str, list[float]] = {}

    def append(self, batch: WriteBatch) -> None:
        began = time.perf_counter()
        with self.lock:
            self.head.append([batch])
        self.waits.append(time.perf_counter() - began)

    def turn(self, name: str, step: Callable[[], Any]) -> Any:
        with self.lock:
            began = time.perf_counter()
            result = step()
            self.steps.setdefault(name, []).append(time.perf_counter() - began)
        return result


def beside(name: str, step: Callable[[], Any], clock: Callable[[], float]) -> Any:
    began, cpu = time.perf_counter(), clock()
    result = step()
    took = time.perf_counter() - began
    print(f"{name:<18}{took:8.2f} s   {clock() - cpu:8.2f} s CPU")
    return result


def fill(head: Head, args: argparse.Namespace) -> list[WriteBatch]:
    """Scrapes of more than the time to cut; the last one again, to go on with."""
    steps = int(args.hours * 3600 / args.interval) + 1
    load = Load("ordered", args.series, steps + args.more, START_MS, 2000, interval_ms=args.interval * 1000)
    known, later = KnownSeries(entries_max=0), []
    ended = int(args.series * args.ended)
    for step, made in enumerate(bodies(load)):
        batches = [decode(body, known) for body in made]
        if step > steps // 2:
            batches = batches[ended // 2000 :]
        if step < steps:
            for batch in batches:
                head.append([batch])
        else:
            later.extend(batches)
    return later


def cut(lane: Lane, upkeep: HeadUpkeep, place: Path, maxt: int) -> Any:
    lane.turn("freeze", lambda: upkeep.freeze(maxt))
    clock = time.thread_time
    stats = beside("write block", lambda: upkeep.write_block(str(place), START_MS, maxt), clock)
    start: int | None = 0
    while start is not None:
        start = lane.turn("forget", lambda at=start: upkeep.forget(maxt, at))
    beside("prepare rebuild", upkeep.prepare_rebuild, clock)
    print(f"series dropped    {lane.turn('rebuild', upkeep.rebuild):8d}")
    active = lane.turn("seal WAL", upkeep.seal_wal)
    beside("checkpoint", lambda: upkeep.checkpoint(active), clock)
    return stats


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=500_000)
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--interval", type=int, default=60)
    parser.add_argument("--ended", type=float, default=0.1)
    parser.add_argument("--more", type=int, default=4)
    parser.add_argument("--quiet", action="store_true", help="no appends beside the cut")
    args = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="cut-bench-"))
    head = Head(str(directory / "t"), tenant="bench", hash_key=KEY)
    head.replay_step(1)
    later = fill(head, args)
    filled = head.stats()
    print(f"{filled.series} series, {filled.samples_appended} samples, {resident_bytes() >> 20} MiB resident")
    lane, ended = Lane(head), threading.Event()

    def go_on() -> None:
        for batch in later:
            if ended.is_set():
                return
            lane.append(batch)
            time.sleep(0.002)

    pusher = threading.Thread(target=go_on)
    if not args.quiet:
        pusher.start()
    (directory / "block").mkdir()
    stats = cut(lane, head.upkeep(), directory / "block", START_MS + int(args.hours * 3_600_000))
    if not args.quiet:
        ended.set()
        pusher.join()
        waits = sorted(lane.waits)
        print(f"appends beside    {len(waits):8d}, median {waits[len(waits) // 2] * 1e3:.2f} ms, "
              f"99 % {waits[int(len(waits) * 0.99)] * 1e3:.1f} ms, longest {waits[-1] * 1e3:.1f} ms")  # fmt: skip
    for name, took in lane.steps.items():
        print(f"{name:<18}{len(took):5d} turns, longest {max(took) * 1e3:8.1f} ms, all {sum(took) * 1e3:8.1f} ms")
    samples = stats.floats + stats.histograms
    files = [path for path in (directory / "block").rglob("*") if path.is_file()]
    size = {path.name: path.stat().st_size for path in files}
    chunks = sum(path.stat().st_size for path in files if path.parent.name == "chunks")
    print(f"block             {stats.series} series, {samples} samples, {sum(size.values()) >> 20} MiB: "
          f"{(chunks + size['index']) / samples:.3f} bytes/sample, {chunks / samples:.3f} in chunks")  # fmt: skip
    print(f"resident          {resident_bytes() >> 20} MiB")
    head.close()
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
