from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.formats.block_meta import (
    BlockCompaction,
    BlockFile,
    BlockMeta,
    BlockParent,
    BlockStats,
    ThanosMeta,
)
from mimir_rw.model.errors import DataDamaged

GOLDEN = Path(__file__).parents[2] / "golden" / "bucket"
ULID = "01EJ0000000000000000000001"
OTHER = "01EJ0000000000000000000002"

SHIPPED = BlockMeta(
    ulid=ULID,
    min_time=1600000000000,
    max_time=1600007200000,
    stats=BlockStats(samples=7, floats=7, series=2, chunks=3),
    compaction=BlockCompaction(level=1, sources=(ULID,)),
    thanos=ThanosMeta(
        source="receive",
        segment_files=("000001",),
        files=(BlockFile("chunks/000001", 1234), BlockFile("index", 5678), BlockFile("meta.json")),
    ),
)
MERGED = BlockMeta(
    ulid=OTHER,
    min_time=1600000000000,
    max_time=1600007200000,
    stats=BlockStats(samples=9, floats=7, histograms=2, series=2, chunks=3),
    compaction=BlockCompaction(
        level=2,
        sources=(ULID, OTHER),
        parents=(BlockParent(ULID, 1600000000000, 1600007200000),),
        hints=("from-out-of-order",),
    ),
    thanos=ThanosMeta(labels={"__compactor_shard_id__": "1_of_4", "é": "ü"}, source="compactor"),
)


@pytest.mark.parametrize(("name", "meta"), [("shipped", SHIPPED), ("merged", MERGED)])
def test_golden(name, meta):
    data = (GOLDEN / f"meta-{name}.json").read_bytes()
    assert meta.encode() == data
    assert BlockMeta.decode(data) == meta


def test_what_prometheus_writes():
    data = (GOLDEN / "meta-promtool.json").read_bytes()
    meta = BlockMeta.decode(data)
    assert (meta.ulid, meta.compaction.level, meta.stats.samples, meta.thanos) == (meta.ulid, 1, 3, None)
    assert meta.shard_id == ""
    assert not meta.out_of_order
    assert meta.encode() == data


def test_what_others_write():
    meta = BlockMeta.decode((GOLDEN / "meta-thanos.json").read_bytes())
    assert meta.thanos is not None
    assert meta.thanos.files[-1] == BlockFile("meta.json", None)
    assert meta.thanos.labels == {"__org_id__": "t", "replica": "a"}
    assert meta.stats.floats == 0
    assert meta.compaction.parents == (BlockParent("0" * 26, 0, 0),)


def test_shard_and_order():
    assert MERGED.shard_id == "1_of_4"
    assert MERGED.out_of_order
    assert not SHIPPED.out_of_order
    labelled = SHIPPED.replaced(thanos=ThanosMeta(labels={"__out_of_order__": "true"}))
    assert labelled.out_of_order


def changed(**members):
    return json.dumps({**json.loads(SHIPPED.encode()), **members}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":' * 50_000,
        changed(version=2), changed(version=None), changed(version="1"), changed(ulid="x"), changed(ulid=None),
        changed(minTime=None), changed(minTime=1 << 63), changed(minTime=1.5), changed(minTime=True),
        changed(minTime=1600007200001), changed(stats=[]), changed(stats={"numSamples": -1}),
        changed(compaction={"level": -1}), changed(compaction={"sources": [1]}), changed(compaction={"sources": "x"}),
        changed(compaction={"parents": [{"ulid": "x"}]}), changed(compaction={"hints": {}}),
        changed(compaction={"failed": 1}), changed(thanos="x"), changed(thanos={"version": 2}),
        changed(thanos={"labels": {"a": 1}}), changed(thanos={"files": [{"size_bytes": -1}]}),
        changed(thanos={"downsample": {"resolution": -1}}),
    ],
)  # fmt: skip
def test_damaged(data):
    with pytest.raises(DataDamaged, match=r"^meta\.json"):
        BlockMeta.decode(data)


def test_too_large():
    with pytest.raises(DataDamaged, match="more than"):
        BlockMeta.decode(b" " * (17 << 20))


_BASE = SHIPPED.encode()


@given(st.data())
def test_never_anything_but_damaged(data):
    cut = bytearray(_BASE)
    for _ in range(data.draw(st.integers(1, 5))):
        cut[data.draw(st.integers(0, len(cut) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataDamaged):
        BlockMeta.decode(bytes(cut[: data.draw(st.integers(0, len(cut)))]))
