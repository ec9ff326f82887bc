"""Prometheus answers the same from blocks that we made, and we from blocks that it made: floats and native histograms,
with resets, gaps and staleness markers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mimir_rw.formats.bucket_index import BucketIndex
from tests.differential.compare import decoded, difference
from tests.differential.data import END_MS, START_MS, Written, series
from tests.differential.generator import Request, requests
from tests.differential.peers import REFERENCE, Asker, dialect_of, give, reference_since, start_ours, start_prometheus
from tests.differential.run import Pair
from tests.e2e.bucket_directory import TENANT, Bucket, until
from tests.e2e.processes import Process, metric, metrics, request

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]

SLICE_MS = 300_000
QUICK = (
    "-blocks-storage.tsdb.block-ranges-period=20m",
    "-blocks-storage.bucket-store.sync-interval=1s",
    "-compactor.block-ranges=20m,2h",
    "-compactor.first-level-compaction-wait-period=0s",
    "-compactor.compaction-interval=500ms",
    "-compactor.cleanup-interval=500ms",
)
CUT_EARLY = ("--storage.tsdb.min-block-duration=20m", "--storage.tsdb.max-block-duration=20m")
QUERIES = (
    "requests_total",
    "sum by (job, code) (rate(requests_total[2m]))",
    "resets(requests_total[10m]) + on (job, instance, code) increase(requests_total[10m])",
    "temperature",
    "avg_over_time(temperature[3m] offset 2m)",
    "count by (__name__) ({__name__=~'.+'})",
    "count({__name__=~'.+'})",
    "short",
    "absent(short{instance='a:1'})",
    "histogram_quantile(0.9, sum by (job, le) (rate(latency_seconds_bucket{job=~'good|negative'}[3m])))",
    "duration_seconds",
    "histogram_quantile(0.9, rate(duration_seconds[3m]))",
    "sum by (job) (increase(duration_seconds[5m]))",
    "histogram_count(rescaled_seconds) + histogram_sum(rescaled_seconds)",
    "custom_seconds",
    "histogram_quantile(0.5, sum by (job) (rate(custom_seconds{job='api'}[4m])))",
    "resets(duration_seconds[10m])",
    "resets(custom_seconds[10m])",
    "blended",
    "rate(blended[5m])",
)
WINDOWS = ("requests_total[20m]", "temperature[50m]", "short[50m]", "duration_seconds[50m]", "custom_seconds[50m]")
SEARCHES = (
    "labels", "label/__name__/values", "label/instance/values", "label/code/values?match[]=requests_total",
    "label/job/values?match[]=duration_seconds&match[]=custom_seconds", "series?match[]={job='api'}",
)  # fmt: skip
RANDOM = 300
SEED = 5


def slices() -> Iterator[list[Written]]:
    """All series, five minutes at a time: a head that is cut takes nothing much older than its newest sample."""
    written = series()
    for begin in range(START_MS, END_MS + 1, SLICE_MS):
        yield [
            replace(one, points=[point for point in one.points if begin <= point[0] < begin + SLICE_MS])
            for one in written
        ]


def asked() -> Iterator[Request]:
    begin, end = START_MS // 1000, END_MS // 1000
    for text in QUERIES:
        bounds = (("start", f"{begin - 60}"), ("end", f"{end + 400}"), ("step", "37"))
        yield Request("query_range", (("query", text), *bounds))
    for text in (*QUERIES, *WINDOWS):
        for at in (begin + 1234, end):
            yield Request("query", (("query", text), ("time", f"{at}")))


def found(process: Process, prefix: str, search: str) -> list[str]:
    path, _, matches = search.partition("?")
    params = urllib.parse.urlencode(
        [("start", START_MS // 1000), ("end", END_MS // 1000), *urllib.parse.parse_qsl(matches)]
    )
    answer = request(f"{process.url}{prefix}/api/v1/{path}?{params}")
    assert answer.status == 200, answer.body
    return sorted(json.dumps(each, sort_keys=True) for each in answer.json()["data"])


def assert_equal(ours: Process, theirs: Process) -> None:
    mine, other = Asker(ours, "/prometheus"), Asker(theirs, "")
    failures = []
    for one in asked():
        a, b = decoded(mine.ask(one)), decoded(other.ask(one))
        assert b["status"] == "success", b
        assert b["data"]["result"] or not one.is_range, one
        different = difference(a, b, messages=True, ordered=False)
        if different and different.kind != "inexact":
            failures.append(f"{one.path} {one.query}: {different}"[:600])
    for search in SEARCHES:
        a, b = found(ours, "/prometheus", search), found(theirs, "", search)
        assert b, search
        if a != b:
            failures.append(f"{search}: only ours {set(a) - set(b)}, only theirs {set(b) - set(a)}"[:600])
    assert not failures, "\n".join(failures)
    tally = Pair(ours, theirs, REFERENCE).compare(requests(SEED, range(RANDOM), dialect_of(REFERENCE)))
    assert not tally.different, f"{tally.summary()}\n" + "\n".join(tally.different[:20])
    assert tally.answered > RANDOM / 4


def indexed(bucket: Bucket) -> set[str]:
    """What a querier sees: the blocks of the bucket index that are not marked."""
    path = bucket.root / "bucket-index.json.gz"
    index = BucketIndex.decode(path.read_bytes()) if path.exists() else BucketIndex()
    return {block.ulid for block in index.blocks} - {mark.ulid for mark in index.deletion_marks}


def compaction(block: Path) -> Any:
    return json.loads((block / "meta.json").read_text())["compaction"]


def await_blocks(bucket: Bucket, process: Process, *, sources: set[str], compacted: int) -> None:
    """Until the index has what there shall be: the sources, or so many blocks of which each came from all of them."""

    def made() -> bool:
        live = bucket.live()
        if not compacted:
            return {block.name for block in live} == sources
        return len(live) == compacted and all(set(compaction(block)["sources"]) == sources for block in live)

    until(made, "the blocks are there", process)
    until(lambda: indexed(bucket) == {block.name for block in bucket.live()}, "the index has all blocks", process)


@pytest.fixture
def reference() -> str:
    return reference_since(REFERENCE, "does not know all that is asked here")


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "bucket")


@pytest.mark.parametrize(
    ("shards", "flags"),
    [
        pytest.param(0, ("-compactor.disabled-tenants=anonymous",), id="shipped"),
        pytest.param(1, (), id="compacted"),
        pytest.param(2, ("-compactor.split-and-merge-shards=2",), id="split"),
    ],
)
def test_prometheus_answers_the_same_from_our_blocks(
    tmp_path: Path,
    keep: Callable[[Process], Process],
    reference: str,
    bucket: Bucket,
    shards: int,
    flags: tuple[str, ...],
) -> None:
    flags = (*QUICK, f"-blocks-storage.filesystem.dir={bucket.root.parent}", *flags)
    ours = keep(start_ours(tmp_path / "ours", *flags))
    for written in slices():
        give(ours, "/api/v1/push", written)
    assert request(ours.url + "/ingester/flush?wait=true", method="POST").status == 204
    assert metric(metrics(ours.url), "cortex_ingester_memory_series") == 0
    shipped = {block.name for block in bucket.whole() if compaction(block)["level"] == 1}
    assert len(shipped) >= 3
    await_blocks(bucket, ours, sources=shipped, compacted=shards)
    assert ours.stop() == 0
    shutil.rmtree(tmp_path / "ours" / "tsdb")

    for block in bucket.live():
        shutil.copytree(block, tmp_path / "theirs" / "data" / block.name)
    theirs = keep(start_prometheus(tmp_path / "theirs", reference, *CUT_EARLY))
    assert metric(metrics(theirs.url), "prometheus_tsdb_blocks_loaded") == (shards or len(shipped))
    ours.start()
    assert_equal(ours, theirs)
    assert metric(metrics(ours.url), "cortex_ingester_memory_series") == 0


def backfill(bucket: Bucket, directory: Path) -> dict[str, str]:
    """What became of each block."""
    program = str(Path(sys.executable).with_name("mimir-rw"))
    place = f"-blocks-storage.filesystem.dir={bucket.root.parent}"
    command = [program, "bucket", "backfill", place, TENANT, str(directory), "--json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return {each["block"]: each["state"] for each in json.loads(told.stdout)}


@pytest.mark.parametrize(
    "flags",
    [pytest.param(("-compactor.disabled-tenants=anonymous",), id="brought"), pytest.param((), id="compacted")],
)
def test_we_answer_the_same_from_blocks_of_prometheus(
    tmp_path: Path, keep: Callable[[Process], Process], reference: str, bucket: Bucket, flags: tuple[str, ...]
) -> None:
    theirs = keep(start_prometheus(tmp_path / "theirs", reference, *CUT_EARLY, "--web.enable-admin-api"))
    for written in slices():
        give(theirs, "/api/v1/write", written)
    answer = request(theirs.url + "/api/v1/admin/tsdb/snapshot", method="POST", data=b"")
    snapshot = tmp_path / "theirs" / "data" / "snapshots" / answer.json()["data"]["name"]
    ours = keep(start_ours(tmp_path / "ours", *QUICK, f"-blocks-storage.filesystem.dir={bucket.root.parent}", *flags))
    states = backfill(bucket, snapshot)
    assert len(states) >= 3
    assert set(states.values()) == {"uploaded"}
    assert set(backfill(bucket, snapshot).values()) == {"there already"}
    await_blocks(bucket, ours, sources=set(states), compacted=0 if flags else 1)
    # A new process reads the index at once.
    assert ours.stop() == 0
    ours.start()
    assert_equal(ours, theirs)
