"""A real process compacts blocks that promtool made, in a bucket that is a directory; promtool reads what comes out."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bucket_directory import TENANT, Bucket, until
from tests.e2e.processes import Answer, Process, metric, metrics, mimir_rw, need, request
from tests.e2e.remote_write import Sender

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

RANGE_S = 7200
START_S = 1_600_000_000 // RANGE_S * RANGE_S


def open_metrics(path: Path, *, begin_s: int, series: int, skip: int = 0) -> None:
    """Two hours of gauges. The same time gives the same value, always."""
    lines = ["# TYPE g gauge"]
    for number in range(series):
        chance = random.Random(number)
        for k in range(RANGE_S // 30):
            value = chance.random()
            if not skip or (k * 7 + number) % skip:
                lines.append(f'g{{i="{number}",job="j{number % 7}"}} {value:.4f} {begin_s + 30 * k}')
    path.write_text("\n".join(lines) + "\n# EOF\n")


@pytest.fixture(scope="module")
def promtool() -> str:
    return need("promtool", "prometheus")


@pytest.fixture(scope="module")
def made(promtool: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Block directories: two of the same two hours, one of them with gaps, and one of the next two."""
    root = tmp_path_factory.mktemp("made")
    found = []
    for name, begin_s, series, skip in (("a", START_S, 40, 0), ("b", START_S, 40, 5), ("c", START_S + RANGE_S, 50, 0)):
        text = root / f"{name}.txt"
        open_metrics(text, begin_s=begin_s, series=series, skip=skip)
        out = root / name
        subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", text, out], check=True, timeout=60)
        found += [path for path in out.iterdir() if (path / "meta.json").exists()]
    return found


def dump(promtool: str, blocks: list[Path], scratch: Path) -> set[str]:
    """All samples of blocks, as promtool tells them."""
    lines: list[str] = []
    for number, block in enumerate(blocks):
        database = scratch / f"db{number}"
        (database / "wal").mkdir(parents=True)
        shutil.copytree(block, database / block.name)
        (database / block.name / "tombstones").write_bytes(bytes.fromhex("0130ba300100000000"))
        told = subprocess.run([promtool, "tsdb", "dump", database], check=True, capture_output=True, timeout=60)
        lines += told.stdout.decode().splitlines()
    assert lines
    assert len(lines) == len(set(lines)) or len(blocks) > 1
    return set(lines)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "bucket")


@pytest.fixture
def start(tmp_path: Path, bucket: Bucket) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def launch(*flags: str) -> Process:
        process = mimir_rw(
            tmp_path,
            f"-blocks-storage.filesystem.dir={bucket.root.parent}",
            f"-compactor.data-dir={tmp_path / 'scratch'}",
            "-compactor.first-level-compaction-wait-period=0s",
            "-compactor.compaction-interval=500ms",
            "-compactor.cleanup-interval=500ms",
            *flags,
        )
        started.append(process.start())
        return process

    yield launch
    for process in started:
        process.kill()


@pytest.mark.parametrize("shards", [0, 3])
def test_promtool_reads_the_same_samples_after_compaction(
    promtool: str, made: list[Path], bucket: Bucket, start: Callable[..., Process], tmp_path: Path, shards: int
) -> None:
    before = dump(promtool, made, tmp_path / "before")
    for block in made:
        bucket.add(block)
    process = start(f"-compactor.split-and-merge-shards={shards}")
    results = (
        until(
            lambda: (
                len(live := bucket.live()) == max(1, shards) and not {b.name for b in made} & {b.name for b in live}
            ),
            "all is compacted",
            process,
        )
        and bucket.live()
    )
    assert dump(promtool, results, tmp_path / "after") == before
    metas = [json.loads((block / "meta.json").read_text()) for block in results]
    assert sum(meta["stats"]["numSamples"] for meta in metas) == len(before)
    shown = {meta["thanos"]["labels"].get("__compactor_shard_id__", "") for meta in metas}
    assert shown == ({f"{number}_of_3" for number in (1, 2, 3)} if shards else {""})
    listed = subprocess.run([promtool, "tsdb", "list", tmp_path / "after" / "db0"], capture_output=True, check=True)
    assert results[0].name in listed.stdout.decode()
    scrape = metrics(process.url)
    assert metric(scrape, "cortex_compactor_group_compactions_total") >= 2
    assert metric(scrape, "cortex_compactor_group_compactions_failures_total") == 0
    assert not list((tmp_path / "scratch" / "jobs").iterdir())
    # Sources go once nobody reads them any more.
    assert {block.name for block in made} <= {block.name for block in bucket.whole()}


