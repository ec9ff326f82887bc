"""Three groups of real processes behind their gateway: they find each other, serve, lose one of a zone and go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.processes import Process, query
from tests.e2e.remote_write import body, push

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

GROUPS = {"write": 3, "backend": 3, "read": 1}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, readers=GROUPS["read"])
    try:
        yield made.start()
    finally:
        made.close()


def write(process: Process, metric: str, series: int) -> None:
    now_ms = int(time.time() * 1000)
    payload = body([({"__name__": metric, "n": str(n)}, now_ms, 1.0) for n in range(series)])
    status, text = push(process.port, payload)
    assert status == 200, text


def count(process: Process, metric: str) -> float:
    found = query(process.url + "/prometheus", "query", query=f"count({metric})")["result"]
    return float(found[0]["value"][1]) if found else 0


def status(url: str) -> dict[str, Any]:
    """What `mimir-rw status --json` says; it must find all well."""
    binary = str(Path(sys.executable).with_name("mimir-rw"))
    argv = [binary, "status", "--json", "--url", url]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def test_three_groups_find_each_other_and_lose_one_of_a_zone(cluster: Cluster) -> None:
    for number, name in enumerate(cluster.names(target="write")):
        write(cluster.nodes[name], f"metric_{number}", 100 + number)
        assert count(cluster.gateway, f"metric_{number}") == 100 + number

    # Asked of any process or of the gateway, status knows all of them.
    for url in (cluster.nodes["read-1"].url, cluster.url):
        processes = status(url)["processes"]
        assert {(each["id"], each["readiness"]) for each in processes} == {(name, "ready") for name in cluster.nodes}
        for target, number in GROUPS.items():
            assert sum(each["target"] == target for each in processes) == number
        rings = {each["id"]: set(each["rings"]) for each in processes}
        assert rings["write-a"] == {"ingester", "distributor"}
        assert rings["backend-a"] == {"query-scheduler", "store-gateway", "compactor"}
        assert rings["read-1"] == {"querier"}

    # One zone goes without a word: what was written is there, and what is written now is taken.
    cluster.kill("write-b", "backend-b")
    write(cluster.gateway, "after", 50)
    assert count(cluster.gateway, "after") == 50
    assert count(cluster.gateway, "metric_1") == 101

    # It comes back and is one of them again.
    cluster.restart("write-b", "backend-b")
    write(cluster.nodes["write-b"], "back", 20)
    assert count(cluster.gateway, "back") == 20
    status(cluster.url)

    # All stop in order.
    for name in cluster.nodes:
        assert cluster.terminate(name) == 0, cluster.nodes[name].log_tail()
