"""Record what a Prometheus makes of native histograms: its logs, and the chunks of the block that it cuts from them.

    python -m tests.golden.histograms.record PROMETHEUS PORT

Pushes seeded series (counters with new and vanishing buckets, resets, gauges, custom buckets, integers and floats,
changes of kind, stale markers, late samples, exemplars) to a Prometheus with an empty directory, takes a snapshot of
its head and writes `wal.bin`, `wbl.bin` (segments as they are) and `chunks.bin` (the chunk segment of
the snapshot: series in label order, chunks of each in order of time) beside this file.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mimir_rw.testing.remote_write import compress, field, labels, sample, uvarint

HERE = Path(__file__).parent
START_MS = 1_700_000_000_000
STEP_MS = 30_000
STEPS = 320
SEED = 20
STALE = struct.unpack("<d", bytes.fromhex("020000000000f07f"))[0]
CONFIG = """
global: {scrape_interval: 1h}
storage:
  tsdb: {out_of_order_time_window: 30m}
  exemplars: {max_exemplars: 1000}
"""


@dataclass(frozen=True)
class Histogram:
    """buckets: absolute counts by index. kind: integer or float."""

    kind: str
    schema: int
    zero_threshold: float
    zero_count: int
    total: float
    positive: dict[int, int]
    negative: dict[int, int]
    custom: tuple[float, ...] = ()
    hint: int = 0


def zigzag(n: int) -> int:
    return n << 1 if n >= 0 else (-n << 1) - 1


def double(number: int, value: float) -> bytes:
    return uvarint(number << 3 | 1) + struct.pack("<d", value)


def integer(number: int, value: int) -> bytes:
    return uvarint(number << 3) + uvarint(value)


def side(buckets: dict[int, int], spans_field: int, kind: str) -> bytes:
    """Spans and buckets of one side: span, delta and count fields follow each other by number."""
    out, values, end = b"", [buckets[at] for at in sorted(buckets)], 0
    runs: list[list[int]] = []
    for at in sorted(buckets):
        if runs and at == end:
            runs[-1][1] += 1
        else:
            runs.append([at - end, 1])
        end = at + 1
    for offset, length in runs:
        out += field(spans_field, integer(1, zigzag(offset)) + integer(2, length))
    if kind == "integer":
        deltas = [value - before for value, before in zip(values, [0, *values], strict=False)]
        return out + field(spans_field + 1, b"".join(uvarint(zigzag(delta)) for delta in deltas))
    return out + field(spans_field + 2, struct.pack(f"<{len(values)}d", *values))


def message(h: Histogram, ms: int) -> bytes:
    count = h.zero_count + sum(h.positive.values()) + sum(h.negative.values())
    out = integer(1, count) if h.kind == "integer" else double(2, count)
    out += double(3, h.total) + integer(4, zigzag(h.schema)) + double(5, h.zero_threshold)
    out += integer(6, h.zero_count) if h.kind == "integer" else double(7, h.zero_count)
    out += side(h.negative, 8, h.kind) + side(h.positive, 11, h.kind)
    out += integer(14, h.hint) + integer(15, ms)
    return field(4, out + field(16, struct.pack(f"<{len(h.custom)}d", *h.custom)))


def exemplar(ms: int, value: float) -> bytes:
    return field(3, labels({"trace_id": f"{ms:x}"}) + double(2, value) + integer(3, ms))


def grown(rng: random.Random, h: Histogram) -> Histogram:
    """What a counter is a moment later."""

    def more(buckets: dict[int, int], start: int) -> dict[int, int]:
        after = {at: n + rng.choice((0, 0, 1, 7)) for at, n in buckets.items()}
        if rng.random() < 0.08:
            after[start + rng.randrange(12)] = after.get(start, 0) + 1
        if rng.random() < 0.05:
            after = {at: n for at, n in after.items() if n}
        return dict(sorted(after.items()))

    if h.schema == -53:
        positive, negative = {at: n + rng.randrange(3) for at, n in h.positive.items()}, h.negative
    else:
        positive, negative = more(h.positive, -3), more(h.negative, 2) if h.negative else h.negative
        positive = {at: max(n, h.positive.get(at, 0)) for at, n in positive.items()}
    zero = h.zero_count + (rng.randrange(2) if h.zero_threshold else 0)
    return replace(h, zero_count=zero, total=h.total + rng.random(), positive=positive, negative=negative)


def fresh(rng: random.Random, kind: str, custom: bool) -> Histogram:
    if custom:
        bounds = (0.005, 0.01, 0.25, 1.0, 7.123456) if rng.random() < 0.5 else (0.1, 33554.43, 1e9)
        return Histogram(kind, -53, 0.0, 0, 0.5, {at: rng.randrange(4) for at in range(len(bounds) + 1)}, {}, bounds)
    positive = {at: rng.randrange(5) for at in range(-2, rng.randrange(1, 9))}
    negative = {at: rng.randrange(3) for at in range(rng.randrange(3))}
    threshold = rng.choice((0.0, 2.0**-128, 0.001))
    return Histogram(kind, rng.randrange(-2, 5), threshold, 1 if threshold else 0, 0.25, positive, negative)


def next_of(rng: random.Random, name: str, h: Histogram, step: int) -> Histogram:
    """By the series' name: what it does beside growing."""
    roll = rng.random()
    if name == "gauge":
        positive = {at: rng.randrange(9) for at in sorted(rng.sample(range(-4, 9), 6))}
        return replace(h, positive=positive, total=rng.random(), hint=3)
    if name == "mixed" and step % 40 == 0:
        return replace(h, kind="float" if h.kind == "integer" else "integer")
    if name != "steady" and roll < 0.02:
        return fresh(rng, h.kind, name.startswith("custom"))
    if name == "told" and roll < 0.05:
        return replace(grown(rng, h), hint=1)
    return replace(grown(rng, h), hint=0)


