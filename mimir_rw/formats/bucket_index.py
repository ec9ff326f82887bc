"""bucket-index.json.gz: what a tenant has in the bucket, so that readers need not list (version 2, as Mimir's).

gzip of JSON, with the name of the JSON in gzip's header. Blocks that are marked for deletion stay listed until they are
gone; blocks without meta.json are not in it.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mimir_rw.formats.block_meta import INTERNAL_LABELS, BlockMeta
from mimir_rw.formats.json_members import Members
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.model.errors import DataDamaged

VERSION = 2
INDEX_NAME = "bucket-index.json"
UNPACKED_BYTES_MAX = 1 << 30
"""About three million blocks."""
SEGMENTS_ONE_BASED = "1b6d"
"""Segment files are 000001, 000002, ... without a gap."""

_SEGMENT = re.compile(r"[0-9]{6}")


class IndexVersionUnknown(DataDamaged):
    """Not an index of version 2: it says nothing that could be built on, and is to be made afresh."""


@dataclass(frozen=True, slots=True)
class IndexedBlock:
    """Times in ms, max_time exclusive; `uploaded_at_s` is when meta.json was written."""

    ulid: str
    min_time: int
    max_time: int
    uploaded_at_s: int
    segments: int = 0
    """How many segment files, where they are numbered 000001 and on; else 0."""
    shard_id: str = ""
    source: str = ""
    level: int = 0
    out_of_order: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    """External labels but for those that have a meaning of their own."""

    def within(self, mint: int, maxt: int) -> bool:
        """Whether it may hold samples of mint..maxt, both inclusive."""
        return self.min_time <= maxt and mint < self.max_time


@dataclass(frozen=True, slots=True)
class IndexedMark:
    """A block that is marked for deletion."""

    ulid: str
    deletion_time_s: int


@dataclass(frozen=True, slots=True)
class BucketIndex:
    blocks: tuple[IndexedBlock, ...] = ()
    deletion_marks: tuple[IndexedMark, ...] = ()
    updated_at_s: int = 0

    def encode(self) -> bytes:
        text = json.dumps(
            {
                "version": VERSION,
                "blocks": [_block_json(block) for block in self.blocks],
                "block_deletion_marks": [
                    {"block_id": mark.ulid, "deletion_time": mark.deletion_time_s} for mark in self.deletion_marks
                ],
                "updated_at": self.updated_at_s,
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )
        return _pack(text.encode())

    @classmethod
    def decode(cls, data: bytes, what: str = "bucket index", *, bytes_max: int = UNPACKED_BYTES_MAX) -> BucketIndex:
        """bytes_max: bound of the unpacked size. Raises DataDamaged, IndexVersionUnknown among them."""
        members = Members.read(_unpack(data, what, bytes_max), what, bytes_max=bytes_max)
        if members.integer("version") != VERSION:
            raise IndexVersionUnknown(f"{what}: version {members.integer('version')} is not {VERSION}")
        return cls(
            blocks=tuple(_block(each) for each in members.objects("blocks")),
            deletion_marks=tuple(
                IndexedMark(_block_id(each), each.integer("deletion_time"))
                for each in members.objects("block_deletion_marks")
            ),
            updated_at_s=members.integer("updated_at"),
        )


def indexed_block(meta: BlockMeta, *, uploaded_at_s: int) -> IndexedBlock:
    """What the index says of a block."""
    labels = {} if meta.thanos is None else meta.thanos.labels
    return IndexedBlock(
        ulid=meta.ulid,
        min_time=meta.min_time,
        max_time=meta.max_time,
        uploaded_at_s=uploaded_at_s,
        segments=_one_based_segments(meta),
        shard_id=meta.shard_id,
        source="" if meta.thanos is None else meta.thanos.source,
        level=meta.compaction.level,
        out_of_order=meta.out_of_order,
        labels={name: value for name, value in sorted(labels.items()) if name not in INTERNAL_LABELS},
    )


def _one_based_segments(meta: BlockMeta) -> int:
    """The number of segment files if they are 000001, 000002, ..., else 0."""
    if meta.thanos is None:
        return 0
    names = list(meta.thanos.segment_files) or [
        file.path.removeprefix("chunks/") for file in meta.thanos.files if file.path.startswith("chunks/")
    ]
    if all(_SEGMENT.fullmatch(name) for name in names) and sorted(map(int, names)) == list(range(1, len(names) + 1)):
        return len(names)
    return 0


def _block_json(block: IndexedBlock) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "segments_format": SEGMENTS_ONE_BASED if block.segments else "",
        "segments_num": block.segments,
        "compactor_shard_id": block.shard_id,
        "source": block.source,
        "compaction_level": block.level,
        "out_of_order": block.out_of_order,
        "labels": dict(block.labels),
    }
    return {
        "block_id": block.ulid,
        "min_time": block.min_time,
        "max_time": block.max_time,
        "uploaded_at": block.uploaded_at_s,
        **{key: value for key, value in optional.items() if value},
    }


def _block(block: Members) -> IndexedBlock:
    one_based = block.text("segments_format") == SEGMENTS_ONE_BASED
    return IndexedBlock(
        ulid=_block_id(block),
        min_time=block.integer("min_time"),
        max_time=block.integer("max_time"),
        uploaded_at_s=block.integer("uploaded_at"),
        segments=block.integer("segments_num", low=0, high=999_999) if one_based else 0,
        shard_id=block.text("compactor_shard_id"),
        source=block.text("source"),
        level=block.integer("compaction_level", low=0),
        out_of_order=block.flag("out_of_order"),
        labels=block.text_map("labels"),
    )


def _block_id(members: Members) -> str:
    return members.checked("block_id", is_ulid, "a ULID")


def _pack(text: bytes) -> bytes:
    """gzip with the file's name in the header (RFC 1952), which Python's gzip writes only to a file of that name."""
    header = b"\x1f\x8b\x08\x08" + b"\0\0\0\0" + b"\x00\xff" + INDEX_NAME.encode() + b"\0"
    deflate = zlib.compressobj(level=6, wbits=-zlib.MAX_WBITS)
    body = deflate.compress(text) + deflate.flush()
    return header + body + struct.pack("<II", zlib.crc32(text), len(text) & 0xFFFFFFFF)


def _unpack(data: bytes, what: str, bytes_max: int) -> bytes:
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        text = inflate.decompress(data, bytes_max + 1)
    except zlib.error as error:
        raise DataDamaged(f"{what}: {error}") from error
    if len(text) > bytes_max:
        raise DataDamaged(f"{what}: unpacks to more than {bytes_max} bytes")
    if not inflate.eof:
        raise DataDamaged(f"{what}: cut short")
    return text
