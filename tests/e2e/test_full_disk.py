"""A disk that fills up: nothing is acknowledged that is not kept, readiness says why, and space brings it back."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.members import Members, complaint, ready, until
from tests.e2e.processes import Process, mimir_rw, request
from tests.e2e.remote_write import Sender

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("mounting a small file system needs root")
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_full_disk_and_recovery(tmp_path: Path, small_disk: Path, keep: Callable[[Process], Process]) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    server = keep(mimir_rw(tmp_path, "-log.level=warn", data=small_disk / "tsdb"))
    server.start()
    sender = Sender(server.port, "disk", 200, int(time.time() * 1000) - 600_000, pause=0)
    sender.start()

    deadline = time.monotonic() + 60
    while not sender.refused and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sender.refused, "the disk never filled up"
    assert sender.refused[0][0] == 503, sender.refused[0]
    time.sleep(1)
    ready = request(server.url + "/ready")
    assert ready.status == 503
    assert b"space" in ready.body.lower(), ready.body
    acknowledged = len(sender.acknowledged)

    ballast.unlink()
    server.wait_ready(30)
    deadline = time.monotonic() + 30
    while len(sender.acknowledged) <= acknowledged and time.monotonic() < deadline:
        time.sleep(0.05)
    sender.finish()
    assert len(sender.acknowledged) > acknowledged, "no write was acknowledged after space came back"
    sender.check(server.url + "/prometheus")

    server.kill()
    server.start()
    sender.check(server.url + "/prometheus")


def test_a_full_disk_in_one_zone_is_not_noticed_by_senders(tmp_path: Path, small_disk: Path) -> None:
    """Its ingester says why it is not ready, the other zones carry on, and it comes back with the space."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    cluster = Members(tmp_path, "-log.level=warn", data={"a": small_disk / "tsdb"})
    try:
        cluster.start()
        full, other = cluster.processes["a"], cluster.processes["b"]
        sender = Sender(other.port, "disk", 200, int(time.time() * 1000) - 600_000, pause=0.005)
        sender.start()
        until(lambda: b"space" in complaint(full).lower(), "the disk is full")
        acknowledged = len(sender.acknowledged)
        until(lambda: len(sender.acknowledged) > acknowledged + 100, "writes go on")
        for zone in ("b", "c"):
            assert ready(cluster.processes[zone]).status == 200

        ballast.unlink()
        full.wait_ready(30)
        acknowledged = len(sender.acknowledged)
        until(lambda: len(sender.acknowledged) > acknowledged + 20, "writes go on")
        sender.finish()
        assert not sender.refused, sender.refused[0]
        for process in (full, other):
            sender.check(process.url + "/prometheus")

        # What it takes now counts: with one of the others gone it is needed.
        cluster.processes["c"].kill()
        cluster.serve("after")
    finally:
        cluster.close()