NAMES = (
    *("custom", "custom_float", "gauge", "gauge_float", "mixed"),
    *("resets", "resets_float", "steady", "told", "with_floats"),
)


def rows(rng: random.Random, state: dict[str, Histogram], step: int) -> list[bytes]:
    found = []
    for name in NAMES:
        kind = "float" if name.endswith("_float") else "integer"
        base = name.removesuffix("_float")
        before = state.get(name) or fresh(rng, kind, base == "custom")
        state[name] = h = next_of(rng, base, before, step)
        ms = START_MS + step * STEP_MS + (rng.randrange(50) if base == "resets" else 0)
        out = labels({"__name__": name})
        late = step > 5 and rng.random() < 0.05 and base not in ("gauge", "told")
        if name == "with_floats" and step // 25 % 2:
            out += sample(ms, float(step))
        elif step % 90 == 89:
            out += message(replace(h, total=STALE, positive={}, negative={}, zero_count=0, custom=h.custom), ms)
        else:
            out += exemplar(ms, h.total) if base == "steady" and step % 9 == 0 else b""
            out += message(h, ms)
        found.append(field(1, out))
        if late:
            found.append(field(1, labels({"__name__": name}) + message(h, ms - 4 * STEP_MS - 7)))
    return found


def bodies() -> Iterator[bytes]:
    """Remote write 1.0 requests in the order in which they are sent."""
    rng = random.Random(SEED)
    state: dict[str, Histogram] = {}
    for step in range(STEPS):
        yield compress(b"".join(rows(rng, state, step)))


def post(port: int, path: str, body: bytes) -> bytes:
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        read: bytes = answer.read()
        return read


def wait_until_ready(port: int) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5)
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError("Prometheus is not ready")


def main(prometheus: str, port: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "prometheus.yml").write_text(CONFIG)
        command = [
            prometheus, f"--config.file={root}/prometheus.yml", f"--storage.tsdb.path={root}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver", "--web.enable-admin-api",
            "--no-storage.tsdb.wal-compression", "--storage.tsdb.retention.time=100y",
            "--enable-feature=exemplar-storage", "--log.level=warn",
        ]  # fmt: skip
        process = subprocess.Popen(command)
        try:
            wait_until_ready(port)
            for body in bodies():
                post(port, "/api/v1/write", body)
            answer = json.loads(post(port, "/api/v1/admin/tsdb/snapshot", b""))
        finally:
            process.terminate()
            process.wait()
        snapshot = root / "data" / "snapshots" / answer["data"]["name"]
        blocks = sorted(block for block in snapshot.iterdir() if (block / "chunks").is_dir())
        for block in blocks:
            shutil.copy(block / "chunks" / "000001", HERE / "chunks.bin")
            print((block / "meta.json").read_text())
        shutil.copy(root / "data" / "wal" / "00000000", HERE / "wal.bin")
        shutil.copy(root / "data" / "wbl" / "00000000", HERE / "wbl.bin")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
