"""The servers under comparison, each started alone on a directory of its own, and what /proc says of them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.cluster import Cluster

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
START_SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to start one kind of server. `argv` gets a free port and the data directory."""

    name: str
    argv: Callable[[int, Path], list[str]]
    push_path: str
    query_prefix: str
    ready_path: str
    wal: str | None = None
    query_extra: str = ""
    cluster: bool = False
    """Three zones behind nginx instead of one process; `argv` then gives flags for each server."""
    native_histograms: bool = True


@dataclass(slots=True)
class Server:
    recipe: Recipe
    port: int
    data: Path
    pids: list[int]
    rss_empty: int = 0
    cluster: Cluster | None = None
    """Of the recipes for one."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far."""
        return sum(map(cpu_seconds, self.pids))

    def rss(self) -> int:
        """Resident bytes of all its processes."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in self.pids)

    def forget_peak(self) -> None:
        """`peak_rss` counts from now on."""
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_rss(self) -> int:
        """The most that each of its processes has held, added up."""
        return sum(_status_kib(pid, "VmHWM") for pid in self.pids) * 1024

    def wal_bytes(self) -> int | None:
        if self.recipe.wal is None:
            return None
        return sum(f.stat().st_size for d in self.data.glob(self.recipe.wal) for f in d.rglob("*") if f.is_file())


def cpu_seconds(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _status_kib(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1])


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


NO_LIMITS = (
    "-distributor.ingestion-rate-limit=100000000",
    "-distributor.ingestion-burst-size=1000000000",
    "-ingester.max-global-series-per-user=0",
)


def mimir_rw(name: str = "mimir-rw", *extra: str) -> Recipe:
    return Recipe(
        name,
        lambda port, data: [
            str(Path(sys.executable).with_name("mimir-rw")), "-target=all", "-auth.multitenancy-enabled=false",
            f"-server.http-listen-port={port}", "-server.http-listen-address=127.0.0.1",
            f"-blocks-storage.tsdb.dir={data}/tsdb", f"-blocks-storage.filesystem.dir={data}/blocks",
            f"-blocks-storage.bucket-store.sync-dir={data}/sync", f"-compactor.data-dir={data}/compactor",
            *NO_LIMITS, *extra,
        ],
        "/api/v1/push", "/prometheus", "/ready", "tsdb/*/wal",
    )  # fmt: skip


def mimir_rw_cluster(name: str, *extra: str) -> Recipe:
    """Eight processes in three zones behind nginx, RF 3; nginx counts too."""
    return Recipe(
        name, lambda port, data: [*NO_LIMITS, *extra], "/api/v1/push", "/prometheus", "/gateway-health",
        "*/tsdb/*/wal", cluster=True,
    )  # fmt: skip


def prometheus(name: str, binary: str, *extra: str) -> Recipe:
    return Recipe(
        name,
        lambda port, data: [
            binary, f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
            f"--storage.tsdb.path={data}/data", f"--config.file={_empty_config(data)}", "--log.level=error",
            "--query.max-samples=500000000", *extra,
        ],
        "/api/v1/write", "", "/-/ready", "data/wal",
    )  # fmt: skip


def victoria_metrics(name: str, binary: str) -> Recipe:
    return Recipe(
        name,
        lambda port, data: [
            binary, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={data}/data", "-loggerLevel=ERROR",
            "-search.latencyOffset=0s", "-search.maxUniqueTimeseries=5000000", "-retentionPeriod=12",
        ],
        "/api/v1/write", "", "/health", None, "nocache=1", native_histograms=False,
    )  # fmt: skip


def _empty_config(data: Path) -> Path:
    path = data / "prometheus.yml"
    path.write_text("scrape_configs: []\n")
    return path


def peers(newest: Path | None) -> Iterator[Recipe]:
    """Debian's servers, then the newest ones if `scripts/newest-peers` could fetch them."""
    places = [("", "/usr/bin")] + ([("newest ", str(newest))] if newest else [])
    for prefix, place in places:
        for kind, name in ((victoria_metrics, "victoria-metrics"), (prometheus, "prometheus")):
            binary = shutil.which(name, path=place)
            if binary:
                yield kind(f"{prefix}{name} {version(binary)}", binary)


def version(binary: str) -> str:
    """Upstream version of a packaged server, from its package."""
    path = Path(binary)
    note = path.parents[2] / f"{path.name}.version"
    if note.exists():
        text = note.read_text()
    else:
        query = ["dpkg-query", "-W", "-f", "${Version}", path.name]
        text = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    return text.strip().split("+")[0] or "of unknown version"


@contextmanager
def running(recipe: Recipe, data: Path, fill: Callable[[Path], None] | None = None) -> Iterator[Server]:
    """Start a server on an empty directory, or one that `fill` has filled, and stop it at the end. RSS at rest is read
    two seconds after ready."""
    data.mkdir(parents=True)
    if fill:
        fill(data)
    with (_cluster if recipe.cluster else _process)(recipe, data) as server:
        time.sleep(2)
        server.rss_empty = server.rss()
        yield server


@contextmanager
def _cluster(recipe: Recipe, data: Path) -> Iterator[Server]:
    cluster = Cluster(data, flags=recipe.argv(0, data))
    try:
        cluster.start()
        yield Server(recipe, cluster.gateway.port, data, cluster.pids(), cluster=cluster)
    finally:
        cluster.close()


@contextmanager
def _process(recipe: Recipe, data: Path) -> Iterator[Server]:
    port = free_port()
    log = (data / "server.log").open("wb")
    process = subprocess.Popen(recipe.argv(port, data), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        server = Server(recipe, port, data, [process.pid])
        wait_ready(server, process)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def wait_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(server.url + server.recipe.ready_path, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.05)
    tail = (server.data / "server.log").read_bytes()[-2000:].decode(errors="replace")
    raise RuntimeError(f"{server.recipe.name} did not become ready:\n{tail}")
