"""What a store-gateway needs for many blocks: time to be ready, and memory while it answers over all of them.

    python -m tests.bench.store_bench DIRECTORY [--blocks 100] [--series 100000] [--days 7]

Blocks are made natively, once for a directory: counters at 60 s, `job` with 20 values. Then a store-gateway, and a
process with all the rest, run on them and `sum by (job)(rate())` over the whole time is asked.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mimir_rw._native import BlockBuilder, LabelFrame, SampleColumns
from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock
from mimir_rw.formats.ulid import make_ulid, ulid_time_ms
from tests.bench.servers import cpu_seconds, free_port

STEP_MS = 60_000
JOBS = 20
TENANT = "anonymous"
_AGE_MS = 14 * 3_600_000


def make_blocks(bucket: Path, *, blocks: int, series: int, days: float) -> None:
    """The newest block ends 14 h ago. What was made before is kept."""
    done = bucket / "made.json"
    wanted = {"blocks": blocks, "series": series, "days": days}
    if done.exists() and json.loads(done.read_text())["of"] == wanted:
        index = json.loads(done.read_text())["index"]
    else:
        index = list(_made(bucket, blocks, series, days))
        done.write_text(json.dumps({"of": wanted, "index": index}))
    found = BucketIndex(tuple(IndexedBlock(*each) for each in index), (), int(time.time()))
    (bucket / TENANT / "bucket-index.json.gz").write_bytes(found.encode())


def _made(bucket: Path, blocks: int, series: int, days: float) -> Iterator[tuple[str, int, int, int, int]]:
    names = [{"__name__": "bench_total", "instance": f"i{n:06}", "job": f"job-{n % JOBS}"} for n in range(series)]
    frame = LabelFrame.from_rows(names)
    count = int(days * 86_400_000 / STEP_MS / blocks)
    end = (int(time.time() * 1000) - _AGE_MS) // STEP_MS * STEP_MS
    there = sorted(each.name for each in (bucket / TENANT).iterdir() if each.is_dir())
    start = ulid_time_ms(there[0]) if there else end - blocks * count * STEP_MS
    if there:
        shutil.rmtree(bucket / TENANT / there[-1])  # it may not be whole
    offsets = np.arange(series + 1, dtype=np.int64) * count
    rates = np.arange(series) % 97 + 1.0
    for number in range(blocks):
        first = start + number * count * STEP_MS
        ulid = make_ulid(first, number.to_bytes(10, "big"))
        directory = bucket / TENANT / ulid
        known = ulid, first, first + count * STEP_MS, first // 1000, 1
        if directory.exists():
            yield known
            continue
        ts = np.tile(first + np.arange(count, dtype=np.int64) * STEP_MS, series)
        steps = number * count + np.arange(count)
        values = np.floor(rates[:, None] * steps[None, :] * 1.37 + (steps % 7)[None, :]).reshape(-1)
        builder = BlockBuilder()
        builder.add(frame, SampleColumns(offsets, ts, values))
        directory.mkdir(parents=True)
        builder.write(str(directory))
        (directory / "tombstones").unlink(missing_ok=True)
        sys.stderr.write(f"block {number + 1} of {blocks}\n")
        yield known


@contextmanager
def process(log: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        popen = subprocess.Popen([sys.executable, "-m", "mimir_rw", *flags], stdout=out, stderr=out)
        try:
            yield popen
        finally:
            popen.terminate()
            popen.wait()


def wait_ready(port: int) -> float:
    """Seconds until it was."""
    began = time.monotonic()
    while time.monotonic() - began < 300:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                return time.monotonic() - began
        except OSError:
            time.sleep(0.05)
    raise SystemExit("not ready in five minutes")


def status_mib(pid: int, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def run(directory: Path, *, days: float) -> dict[str, float]:
    store_http, rest_http, store_gossip, rest_gossip = (free_port() for _ in range(4))
    common = [
        "-auth.multitenancy-enabled=false",
        "-store-gateway.sharding-ring.replication-factor=1",
        "-ingester.ring.replication-factor=1",
        "-querier.timeout=10m",
        "-memberlist.bind-addr=127.0.0.1",
        "-memberlist.advertise-addr=127.0.0.1",
        "-common.instance-addr=127.0.0.1",
        "-server.http-listen-address=127.0.0.1",
        f"-blocks-storage.filesystem.dir={directory / 'bucket'}",
        f"-blocks-storage.bucket-store.sync-dir={directory / 'sync'}",
        f"-blocks-storage.tsdb.dir={directory / 'tsdb'}",
        f"-memberlist.join=127.0.0.1:{store_gossip}",
    ]

    def flags(name: str, target: str, http: int, gossip: int) -> list[str]:
        ports = [f"-server.http-listen-port={http}", f"-server.grpc-listen-port={free_port()}"]
        return [*common, *ports, f"-target={target}", f"-common.instance-id={name}", f"-memberlist.bind-port={gossip}"]

    rest = "distributor,ingester,query-frontend,query-scheduler,querier"
    found: dict[str, float] = {}
    with process(directory / "store.log", *flags("store", "store-gateway", store_http, store_gossip)) as store:
        found["ready_s"] = wait_ready(store_http)
        found["ready_rss_mib"] = status_mib(store.pid, "VmRSS")
        with process(directory / "rest.log", *flags("rest", rest, rest_http, rest_gossip)) as other:
            wait_ready(rest_http)
            for name in ("first", "second"):
                began, cpu = time.monotonic(), [cpu_seconds(each.pid) for each in (store, other)]
                found[f"{name}_series"] = _ask(rest_http, days)
                found[f"{name}_s"] = time.monotonic() - began
                found[f"{name}_store_cpu_s"], found[f"{name}_rest_cpu_s"] = (
                    cpu_seconds(each.pid) - before for each, before in zip((store, other), cpu, strict=True)
                )
                found[f"{name}_store_peak_mib"] = status_mib(store.pid, "VmHWM")
            found["store_rss_mib"] = status_mib(store.pid, "VmRSS")
            found["rest_peak_mib"] = status_mib(other.pid, "VmHWM")
    return found


def _ask(port: int, days: float) -> float:
    end = int(time.time()) - _AGE_MS // 1000
    ask = {"query": "sum by (job)(rate(bench_total[5m]))", "start": end - days * 86_400, "end": end, "step": 3600}
    data = urllib.parse.urlencode(ask).encode()
    url = f"http://127.0.0.1:{port}/prometheus/api/v1/query_range"
    with urllib.request.urlopen(url, data=data, timeout=900) as answer:
        return float(len(json.load(answer)["data"]["result"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--days", type=float, default=7)
    options = parser.parse_args()
    bucket = options.directory / "bucket"
    (bucket / TENANT).mkdir(parents=True, exist_ok=True)
    make_blocks(bucket, blocks=options.blocks, series=options.series, days=options.days)
    print(json.dumps(run(options.directory, days=options.days), indent=1))


if __name__ == "__main__":
    main()
