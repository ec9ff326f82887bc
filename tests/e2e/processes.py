"""Real processes on loopback for the end-to-end tests: mimir-rw and Debian's Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

START_SECONDS_MAX = 60.0


_GIVEN_PORTS: set[int] = set()


def free_port() -> int:
    """One that nobody listens on now, and that was not given to anybody before in this process."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = int(s.getsockname()[1])
        if port not in _GIVEN_PORTS:
            _GIVEN_PORTS.add(port)
            return port


def need(binary: str, package: str) -> str:
    """Path of a peer's binary. Without it the test is skipped on a user's machine and fails in CI."""
    path = shutil.which(binary)
    if path is None:
        text = f"{binary} is not installed (apt-get install {package}; `make test` as root does it)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return path


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


def request(
    url: str,
    *,
    data: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = 30,
    method: str | None = None,
) -> Answer:
    """One HTTP request; statuses of any kind are answers, a broken connection is an OSError."""
    call = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(call, timeout=timeout) as answer:
            return Answer(answer.status, answer.read(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read(), dict(error.headers))


@dataclass(slots=True)
class Process:
    """A server process with its log; `start` waits until the ready path answers 200."""

    argv: list[str]
    port: int
    ready_path: str
    log_path: Path
    cwd: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    def spawn(self) -> None:
        with self.log_path.open("ab") as log:
            self.popen = subprocess.Popen(
                self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.cwd, env=os.environ | self.env
            )

    def start(self) -> Process:
        self.spawn()
        self.wait_ready()
        return self

    def wait_ready(self, seconds: float = START_SECONDS_MAX) -> None:
        deadline = time.monotonic() + seconds
        last = "no answer"
        while time.monotonic() < deadline:
            assert self.popen is not None
            if self.popen.poll() is not None:
                raise AssertionError(f"{self.argv[0]} exited with {self.popen.returncode}:\n{self.log_tail()}")
            try:
                answer = request(self.url + self.ready_path, timeout=5)
                if answer.status == 200:
                    return
                last = f"{answer.status} {answer.body[:300]!r}"
            except OSError as error:
                last = str(error)
            time.sleep(0.05)
        raise AssertionError(f"{self.argv[0]} not ready after {seconds} s ({last}):\n{self.log_tail()}")

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM and wait; returns the exit status."""
        assert self.popen is not None
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(seconds)

    def kill(self) -> None:
        """kill -9 and reap."""
        if self.popen is not None and self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()

    def log_tail(self, count: int = 4000) -> str:
        return self.log_path.read_bytes()[-count:].decode(errors="replace") if self.log_path.exists() else ""

    def rss(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def mimir_rw(directory: Path, *flags: str, port: int | None = None, data: Path | None = None) -> Process:
    """`-target=all` on a data directory, single tenant, not started yet."""
    port = port or free_port()
    binary = Path(sys.executable).with_name("mimir-rw")
    argv = [
        str(binary), "-target=all", "-auth.multitenancy-enabled=false", "-server.http-listen-address=127.0.0.1",
        f"-server.http-listen-port={port}", f"-blocks-storage.tsdb.dir={data or directory / 'tsdb'}", *flags,
    ]  # fmt: skip
    return Process(argv, port, "/ready", directory / "mimir-rw.log", cwd=directory)


def prometheus(
    directory: Path, config: str, *, port: int | None = None, flags: Sequence[str] = (), binary: str = ""
) -> Process:
    """binary: the one installed unless given."""
    binary = binary or need("prometheus", "prometheus")
    port = port or free_port()
    path = directory / "prometheus.yml"
    path.write_text(config.replace("$PORT", str(port)))
    argv = [
        binary, f"--config.file={path}", f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", *flags,
    ]  # fmt: skip
    return Process(argv, port, "/-/ready", directory / "prometheus.log")


def query(base: str, path: str, **params: str | float) -> Any:
    """POST a query to a Prometheus-compatible API at `base`; the success answer's data."""
    answer = request(f"{base}/api/v1/{path}", data=urllib.parse.urlencode(params).encode())
    assert answer.status == 200, (answer.status, answer.body[:1000], params)
    return answer.json()["data"]


def metrics(base: str) -> str:
    """The text of /metrics."""
    return request(base + "/metrics").body.decode()


def metric(scrape: str, name: str, **labels: str) -> float:
    """Sum of the samples of a metric in the text of /metrics that carry the given labels."""
    total = 0.0
    for line in scrape.splitlines():
        head, _, value = line.rpartition(" ")
        if head.partition("{")[0] == name and all(f'{k}="{v}"' in head for k, v in labels.items()):
            total += float(value)
    return total
