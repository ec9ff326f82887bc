from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from mimir_rw.formats.block_meta import BlockFile, BlockMeta, ThanosMeta
from mimir_rw.formats.bucket_index import (
    BucketIndex,
    IndexedBlock,
    IndexedMark,
    IndexVersionUnknown,
    indexed_block,
)
from mimir_rw.model.errors import DataDamaged

GOLDEN = Path(__file__).parents[2] / "golden" / "bucket"
ULID, OTHER = "01EJ0000000000000000000001", "01EJ0000000000000000000002"
INDEX = BucketIndex(
    blocks=(
        IndexedBlock(
            ULID, 1600000000000, 1600007200000, 1600010000, segments=1, shard_id="1_of_4", source="compactor", level=2,
            out_of_order=True, labels={"k": "v"},
        ),
        IndexedBlock(OTHER, 1600000000000, 1600007200000, 1600010000),
    ),
    deletion_marks=(IndexedMark(OTHER, 1600020000),),
    updated_at_s=1600030000,
)  # fmt: skip


def test_golden():
    text = (GOLDEN / "bucket-index.json").read_bytes()
    packed = INDEX.encode()
    assert gzip.decompress(packed) == text
    assert BucketIndex.decode(packed) == INDEX
    assert BucketIndex.decode(gzip.compress(text)) == INDEX


def test_the_name_is_in_the_header():
    packed = INDEX.encode()
    assert packed[:10] == bytes.fromhex("1f8b080800000000") + b"\x00\xff"
    assert packed[10:28] == b"bucket-index.json\0"
    assert packed == INDEX.encode()


def test_nil_slices_of_go():
    data = gzip.compress(b'{"version":2,"blocks":null,"block_deletion_marks":null,"updated_at":5}')
    assert BucketIndex.decode(data) == BucketIndex(updated_at_s=5)


def test_older_version():
    with pytest.raises(IndexVersionUnknown, match="version 1"):
        BucketIndex.decode(gzip.compress(b'{"version":1,"blocks":[]}'))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"{}", INDEX.encode()[:-9], INDEX.encode()[:40], gzip.compress(b"[]"), gzip.compress(b""),
        gzip.compress(b'{"version":2,"blocks":[{"block_id":"../x"}]}'),
        gzip.compress(b'{"version":2,"blocks":[{"block_id":"%s","min_time":"1"}]}' % ULID.encode()),
        gzip.compress(b'{"version":2,"block_deletion_marks":[{"block_id":"x","deletion_time":1}]}'),
        gzip.compress(b'{"version":2,"updated_at":99999999999999999999}'),
    ],
    ids=range(11),
)  # fmt: skip
def test_damaged(data):
    with pytest.raises(DataDamaged, match=r"^bucket index"):
        BucketIndex.decode(data)


def test_bomb():
    bomb = gzip.compress(b" " * (1 << 20))
    with pytest.raises(DataDamaged, match="unpacks to more than 1000 bytes"):
        BucketIndex.decode(bomb, bytes_max=1000)


def test_checksum():
    packed = bytearray(INDEX.encode())
    packed[-8] ^= 1
    with pytest.raises(DataDamaged):
        BucketIndex.decode(bytes(packed))


def test_within():
    block = IndexedBlock(ULID, 1000, 2000, 0)
    assert [block.within(*span) for span in [(0, 999), (0, 1000), (1999, 3000), (2000, 3000)]] == [
        False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("thanos", "segments"),
    [
        (None, 0),
        (ThanosMeta(), 0),
        (ThanosMeta(segment_files=("000001", "000002")), 2),
        (ThanosMeta(segment_files=("000002",)), 0),
        (ThanosMeta(segment_files=("abc",)), 0),
        (ThanosMeta(files=(BlockFile("chunks/000001", 1), BlockFile("index", 1))), 1),
    ],
)
def test_segments(thanos, segments):
    assert indexed_block(BlockMeta(ULID, 1, 2, thanos=thanos), uploaded_at_s=3).segments == segments


def test_labels_without_the_internal_ones():
    thanos = ThanosMeta(labels={"__org_id__": "t", "__compactor_shard_id__": "2_of_2", "k": "v"}, source="receive")
    block = indexed_block(BlockMeta(ULID, 1, 2, thanos=thanos), uploaded_at_s=3)
    assert (block.labels, block.shard_id, block.source, block.level) == ({"k": "v"}, "2_of_2", "receive", 1)
    assert json.loads(gzip.decompress(BucketIndex((block,)).encode()))["blocks"][0]["labels"] == {"k": "v"}
