"""Queries over blocks while store-gateways are killed and come back, and with a damaged block: each is whole, or an
error that says what is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock
from tests.e2e.cluster import Cluster
from tests.e2e.processes import query, request
from tests.store_gateway import built, ulid

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

BLOCKS, SERIES, STEP_MS, SAMPLES = 12, 30, 60_000, 120
HOUR_MS = 3_600_000
DAMAGED = 3
FLAGS = ("-compactor.disabled-tenants=anonymous", "-log.level=info")


def put_blocks(bucket: Path) -> int:
    """Blocks of two hours; the time at which the first begins."""
    first = (int(time.time() * 1000) - 60 * HOUR_MS) // STEP_MS * STEP_MS
    blocks = []
    for number in range(BLOCKS):
        start = first + number * SAMPLES * STEP_MS
        rows = {
            f'up{{instance="{n:03}", job="j{n % 3}"}}': [(start + k * STEP_MS, float(n)) for k in range(SAMPLES)]
            for n in range(SERIES)
        }
        _, files = built(rows)
        for name, data in files.items():
            path = bucket / "anonymous" / ulid(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        blocks.append(IndexedBlock(ulid(number), start, start + SAMPLES * STEP_MS, start // 1000, 1))
    (bucket / "anonymous" / "bucket-index.json.gz").write_bytes(
        BucketIndex(tuple(blocks), (), int(time.time())).encode()
    )
    return first


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[tuple[Cluster, int]]:
    made = Cluster(tmp_path, readers=1, flags=FLAGS)
    first = put_blocks(made.layout.data / "blocks")
    try:
        yield made.start(), first
    finally:
        made.close()


def counted(cluster: Cluster, first: int, *, blocks: range) -> Any:
    """Samples by job of some blocks."""
    end = first + (blocks.stop * SAMPLES - 1) * STEP_MS
    text = f"sum by (job)(count_over_time(up[{len(blocks) * SAMPLES}m]))"
    found = query(f"{cluster.url}/prometheus", "query", query=text, time=end / 1000)
    return {row["metric"]["job"]: float(row["value"][1]) for row in found["result"]}


def test_queries_go_on_while_gateways_die_and_come_back(begun: tuple[Cluster, int]) -> None:
    cluster, first = begun
    whole = {f"j{n}": SERIES / 3 * BLOCKS * SAMPLES for n in range(3)}
    assert counted(cluster, first, blocks=range(BLOCKS)) == whole
    for zone in "ab":
        cluster.kill(f"backend-{zone}")
        for _ in range(15):
            assert counted(cluster, first, blocks=range(BLOCKS)) == whole
        cluster.restart(f"backend-{zone}")
        for _ in range(5):
            assert counted(cluster, first, blocks=range(BLOCKS)) == whole
    assert cluster.terminate("backend-c") == 0
    for _ in range(10):
        assert counted(cluster, first, blocks=range(BLOCKS)) == whole


def test_a_damaged_block_is_named_and_the_others_answer(begun: tuple[Cluster, int]) -> None:
    cluster, first = begun
    path = cluster.layout.data / "blocks" / "anonymous" / ulid(DAMAGED) / "chunks" / "000001"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    end = first + (BLOCKS * SAMPLES - 1) * STEP_MS
    answer = request(
        f"{cluster.url}/prometheus/api/v1/query?query=count(count_over_time(up%5B2d%5D))&time={end / 1000}", timeout=120
    )
    assert answer.status in (500, 503), answer.body
    assert ulid(DAMAGED).encode() in answer.body
    assert b"err-mimir-store-consistency-check-failed" in answer.body
    others = range(DAMAGED + 1, BLOCKS)
    assert set(counted(cluster, first, blocks=others).values()) == {SERIES / 3 * len(others) * SAMPLES}
    named = [
        request(f"{cluster.nodes[name].url}/store-gateway/tenant/anonymous/blocks").body
        for name in cluster.names("backend")
    ]
    assert any(b"checksum" in page for page in named)
