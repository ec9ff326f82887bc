"""Cost of the head alone: ns per sample of append, bytes of resident memory per series, replay and select.

usage: python tests/bench/head_bench.py [--series 50000] [--steps 40] [--per-request 2000] [--shuffle] [--group 1]

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
from itertools import islice

import numpy as np
import snappy

from mimir_rw._native import Head, KnownSeries, PushLimits, WriteBatch, decode_remote_write

KEY = bytes(range(32))
INTERVAL_MS = 15_000
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


def uvarint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append((n & 0x7F) | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    return uvarint(number << 3 | 2) + uvarint(len(payload)) + payload


def label_set(i: int) -> tuple[str, bytes]:
    """Kind and encoded labels of series i."""
    pod, m = divmod(i, 100)
    family, sub = divmod(m, 10)
    kind = ("counter", "gauge", "bucket")[family % 3]
    labels = {
        "cluster": f"prod-{pod % 3}",
        "namespace": f"team-{pod % 17:02d}",
        "job": f"svc-{pod % 40:02d}",
        "pod": f"svc-{pod % 40:02d}-7f9c6d5b4-{pod:05d}",
        "instance": f"10.{pod >> 8 & 255}.{pod & 255}.7:9100",
        "container": "app",
        "endpoint": "http-metrics",
        "region": "eu-west-1",
    }
    if kind == "bucket":
        labels["__name__"] = f"http_request_duration_seconds_{family}_bucket"
        labels["le"] = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf")[sub]
    elif kind == "counter":
        labels["__name__"] = f"http_requests_{family}_total"
        labels["code"] = str((200, 201, 204, 301, 400, 401, 404, 429, 500, 503)[sub])
    else:
        labels["__name__"] = f"queue_depth_{family}"
        labels["queue"] = f"q{sub}"
    encoded = (field(1, field(1, n.encode()) + field(2, v.encode())) for n, v in sorted(labels.items()))
    return kind, b"".join(encoded)


class Load:
    """Batches of one scrape after another. Rows are templates whose last 16 bytes are value, tag and time."""

    def __init__(self, *, series: int, per_request: int, shuffle: bool) -> None:
        made = [label_set(i) for i in range(series)]
        blank = b"\x09" + bytes(8) + b"\x10" + bytes(6)
        self.rows = [field(1, labels + field(2, blank)) for _, labels in made]
        self.ends = np.cumsum([len(row) for row in self.rows])
        self.is_gauge = np.array([kind == "gauge" for kind, _ in made])
        self.rng = np.random.default_rng(7)
        self.rates = self.rng.integers(1, 50, series).astype(float)
        self.values = np.zeros(series)
        self.per_request = per_request
        self.shuffle = shuffle
        self.known = KnownSeries(entries_max=0)

    def step(self, step: int) -> Iterator[WriteBatch]:
        n = len(self.rows)
        increase = np.floor(self.rates * (0.5 + self.rng.random(n)))
        self.values = np.where(self.is_gauge, np.round(50 + 40 * self.rng.random(n), 2), self.values + increase)
        order = self.rng.permutation(n) if self.shuffle else np.arange(n)
        stamp = np.frombuffer(uvarint(START_MS + step * INTERVAL_MS), np.uint8)
        for lo in range(0, n, self.per_request):
            yield self._batch(order[lo : lo + self.per_request], stamp)

    def _batch(self, rows: np.ndarray, stamp: np.ndarray) -> WriteBatch:
        parts = [self.rows[i] for i in rows]
        ends = np.cumsum([len(part) for part in parts])
        body = np.frombuffer(b"".join(parts), np.uint8).copy()
        body[ends[:, None] + np.arange(-15, -7)] = self.values[rows].astype("<f8").view(np.uint8).reshape(-1, 8)
        body[ends[:, None] + np.arange(-6, 0)] = stamp
        push = decode_remote_write(
            snappy.compress(body.tobytes()),
            tenant="bench",
            key=KEY,
            known=self.known,
            limits=LIMITS,
            now_ms=START_MS + 10**9,
            bytes_max=1 << 28,
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
    load = Load(series=args.series, per_request=args.per_request, shuffle=args.shuffle)
    head, _ = replay(directory)
    first = rest = 0.0
    for step in range(args.steps):
        batches = load.step(step)
        while group := list(islice(batches, args.group)):
            start = time.process_time()
            head.append(group)
            took = time.process_time() - start
            first, rest = (first + took, rest) if step == 0 else (first, rest + took)
    stats = head.stats()
    head.close()
    print(f"first scrape      {first / args.series * 1e9:8.0f} ns/series")
    print(f"other scrapes     {rest / (args.series * max(args.steps - 1, 1)) * 1e9:8.0f} ns/sample")
    print(f"log               {stats.wal_bytes_written / stats.samples_appended:8.1f} bytes/sample", flush=True)
    subprocess.run([sys.executable, __file__, "--replay", directory], check=True)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
