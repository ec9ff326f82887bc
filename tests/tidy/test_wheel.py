"""The wheel is whole: installed into an empty environment, outside the tree, it starts a server and answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimir_rw.app.modules import targets
from tests.e2e.processes import Process, free_port, query, request
from tests.tidy.source import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Path]:
    """`bin/` of an environment that holds the built wheel; its dependencies are those of this environment."""
    wheels = tmp_path / "wheels"
    maturin = [sys.executable, "-m", "maturin", "build", "--release", "--quiet", "--out", str(wheels)]
    subprocess.run(maturin, cwd=ROOT, check=True)
    (wheel,) = wheels.glob("*.whl")
    assert "abi3" in wheel.name
    place = tmp_path / "env"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    # The dependencies are there already, one directory away; the package itself must not come from there.
    purelib = next(Path(p) for p in sys.path if p.endswith("site-packages"))
    (site,) = place.glob("lib/python3*/site-packages")
    for entry in purelib.iterdir():
        if not entry.name.startswith(("mimir_rw", "mimir-rw", "__editable__", "pip", "_distutils")):
            target = site / entry.name
            if not target.exists():
                target.symlink_to(entry)
    return place / "bin"


def test_installed_wheel_runs_outside_the_tree(
    tmp_path: Path, installed: Path, keep: Callable[[Process], Process]
) -> None:
    away = tmp_path / "elsewhere"
    away.mkdir()
    plain = os.environ | {"PYTHONPATH": ""}
    where = [str(installed / "python"), "-c", "import mimir_rw, mimir_rw._native as n; print(n.__file__)"]
    assert str(installed.parent) in subprocess.check_output(where, cwd=away, env=plain, text=True)
    version = subprocess.check_output([installed / "mimir-rw", "version"], cwd=away, env=plain, text=True)
    assert "0.1.0" in version
    port = free_port()
    argv = [
        str(installed / "mimir-rw"), "-target=all", f"-server.http-listen-port={port}",
        "-server.http-listen-address=127.0.0.1", "-auth.multitenancy-enabled=false",
        f"-blocks-storage.tsdb.dir={away / 'tsdb'}",
    ]  # fmt: skip
    server = keep(Process(argv, port, "/ready", away / "log", cwd=away, env={"PYTHONPATH": ""}))
    server.start()
    assert query(server.url + "/prometheus", "query", query="1 + 1")["result"][1] == "2"
    assert request(server.url + "/").status == 200
    assert server.stop() == 0
    assert server.stop() == 0
    for target in sorted(targets()):
        runs(installed / "mimir-rw", target, tmp_path / target, keep)


def runs(program: Path, target: str, place: Path, keep: Callable[[Process], Process]) -> None:
    """Start a target and stop it again. All its services must run, ready or not: a reader finds nobody to ask."""
    place.mkdir()
    port = free_port()
    argv = [
        str(program), f"-target={target}", "-server.http-listen-address=127.0.0.1", f"-server.http-listen-port={port}",
        f"-server.grpc-listen-port={free_port()}", f"-memberlist.bind-port={free_port()}",
        "-common.instance-addr=127.0.0.1", f"-blocks-storage.tsdb.dir={place / 'tsdb'}",
    ]  # fmt: skip
    process = keep(Process(argv, port, "/services", place / "log", cwd=place, env={"PYTHONPATH": ""}))
    process.start()
    deadline = time.monotonic() + 60
    waiting = ["all"]
    while waiting:
        assert time.monotonic() < deadline, (target, waiting, process.log_tail())
        listed = request(process.url + "/services", headers={"Accept": "application/json"}).json()["services"]
        waiting = [each["service"] for each in listed if each["status"] != "Running"]
        time.sleep(0.1)
    assert process.stop() == 0, process.log_tail()
