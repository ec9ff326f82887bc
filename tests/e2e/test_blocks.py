"""Heads become blocks while samples come in and the process is killed: nothing is lost, nothing is there twice, and
Prometheus' tool reads the same from the bucket."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.processes import Process, metric, metrics, mimir_rw, need, request
from tests.e2e.remote_write import Sender

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 8
SENDERS, SERIES = 3, 20
QUICK = (
    "-log.level=warn",
    "-blocks-storage.tsdb.block-ranges-period=2s",
    "-blocks-storage.tsdb.head-compaction-interval=100ms",
    "-blocks-storage.tsdb.ship-interval=200ms",
    "-blocks-storage.tsdb.wal-segment-size-bytes=65536",
)


def started(tmp_path: Path, keep: Callable[[Process], Process], *flags: str) -> Process:
    server = keep(mimir_rw(tmp_path, *QUICK, f"-blocks-storage.filesystem.dir={tmp_path / 'bucket'}", *flags))
    server.start()
    return server


def senders_of(server: Process) -> list[Sender]:
    start_ms = int(time.time() * 1000) - 600_000
    senders = [Sender(server.port, f"s{n}", SERIES, start_ms) for n in range(SENDERS)]
    for sender in senders:
        sender.start()
    return senders


def finish(senders: list[Sender]) -> None:
    for sender in senders:
        sender.finish()
    assert sum(len(sender.acknowledged) for sender in senders) > 200


def check(server: Process, senders: list[Sender]) -> None:
    for sender in senders:
        sender.check(server.url + "/prometheus")


def dumped(bucket: Path) -> dict[tuple[str, str], dict[int, float]]:
    """What promtool reads from a tenant's blocks: by sender and series."""
    promtool = need("promtool", "prometheus")
    (bucket / "wal").mkdir(exist_ok=True)
    run = subprocess.run([promtool, "tsdb", "dump", str(bucket)], capture_output=True, text=True, check=True)
    found: dict[tuple[str, str], dict[int, float]] = {}
    for line in run.stdout.splitlines():
        labels, value, at = line.rsplit(" ", 2)
        sender = labels.split('sender="')[1].split('"')[0]
        series = labels.split('series="')[1].split('"')[0]
        row = found.setdefault((sender, series), {})
        assert int(at) not in row, "promtool sees a sample twice"
        row[int(at)] = float(value)
    return found


def test_kill_nine_while_heads_are_cut(tmp_path: Path, keep: Callable[[Process], Process]) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    server = started(tmp_path, keep)
    senders = senders_of(server)
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.5, 2.0))
        server.kill()
        server.start()
    time.sleep(1.5)
    seen = metrics(server.url)
    assert metric(seen, "cortex_ingester_tsdb_compactions_total") > 0
    assert metric(seen, "cortex_ingester_tsdb_compactions_failed_total") == 0
    finish(senders)
    check(server, senders)
    assert server.stop() == 0
    server.start()
    check(server, senders)
    assert request(server.url + "/ingester/flush?wait=true", method="POST").status == 204
    seen = metrics(server.url)
    assert metric(seen, "cortex_ingester_memory_series") == 0
    assert metric(seen, "cortex_ingester_oldest_unshipped_block_timestamp_seconds") == 0
    check(server, senders)
    assert server.stop() == 0
    stored = dumped(tmp_path / "bucket" / "anonymous")
    for sender in senders:
        for index in range(SERIES):
            row = stored[sender.name_label, f"{index:04d}"]
            for tick in sender.acknowledged:
                assert row[sender.time_ms(tick)] == sender.value(index, tick)
            assert len(row) <= sender.sent


def test_an_ingester_that_is_told_to_leave_has_everything_in_the_bucket(
    tmp_path: Path, keep: Callable[[Process], Process]
) -> None:
    server = started(tmp_path, keep)
    senders = senders_of(server)
    time.sleep(2)
    finish(senders)
    assert request(server.url + "/ingester/prepare-shutdown").body == b"unset\n"
    assert request(server.url + "/ingester/prepare-shutdown", method="POST").status == 204
    assert server.stop() == 0
    stored = dumped(tmp_path / "bucket" / "anonymous")
    for sender in senders:
        for index in range(SERIES):
            row = stored[sender.name_label, f"{index:04d}"]
            assert all(row[sender.time_ms(tick)] == sender.value(index, tick) for tick in sender.acknowledged)
    server.start()
    assert request(server.url + "/ingester/prepare-shutdown").body == b"set\n"
    assert request(server.url + "/ingester/prepare-shutdown", method="DELETE").status == 204
    check(server, senders)
    assert request(server.url + "/ingester/shutdown", method="POST").status == 204
    answer = request(server.url + "/ready")
    assert answer.status == 503
    assert b"has left the ring" in answer.body
    check(server, senders)
