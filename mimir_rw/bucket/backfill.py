"""Brings the blocks of a Prometheus data directory into a tenant's place in the bucket, so that they become part of
what is stored for long. What is there already is left alone: the same directory can be brought again and again.

Refused are blocks that nothing here could serve as they stand: downsampled ones, index version 1, foreign external
labels, those with deletions that are not carried out, and those that verification finds damaged. An uploaded block
names itself as its only source: nothing else of what it was compacted from is in the bucket.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimir_rw.bucket.layout import INDEX, META, meta_key
from mimir_rw.bucket.upload import local_files, upload_block
from mimir_rw.formats.block_meta import INTERNAL_LABELS, META_BYTES_MAX, BlockCompaction, BlockMeta, ThanosMeta
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import BadRequest, DataDamaged, MimirError
from mimir_rw.objstore.contract import Bucket

Problems = Callable[[Path], Sequence[str]]
"""What is wrong with the block in a directory; blocking."""
SOURCE_UPLOAD = "upload"
_INDEX_START = bytes.fromhex("baaad70002")
"""Magic and version 2."""


class BackfillState(enum.Enum):
    UPLOADED = "uploaded"
    THERE = "there already"
    EMPTY = "empty"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LocalBlock:
    """A block directory. problem: why it is refused; then meta may be missing."""

    directory: Path
    meta: BlockMeta | None
    bytes: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BackfillResult:
    ulid: str
    state: BackfillState
    detail: str = ""


def find_blocks(directory: Path) -> list[LocalBlock]:
    """The blocks of a data directory, oldest data first. Blocking. Raises OSError if it cannot be listed."""
    found = [_look(entry) for entry in directory.iterdir() if is_ulid(entry.name) and entry.is_dir()]
    return sorted(found, key=lambda block: (block.meta.min_time if block.meta else 0, block.directory.name))


async def backfill_block(
    bucket: Bucket,
    tenant: str,
    block: LocalBlock,
    *,
    offload: Offload,
    problems: Problems | None,
    dry_run: bool = False,
) -> BackfillResult:
    """Upload one block unless it is there, empty or refused; problems: verifies it. Never raises for the block's or the
    store's sake."""
    ulid = block.directory.name
    if block.problem or block.meta is None:
        return BackfillResult(ulid, BackfillState.REFUSED, block.problem)
    if not block.meta.stats.samples:
        return BackfillResult(ulid, BackfillState.EMPTY)
    try:
        if await bucket.exists(meta_key(tenant, ulid)):
            return BackfillResult(ulid, BackfillState.THERE)
        found = await offload.run(problems, block.directory) if problems is not None else ()
        if found:
            return BackfillResult(ulid, BackfillState.REFUSED, found[0])
        if not dry_run:
            await upload_block(bucket, tenant, block.directory, uploaded_meta(block.meta), offload=offload)
    except (MimirError, OSError) as error:
        return BackfillResult(ulid, BackfillState.FAILED, str(error))
    return BackfillResult(ulid, BackfillState.UPLOADED, "not really: a dry run" if dry_run else "")


def uploaded_meta(meta: BlockMeta) -> BlockMeta:
    """meta.json of a block that came from elsewhere. Raises BadRequest for one that cannot be served."""
    check_meta(meta)
    labels = {} if meta.thanos is None else meta.thanos.labels
    kept = {name: value for name, value in labels.items() if name not in ("__org_id__", "__ingester_id__")}
    compaction = BlockCompaction(level=max(meta.compaction.level, 1), sources=(meta.ulid,), hints=meta.compaction.hints)
    return meta.replaced(compaction=compaction, thanos=ThanosMeta(labels=kept, source=SOURCE_UPLOAD))


def check_meta(meta: BlockMeta) -> None:
    """Raises BadRequest for a block that cannot be served as it stands."""
    if meta.stats.tombstones:
        raise BadRequest(deletions_text(meta.stats.tombstones))
    if meta.min_time >= meta.max_time or meta.min_time < 0:
        raise BadRequest(f"times {meta.min_time} to {meta.max_time} are not in order")
    if meta.thanos is not None:
        if meta.thanos.resolution:
            raise BadRequest(f"downsampled to {meta.thanos.resolution} ms")
        foreign = sorted(meta.thanos.labels.keys() - INTERNAL_LABELS)
        if foreign:
            raise BadRequest(f"external labels {', '.join(foreign)}: they are not part of its series")


def deletions_text(tombstones: int) -> str:
    """Why a block with deletions is refused: tombstones stay behind, so what was deleted would be there again."""
    return f"{tombstones} deletions that are not carried out: have Prometheus clean its tombstones first"


def _look(directory: Path) -> LocalBlock:
    size, meta = 0, None
    try:
        size = sum(local_files(directory).values())
        with (directory / META).open("rb") as file:
            meta = BlockMeta.decode(file.read(META_BYTES_MAX + 1))
        if meta.ulid != directory.name:
            raise DataDamaged(f"meta.json is of block {meta.ulid}")
        check_meta(meta)
        with (directory / INDEX).open("rb") as file:
            start = file.read(len(_INDEX_START))
        if start != _INDEX_START:
            version = start[-1] if len(start) == len(_INDEX_START) and start[:-1] == _INDEX_START[:-1] else None
            raise BadRequest("no index" if version is None else f"index version {version}: only 2 can be served")
    except (MimirError, OSError) as error:
        return LocalBlock(directory, meta, size, str(error))
    return LocalBlock(directory, meta, size)
