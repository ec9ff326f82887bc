"""What an uploaded block must be: its meta.json and its files. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mimir_rw.components.compactor.jobs import STRIPPED_LABELS
from mimir_rw.formats.block_meta import (
    OUT_OF_ORDER_LABEL,
    SHARD_LABEL,
    BlockCompaction,
    BlockFile,
    BlockMeta,
    ThanosMeta,
)
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.model.errors import BadRequest, DataDamaged, LimitExceeded, TooLarge

SOURCE_UPLOAD = "upload"
FILES_MAX = 10_000
_PATH = re.compile(r"index|chunks/[0-9]{6}")
_META = "meta.json"
_SHARD = re.compile(r"([1-9][0-9]{0,8})_of_([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class UploadRules:
    range_max_ms: int
    """The largest of the block ranges."""
    retention_ms: int = 0
    """0: no limit."""
    block_bytes_max: int = 0
    """0: no limit."""


def checked_ulid(text: str) -> str:
    if not is_ulid(text):
        raise BadRequest("invalid block ID")
    return text


def checked_path(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise BadRequest(f"invalid path: {path[:100]!r} is neither index nor chunks/ and six digits")
    return path


def accepted_meta(body: bytes, ulid: str, rules: UploadRules, now_ms: int) -> BlockMeta:
    """The meta.json that the block will have, of the one that was sent. Raises BadRequest for one that cannot be,
    LimitExceeded for a block past its retention, TooLarge for one over the size limit.

    The block is taken for one that was not compacted yet: what it was made of is not here.
    """
    try:
        meta = BlockMeta.decode(body)
    except DataDamaged as error:
        raise BadRequest(str(error)) from None
    thanos = meta.thanos or ThanosMeta()
    if thanos.resolution:
        raise BadRequest(f"block contains downsampled data: its resolution is {thanos.resolution} ms")
    _check_times(meta, rules, now_ms)
    return meta.replaced(
        ulid=ulid,
        compaction=BlockCompaction(level=max(1, meta.compaction.level), sources=(ulid,), hints=meta.compaction.hints),
        thanos=replace(
            thanos,
            labels=_labels(thanos),
            source=SOURCE_UPLOAD,
            files=_files(thanos, rules),
            segment_files=(),
        ),
    )


def _check_times(meta: BlockMeta, rules: UploadRules, now_ms: int) -> None:
    mint, maxt, width = meta.min_time, meta.max_time, rules.range_max_ms
    if mint < 0 or maxt <= mint:
        raise BadRequest(f"invalid time range: minTime={mint}, maxTime={maxt}")
    if maxt > now_ms:
        raise BadRequest(f"block time(s) greater than the present: minTime={mint}, maxTime={maxt}")
    if maxt - mint > width or mint // width != (maxt - 1) // width:
        raise BadRequest(
            f"block of {mint}..{maxt} is wider than the largest block range, {width} ms, or crosses the edge of one"
        )
    if rules.retention_ms and maxt < now_ms - rules.retention_ms:
        raise LimitExceeded(f"block max time ({maxt}) older than retention period")


def _labels(thanos: ThanosMeta) -> dict[str, str]:
    labels = {}
    for name, value in thanos.labels.items():
        if name in STRIPPED_LABELS:
            continue
        if name == SHARD_LABEL:
            found = _SHARD.fullmatch(value)
            if found is None or int(found[1]) > int(found[2]):
                raise BadRequest(f"invalid {SHARD_LABEL} external label: {value[:100]!r}")
        elif name != OUT_OF_ORDER_LABEL:
            raise BadRequest(f"unsupported external label: {name[:100]}")
        labels[name] = value
    return labels


def _files(thanos: ThanosMeta, rules: UploadRules) -> tuple[BlockFile, ...]:
    files: dict[str, BlockFile] = {}
    for file in thanos.files:
        if file.path == _META:
            continue
        checked_path(file.path)
        if not file.size or file.path in files:
            raise BadRequest(f"file {file.path} needs a size, once")
        files[file.path] = file
    if len(files) > FILES_MAX or "index" not in files or len(files) < 2:
        raise BadRequest(f"thanos.files must have index and chunks, and {FILES_MAX} files at most")
    segments = sorted(path for path in files if path != "index")
    if segments != [f"chunks/{number:06}" for number in range(1, len(segments) + 1)]:
        raise BadRequest("chunks must be numbered from 000001 without a gap")
    total = sum(file.size or 0 for file in files.values())
    if 0 < rules.block_bytes_max < total:
        raise TooLarge(f"block of {total} bytes exceeds the maximum block size limit of {rules.block_bytes_max} bytes")
    return tuple(sorted((*files.values(), BlockFile(_META)), key=lambda file: file.path))
