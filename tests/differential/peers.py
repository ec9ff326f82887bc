"""Both sides of a comparison: a Prometheus with its remote write receiver open, and mimir-rw, given the same series."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimir_rw.testing.remote_write import compress
from tests.differential.data import Written
from tests.differential.generator import Dialect, Request
from tests.e2e.processes import Answer, Process, free_port, need
from tests.e2e.remote_write import HEADERS

ROOT = Path(__file__).parents[2]
BUILT = ROOT / ".tools/prometheus"
NEWEST = ROOT / ".bench/newest/usr/bin/prometheus"
FEATURES = (
    "promql-experimental-functions", "promql-per-step-stats", "promql-extended-range-selectors",
    "promql-binop-fill-modifiers", "promql-duration-expr", "native-histograms",
)  # fmt: skip
DELAYED = "promql-delayed-name-removal"
SERIES_PER_BODY = 20

Version = tuple[int, int]
REFERENCE: Version = (3, 14)


def reference_binary() -> str:
    """The binary named by PROMETHEUS, else that of scripts/reference-prometheus, else the newest of those fetched by
    scripts/newest-peers and installed."""
    if named := os.environ.get("PROMETHEUS"):
        return named
    if BUILT.exists():
        return str(BUILT)
    found = [path for path in (str(NEWEST), shutil.which("prometheus")) if path and Path(path).exists()]
    return max(found, key=version_of, default="") or need("prometheus", "prometheus")


def version_of(binary: str) -> Version:
    """A binary built without a version counts as the reference."""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\d+)\.(\d+)", told.stdout + told.stderr)
    return (int(found[1]), int(found[2])) if found else REFERENCE


def reference_since(since: Version, why: str) -> str:
    """A binary of at least that version. Without one the test is skipped on a user's machine and fails in CI."""
    binary = reference_binary()
    if version_of(binary) < since:
        wanted = ".".join(map(str, since))
        text = f"Prometheus before {wanted} {why} (scripts/reference-prometheus builds a newer one)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return binary


_BEFORE_REFERENCE = ("first_over_time", "rate(", "increase(", "clamp", "absent", "topk", "bottomk")
"""Counters that begin inside the window are extrapolated otherwise, a NaN bound or k is overlooked, and a label of
which two matchers speak may stay in what is absent."""
_BEFORE_3 = (*_BEFORE_REFERENCE, "stddev", "stdvar", "atan2", "changes(", "resets(", "cancelling", "huge", ")[", "@")
"""atan2 keeps the name; sums are rounded in another way, which changes, resets and extreme
numbers show; the steps of subqueries fall on samples, where windows were closed; timestamp drops what is pinned."""


def dialect_of(version: Version, *, native: bool = True) -> Dialect:
    """What can be compared with that version."""
    if version >= REFERENCE:
        return Dialect(native=native)
    if version >= (3, 0):
        return Dialect(
            durations=False, experimental=False, damage=0, native=False, features=False, leave_out=_BEFORE_REFERENCE
        )
    return Dialect(
        aligned=False, durations=False, experimental=False, damage=0, lookback=False, native=False, features=False,
        leave_out=_BEFORE_3,
    )  # fmt: skip


def start_prometheus(directory: Path, binary: str, *flags: str, delayed: bool = False) -> Process:
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "prometheus.yml"
    config.write_text("{}\n")
    port = free_port()
    features = ",".join((*FEATURES, DELAYED) if delayed else FEATURES)
    argv = [
        binary, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}", "--log.level=error",
        f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
        "--storage.tsdb.retention.time=100y", f"--enable-feature={features}", *flags,
    ]  # fmt: skip
    return Process(argv, port, "/-/ready", directory / "prometheus.log").start()


def start_ours(directory: Path, *flags: str, delayed: bool = False) -> Process:
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    argv = [
        str(Path(sys.executable).with_name("mimir-rw")), "-target=all", "-auth.multitenancy-enabled=false",
        "-server.http-listen-address=127.0.0.1", f"-server.http-listen-port={port}", "-log.level=error",
        f"-blocks-storage.tsdb.dir={directory / 'tsdb'}", "-query-frontend.enabled-promql-experimental-functions=all",
        "-query-frontend.enabled-promql-extended-range-selectors=all",
        "-query-frontend.enabled-promql-binop-fill-modifiers=all",
        f"-querier.enable-delayed-name-removal={str(delayed).lower()}", "-validation.name-validation-scheme=utf8",
        # The data are years old, and nothing but the ingester holds them.
        "-querier.query-ingesters-within=0", *flags,
    ]  # fmt: skip
    return Process(argv, port, "/ready", directory / "ours.log", cwd=directory).start()


def give(process: Process, path: str, written: list[Written]) -> None:
    """Write all series, some per request, in the order given."""
    client = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
    for message in _bodies(written):
        client.request("POST", path, compress(message), HEADERS)
        answer = client.getresponse()
        text = answer.read()
        assert answer.status // 100 == 2, (answer.status, text)
    client.close()


def _bodies(written: list[Written]) -> Iterator[bytes]:
    """Uncompressed. A series that changes between floats and histograms has requests of its own, one for each run."""
    waiting: list[bytes] = []
    for one in written:
        runs = list(one.runs())
        if len(runs) == 1:
            waiting += runs
        if waiting and (len(runs) > 1 or len(waiting) >= SERIES_PER_BODY):
            yield b"".join(waiting)
            waiting = []
        if len(runs) > 1:
            yield from runs
    yield b"".join(waiting)


class Asker:
    """One connection to one side."""

    def __init__(self, process: Process, prefix: str) -> None:
        self._prefix = prefix
        self._client = http.client.HTTPConnection("127.0.0.1", process.port, timeout=120)

    def ask(self, request: Request) -> Answer:
        form = urllib.parse.urlencode(request.params)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._client.request("POST", f"{self._prefix}/api/v1/{request.path}", form, headers)
        answer = self._client.getresponse()
        return Answer(answer.status, answer.read(), dict(answer.headers))
