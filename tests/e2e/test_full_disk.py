"""A disk that fills up: nothing is acknowledged that is not kept, readiness says why, and space brings it back."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