def test_a_flipped_byte_sets_the_block_aside_and_the_tenant_goes_on(
    made: list[Path], bucket: Bucket, start: Callable[..., Process]
) -> None:
    for block in made:
        bucket.add(block)
    bad = bucket.root / made[1].name
    data = bytearray((bad / "chunks" / "000001").read_bytes())
    data[len(data) // 2] ^= 1
    (bad / "chunks" / "000001").write_bytes(data)
    process = start()
    mark = until(lambda: list(bad.glob("no-compact-mark.json")), "the block is set aside", process)[0]
    assert json.loads(mark.read_text())["reason"] == "critical"
    assert "checksum" in json.loads(mark.read_text())["details"]
    until(lambda: len(bucket.live()) == 2, "the others are compacted", process)
    assert bad in bucket.live()
    assert (
        metric(metrics(process.url), "cortex_compactor_blocks_marked_for_no_compaction_total", reason="critical") == 1
    )
    page = request(f"{process.url}/compactor/tenant/{TENANT}/planned_jobs").body.decode()
    assert bad.name in page
    assert f"block={bad.name}" in process.log_path.read_text()


def test_a_process_killed_while_it_compacts_leaves_nothing_behind(
    promtool: str, made: list[Path], bucket: Bucket, start: Callable[..., Process], tmp_path: Path
) -> None:
    before = dump(promtool, made, tmp_path / "before")
    for block in made:
        bucket.add(block)
    for _ in range(3):
        process = start()
        time.sleep(0.3)
        process.kill()
    process = start()
    until(lambda: len(bucket.live()) == 1, "all is compacted", process)
    assert dump(promtool, bucket.live(), tmp_path / "after") == before


@pytest.mark.slow
def test_blocks_are_compacted_while_samples_come_in(
    bucket: Bucket, start: Callable[..., Process], tmp_path: Path
) -> None:
    """Heads are cut every two seconds of samples, and the process is killed now and then; at the end the ingester's
    disk is gone too. Every acknowledged sample is answered, once."""
    flags = (
        "-log.level=warn",
        "-blocks-storage.tsdb.block-ranges-period=2s",
        "-blocks-storage.tsdb.head-compaction-interval=100ms",
        "-blocks-storage.tsdb.ship-interval=200ms",
        "-compactor.block-ranges=2s,10s,60s",
        "-compactor.compaction-interval=200ms",
        "-compactor.cleanup-interval=200ms",
        "-querier.query-store-after=0s",
        "-blocks-storage.bucket-store.ignore-blocks-within=0s",
        "-blocks-storage.bucket-store.sync-interval=1s",
        "-blocks-storage.bucket-store.ignore-deletion-marks-delay=2s",
        "-blocks-storage.bucket-store.ignore-deletion-marks-while-querying-delay=1s",
    )
    process = start(*flags)
    start_ms = int(time.time() * 1000) - 600_000
    senders = [Sender(process.port, f"s{number}", 20, start_ms) for number in range(3)]
    for sender in senders:
        sender.start()
    for _ in range(5):
        time.sleep(2.0)
        process.kill()
        process.start()
    time.sleep(2.0)
    for sender in senders:
        sender.finish()
    assert sum(len(sender.acknowledged) for sender in senders) > 200
    for sender in senders:
        sender.check(process.url + "/prometheus")
    assert request(process.url + "/ingester/flush?wait=true", method="POST").status == 204

    def settled() -> bool:
        """One block a minute, and none that is small."""
        metas = [json.loads((block / "meta.json").read_text()) for block in bucket.live()]
        minutes = [meta["minTime"] // 60_000 for meta in metas]
        return len(minutes) == len(set(minutes)) and max(meta["compaction"]["level"] for meta in metas) > 1

    until(settled, "compacted blocks are left", process)
    for sender in senders:
        sender.check(process.url + "/prometheus")
    assert process.stop() == 0
    shutil.rmtree(tmp_path / "tsdb")
    process.start()
    for sender in senders:
        sender.check(process.url + "/prometheus")


# -- uploads ----------------------------------------------------------------------------------------------------------


def send(process: Process, block: str, what: str, data: bytes = b"") -> Answer:
    method = "GET" if what == "check" else "POST"
    url = f"{process.url}/api/v1/upload/block/{block}/{what}"
    return request(url, data=data if method == "POST" else None, method=method)


def files_of(block: Path) -> dict[str, bytes]:
    names = ["index", *(f"chunks/{path.name}" for path in sorted((block / "chunks").iterdir()))]
    return {name: (block / name).read_bytes() for name in names}


def upload(process: Process, block: Path, files: dict[str, bytes]) -> str:
    """All steps; what the check says in the end."""
    meta = json.loads((block / "meta.json").read_text())
    listed = [{"rel_path": name, "size_bytes": len(data)} for name, data in files.items()]
    meta["thanos"] = {"version": 1, "labels": {}, "downsample": {"resolution": 0}, "files": listed}
    answer = send(process, block.name, "start", json.dumps(meta).encode())
    assert (answer.status, answer.body) == (200, b"")
    for name, data in files.items():
        answer = send(process, block.name, f"files?path={name}", data)
        assert (answer.status, answer.body) == (200, b"")
    answer = send(process, block.name, "finish")
    assert (answer.status, answer.body) == (200, b"")

    def ended() -> Any:
        found = send(process, block.name, "check").json()
        return found if found["result"] in ("complete", "failed") else None

    return str(until(ended, "the block is validated", process))


def test_blocks_are_uploaded_over_http(made: list[Path], bucket: Bucket, start: Callable[..., Process]) -> None:
    process = start("-compactor.block-upload-enabled=true", "-compactor.enabled-tenants=nobody")
    block = made[0]
    files = files_of(block)
    assert send(process, block.name, "files?path=index", b"x").status == 404
    assert send(process, block.name, "check").status == 404
    assert upload(process, block, files) == "{'result': 'complete'}"
    stored = bucket.root / block.name
    assert {name: (stored / name).read_bytes() for name in files} == files
    assert sorted(os.listdir(stored)) == ["chunks", "index", "meta.json"]
    assert send(process, block.name, "start", b"{}").status == 409
    bad = made[1]
    files = files_of(bad)
    files["chunks/000001"] = (
        bytes([*files["chunks/000001"][:1000], files["chunks/000001"][1000] ^ 1]) + (files["chunks/000001"][1001:])
    )
    assert "'failed'" in upload(process, bad, files)
    assert not (bucket.root / bad.name / "meta.json").exists()
    until((bucket.root / "bucket-index.json.gz").exists, "there is an index", process)


def test_a_tenant_is_deleted(made: list[Path], bucket: Bucket, start: Callable[..., Process]) -> None:
    for block in made:
        bucket.add(block)
    process = start("-compactor.tenant-cleanup-delay=0s")
    status = f"{process.url}/compactor/delete_tenant_status"
    assert request(status).json() == {"tenant_id": TENANT, "blocks_deleted": False}
    assert request(f"{process.url}/compactor/delete_tenant", method="POST").status == 200
    until(lambda: request(status).json()["blocks_deleted"], "its blocks are gone", process)
    # os.walk passes over directories that go while it walks.
    until(lambda: not any(files for _, _, files in os.walk(bucket.root)), "all of it is gone", process)
