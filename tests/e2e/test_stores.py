"""Rings of a whole process in other stores: etcd, Consul, and a move from one store to another while it runs."""

from __future__ import annotations

import json
import time
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimir_rw.ring.codec import RING_CODEC
from tests.e2e.processes import Process, free_port, metric, metrics, mimir_rw, request
from tests.etcd_server import Etcd

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

RINGS = ("ingester", "distributor", "query-scheduler", "querier", "store-gateway", "overrides-exporter", "compactor")
PREFIXES = {"store-gateway": "store-gateway.sharding-ring"}
"""Of flags, where they are not those of the component."""
WAIT_S = 60.0


@pytest.fixture
def etcd():
    server = Etcd()
    server.start()
    yield server
    server.remove()


def in_each_ring(*flags: str) -> list[str]:
    return [f"-{PREFIXES.get(ring, f'{ring}.ring')}.{flag}" for ring in RINGS for flag in flags]


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def shards(process: Process) -> dict[str, str]:
    """State of each instance of the ingester ring, by id."""
    answer = request(f"{process.url}/ingester/ring", headers={"Accept": "application/json"})
    return {shard["id"]: shard["state"] for shard in answer.json()["shards"]}


def in_etcd(server: Etcd, key: str) -> Any:
    """A ring as etcd has it, past the store; None if it is not there."""
    body = json.dumps({"key": b64encode(key.encode()).decode()}).encode()
    with urllib.request.urlopen(f"http://{server.address}/v3/kv/range", data=body, timeout=10) as answer:
        found = json.load(answer).get("kvs")
    return RING_CODEC.decode(b64decode(found[0]["value"])) if found else None


def test_rings_in_etcd(etcd: Etcd, tmp_path: Path, keep: Callable[[Process], Process]) -> None:
    flags = in_each_ring("store=etcd", f"etcd.endpoints={etcd.address}", "instance-addr=127.0.0.1")
    process = keep(mimir_rw(tmp_path, *flags, f"-server.grpc-listen-port={free_port()}"))
    process.start()
    (instance,) = shards(process)
    assert shards(process) == {instance: "ACTIVE"}
    assert list(in_etcd(etcd, "collectors/ring")) == [instance]
    etcd.stop()
    assert shards(process) == {instance: "ACTIVE"}, "what is known is kept"
    etcd.start()
    assert process.stop() == 0
    assert "Unclosed" not in process.log_tail(100_000)


def test_rings_are_moved_from_one_store_to_another(
    etcd: Etcd, tmp_path: Path, keep: Callable[[Process], Process]
) -> None:
    runtime = tmp_path / "runtime.yaml"
    runtime.write_text("overrides: {}\n")
    flags = in_each_ring(
        "store=multi", "multi.primary=memberlist", "multi.secondary=etcd", f"etcd.endpoints={etcd.address}",
        "heartbeat-period=1s", "instance-addr=127.0.0.1",
    )  # fmt: skip
    process = keep(
        mimir_rw(
            tmp_path, *flags, f"-server.grpc-listen-port={free_port()}", f"-memberlist.bind-port={free_port()}",
            "-memberlist.bind-addr=127.0.0.1", f"-runtime-config.file={runtime}", "-runtime-config.reload-period=1s",
        )
    )  # fmt: skip
    process.start()
    before = shards(process)
    assert list(before.values()) == ["ACTIVE"]
    assert in_etcd(etcd, "collectors/ring") is None

    runtime.write_text("multi_kv_config: {mirror_enabled: true}\n")
    until(lambda: in_etcd(etcd, "collectors/ring") is not None, "the ring is copied")
    assert shards(process) == before
    runtime.write_text("multi_kv_config: {primary: etcd, mirror_enabled: true}\n")
    until(
        lambda: 'cortex_multikv_primary_store{name="ingester",store="etcd"} 1.0' in metrics(process.url), "etcd counts"
    )
    assert shards(process) == before
    runtime.write_text("multi_kv_config: {primary: etcd, mirror_enabled: false}\n")
    until(lambda: 'cortex_multikv_mirror_enabled{name="ingester"} 0.0' in metrics(process.url), "no more copies")
    assert shards(process) == before
    assert metric(metrics(process.url), "cortex_multikv_mirror_write_errors_total") == 0
    assert process.stop() == 0
