"""Cost of the head alone: ns per sample of append, bytes of resident memory per series, replay and select.

usage: python -m tests.bench.head_bench [--series 50000] [--steps 40] [--per-request 2000] [--shuffle] [--group 1]

Label sets are those of the load generator: pods times metrics, ten labels a series. Batches are decoded from remote
write bodies outside the measured time.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from mimir_rw._native import Head, KnownSeries, PushLimits, WriteBatch, decode_remote_write
from tests.bench.load import Load, bodies

KEY = bytes(range(32))
START_MS = 1_700_000_000_000
LIMITS = PushLimits(
    label_names_max=30,
    info_label_names_max=80,
    label_name_bytes_max=1024,
    label_value_bytes_max=2048,
    metadata_bytes_max=1024,
    future_grace_ms=600_000,
    past_grace_ms=0,
    utf8_names=False,
)


def batches(load: Load) -> Iterator[list[WriteBatch]]:
    """The decoded batches of each step; decoding is not measured."""
    known = KnownSeries(entries_max=0)
    for step in bodies(load):
        yield [decode(body, known) for body in step]


def decode(body: bytes, known: KnownSeries) -> WriteBatch:
    push = decode_remote_write(
        body, tenant="bench", key=KEY, known=known, limits=LIMITS, now_ms=START_MS + 10**9, bytes_max=1 << 28
    )
    assert not push.rejections
    return push.batch


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def replay(directory: str) -> tuple[Head, float]:
    start = time.process_time()
    head = Head(directory, tenant="bench", hash_key=KEY)
    while True:
        done, total = head.replay_step(8 << 20)
        if done == total:
            return head, time.process_time() - start


def measure_replay(directory: str) -> None:
    """Runs in a process of its own, so that resident memory is the head's alone."""
    before = resident_bytes()
    head, took = replay(directory)
    grown = resident_bytes() - before
    stats = head.stats()
    print(f"replay            {took / stats.samples_appended * 1e9:8.0f} ns/sample")
    print(f"resident          {grown / stats.series:8.0f} bytes/series, after replay")
    print(f"estimate          {stats.memory_bytes / stats.series:8.0f} bytes/series")
    for metric in ("http_requests_0_total", "queue_depth_1", "http_request_duration_seconds_2_bucket"):
        best = [1e9, 1e9]
        for _ in range(5):
            start = time.process_time()
            found = head.select([(0, "__name__", metric)], 0, 1 << 60)
            selected = time.process_time()
            columns = found.decode(0, len(found.labels), 0, 1 << 60)
            decoded = time.process_time()
            best = [min(best[0], selected - start), min(best[1], decoded - selected)]
        print(f"select            {best[0] * 1e3:8.2f} ms for {len(found.labels)} series of {metric}")
        print(f"decode            {best[1] / max(len(columns.ts), 1) * 1e9:8.1f} ns/sample")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--per-request", type=int, default=2000)
    parser.add_argument("--group", type=int, default=1, help="batches per append")
    parser.add_argument("--shuffle", action="store_true", help="series in another order in every scrape")
    parser.add_argument("--replay", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.replay:
        measure_replay(args.replay)
        return
    directory = tempfile.mkdtemp(prefix="head-bench-")
    load = Load("shuffled" if args.shuffle else "ordered", args.series, args.steps, START_MS, args.per_request)
    head, _ = replay(directory)
    first = rest = 0.0
    for step, made in enumerate(batches(load)):
        for lo in range(0, len(made), args.group):
            group = made[lo : lo + args.group]
            start = time.process_time()
            head.append(group)
            took = time.process_time() - start
            first, rest = (first + took, rest) if step == 0 else (first, rest + took)
    stats = head.stats()
    head.close()
    print(f"first scrape      {first / args.series * 1e9:8.0f} ns/series")
    print(f"other scrapes     {rest / (args.series * max(args.steps - 1, 1)) * 1e9:8.0f} ns/sample")
    print(f"log               {stats.wal_bytes_written / stats.samples_appended:8.1f} bytes/sample", flush=True)
    subprocess.run([sys.executable, "-m", "tests.bench.head_bench", "--replay", directory], check=True)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
