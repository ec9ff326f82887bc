"""`mimir-rw up`, which `make up` runs: three groups and nginx on this machine, used as their user would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimir_rw.runner.layout import read_write_layout
from mimir_rw.runner.preflight import find_nginx
from tests.e2e.cluster import free_base_port, three_zones_active
from tests.e2e.equality import assert_ten_queries_equal
from tests.e2e.processes import Process, free_port, need, prometheus
from tests.e2e.test_prometheus_writes import CONFIG

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start `mimir-rw up`; at the end its whole family is stopped."""
    kept: list[Process] = []

    def start(*options: str) -> Process:
        kept.append(up(tmp_path, *options))
        return kept[-1].start()

    yield start
    for process in kept:
        process.stop()


def up(directory: Path, *options: str) -> Process:
    _ = find_nginx() or need("nginx", "nginx-light")
    port = free_port()
    argv = [
        str(Path(sys.executable).with_name("mimir-rw")), "up", "--data", str(directory / "data"), "--port", str(port),
        "--base-port", str(free_base_port(8)), *options,
    ]  # fmt: skip
    return Process(argv, port, "/prometheus/api/v1/labels", directory / "up.log", cwd=directory)


def test_a_real_prometheus_writes_and_ten_range_queries_are_equal(
    tmp_path: Path, keep: Callable[[Process], Process], started: Callable[..., Process]
) -> None:
    ours = started()
    theirs = keep(prometheus(tmp_path, CONFIG % ours.port))
    theirs.start()
    assert_ten_queries_equal(theirs.url, ours.url + "/prometheus")

    assert three_zones_active(ours.url)

    theirs.stop()
    assert ours.stop() == 0, ours.log_tail()
    text = ours.log_path.read_text()
    assert "The cluster is ready" in text
    stops = [line.split(" ", 1)[0] for line in text.splitlines() if line.endswith(": stopped")]
    assert stops[0] == "gateway"
    assert [name.split("-")[0] for name in stops[1:]] == ["read"] * 2 + ["backend"] * 3 + ["write"] * 3
    for node in read_write_layout(data=tmp_path / "data").nodes:
        assert not (tmp_path / "data" / node.name / "pid").exists(), f"{node.name} did not end in order"


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        argv = [sys.executable, "-m", "mimir_rw", "up", "--data", str(tmp_path / "data"), "--port", str(port)]
        argv += ["--base-port", str(free_base_port(8))]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"port {port} for the gateway cannot be used: it is taken" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_killed_process_is_started_again(tmp_path: Path, started: Callable[..., Process]) -> None:
    ours = started()
    pid_path = tmp_path / "data" / "write-b" / "pid"
    before = pid_path.read_text()
    os.kill(int(before), signal.SIGKILL)
    deadline = time.monotonic() + 60
    lines: list[str] = []
    while not any(line.endswith(": ready") for line in lines):
        assert time.monotonic() < deadline, ours.log_tail()
        time.sleep(0.2)
        text = ours.log_path.read_text().partition("ended: killed by SIGKILL")[2]
        lines = [line for line in text.splitlines() if line.startswith("write-b ")]
    assert pid_path.read_text() != before


def test_what_a_killed_runner_left_is_named_and_stopped(tmp_path: Path, started: Callable[..., Process]) -> None:
    ours = started()
    ours.kill()
    data = tmp_path / "data"
    again = up(tmp_path)
    done = subprocess.run(again.argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "write-a, " in done.stderr
    assert f"make down DATA={data}" in done.stderr

    script = Path(__file__).parents[2] / "scripts" / "down"
    done = subprocess.run([script, data], capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["nginx", "read-1", "backend-a", "write-a"]
    assert not list(data.glob("*/pid"))
    done = subprocess.run([script, data], capture_output=True, text=True, check=False, timeout=60)
    assert "is not running on" in done.stdout
