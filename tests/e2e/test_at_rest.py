"""What a process costs that has nothing to do, for every target."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mimir_rw.app.modules import targets
from tests.e2e.processes import Process, free_port, mimir_rw

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

RSS_BYTES_MAX = 100 << 20
START_CPU_S_MAX = 2.0
"""It is to be ready within two seconds; asked of its own work only, since a test knows nothing of what else the machine
does."""


@pytest.fixture
def seed(tmp_path: Path, keep: Callable[[Process], Process]) -> int:
    """Gossip port of a cluster in which every component finds what it waits for."""
    port = free_port()
    keep(member(tmp_path / "seed", "write,read,backend", port)).start()
    return port


def member(home: Path, target: str, gossip_port: int, *flags: str) -> Process:
    home.mkdir()
    process = mimir_rw(
        home, f"-common.instance-id={home.name}", "-common.instance-addr=127.0.0.1",
        "-ingester.ring.replication-factor=1", "-server.grpc-listen-address=127.0.0.1",
        f"-server.grpc-listen-port={free_port()}", "-memberlist.bind-addr=127.0.0.1",
        f"-memberlist.bind-port={gossip_port}", *flags,
    )  # fmt: skip
    process.argv[1] = f"-target={target}"
    # Installed packages are compiled; a checkout may be told not to keep what it compiles.
    process.env = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(home.parent / "compiled")}
    return process


def cpu_s(process: Process) -> float:
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def test_every_target_is_small_and_soon_ready(tmp_path: Path, seed: int, keep: Callable[[Process], Process]) -> None:
    for target in targets():
        process = keep(member(tmp_path / target, target, free_port(), f"-memberlist.join=127.0.0.1:{seed}")).start()
        spent_s, rss = cpu_s(process), process.rss()
        assert spent_s <= START_CPU_S_MAX, f"{target} worked {spent_s:.2f} s until it was ready"
        assert rss <= RSS_BYTES_MAX, f"{target} takes {rss / (1 << 20):.0f} MiB at rest"
        assert process.stop() == 0
