"""Makes the next bucket index of a tenant from the last one and two lists.

Marks are listed before blocks: a block that is deleted in between is at worst marked and missing, never there without
its mark. What the last index says of a block that is still listed holds (a meta.json never changes); only new blocks
are read. A block whose meta.json is not there or is damaged is partial, and left out. A directory in which nothing is
left, which some stores go on naming, is none.

Pure but for reading; whoever calls writes the index (cleaner.py), or serves it as it is where the stored one is too
old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mimir_rw.bucket.blocks import block_objects, fetch_meta
from mimir_rw.bucket.layout import DELETION_MARK, NO_COMPACT_MARK, bucket_index_key, marked_block, markers_dir, meta_key
from mimir_rw.bucket.parallel import in_parallel
from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock, IndexedMark, IndexVersionUnknown, indexed_block
from mimir_rw.formats.markers import MARK_BYTES_MAX, DeletionMark
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.kit.logging import get_logger
from mimir_rw.model.errors import DataDamaged
from mimir_rw.objstore.contract import Bucket, ObjectNotFound

NO_META = "no meta.json"
PACKED_BYTES_MAX = 256 << 20

_log = get_logger(component="bucket-index")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a tenant has in the bucket."""

    index: BucketIndex
    partial: Mapping[str, str]
    """Block directories without a meta.json that can be used, and why."""
    no_compact: frozenset[str]
    """Blocks with a no-compact mark."""
    new: frozenset[str]
    """Blocks that the last index did not have."""
    orphans: frozenset[str]
    """Deletion marks whose block has nothing else left."""


async def read_index(bucket: Bucket, tenant: str) -> BucketIndex | None:
    """The stored index; None if there is none or it is of another version. Raises DataDamaged."""
    key = bucket_index_key(tenant)
    try:
        return BucketIndex.decode(await bucket.get(key, bytes_max=PACKED_BYTES_MAX), key)
    except (ObjectNotFound, IndexVersionUnknown):
        return None


async def read_index_or_rebuild(bucket: Bucket, tenant: str) -> BucketIndex | None:
    """The stored index, None where a new one must be made from nothing."""
    try:
        return await read_index(bucket, tenant)
    except DataDamaged as error:
        _log.warning("bucket index is damaged and made afresh", user=tenant, err=str(error))
        return None


async def scan_tenant(bucket: Bucket, tenant: str, *, old: BucketIndex | None, now_ms: int) -> Scan:
    """Raises what the bucket raises: then nothing is known, and the last index stays."""
    copies = [info.key async for info in bucket.list(markers_dir(tenant))]
    marks = await _marks(bucket, copies, old)
    listed = [name for name in await bucket.list_dirs(f"{tenant}/") if is_ulid(name)]
    known = {block.ulid: block for block in old.blocks} if old is not None else {}
    read = await in_parallel([ulid for ulid in listed if ulid not in known], lambda ulid: _read(bucket, tenant, ulid))
    new = {block.ulid: block for block in read if isinstance(block, IndexedBlock)}
    partial = dict(each for each in read if isinstance(each, tuple))
    empty = {ulid for ulid, reason in partial.items() if reason == NO_META}
    empty = {ulid for ulid in sorted(empty) if not await block_objects(bucket, tenant, ulid)}
    listed = [ulid for ulid in listed if ulid not in empty]
    blocks = [known.get(ulid) or new[ulid] for ulid in listed if ulid not in partial]
    present = set(listed)
    return Scan(
        index=BucketIndex(
            blocks=tuple(sorted(blocks, key=lambda block: block.ulid)),
            deletion_marks=tuple(mark for mark in marks if mark.ulid in present),
            updated_at_s=now_ms // 1000,
        ),
        partial={ulid: reason for ulid, reason in partial.items() if ulid not in empty},
        no_compact=frozenset(ulid for key in copies if (ulid := marked_block(key, NO_COMPACT_MARK)) is not None),
        new=frozenset(new),
        orphans=frozenset(mark.ulid for mark in marks if mark.ulid not in present),
    )


async def _marks(bucket: Bucket, copies: list[str], old: BucketIndex | None) -> list[IndexedMark]:
    """Deletion marks by their copies, ascending by block; only those that the last index has not are read."""
    known = {mark.ulid: mark for mark in old.deletion_marks} if old is not None else {}
    marked = {ulid: key for key in copies if (ulid := marked_block(key, DELETION_MARK)) is not None}

    async def read(ulid: str) -> IndexedMark | None:
        if ulid in known:
            return known[ulid]
        try:
            mark = DeletionMark.decode(await bucket.get(marked[ulid], bytes_max=MARK_BYTES_MAX), marked[ulid])
        except ObjectNotFound:
            return None  # taken back since
        except DataDamaged as error:
            _log.warning("deletion mark left out", key=marked[ulid], err=str(error))
            return None
        return IndexedMark(ulid, mark.deletion_time_s)

    return [mark for mark in await in_parallel(sorted(marked), read) if mark is not None]


async def _read(bucket: Bucket, tenant: str, ulid: str) -> IndexedBlock | tuple[str, str]:
    """What the index says of a block, or the block and why it is partial."""
    try:
        meta = await fetch_meta(bucket, tenant, ulid)
        uploaded_at_s = (await bucket.attributes(meta_key(tenant, ulid))).modified_ms // 1000
    except ObjectNotFound:
        return ulid, NO_META
    except DataDamaged as error:
        return ulid, str(error)
    return indexed_block(meta, uploaded_at_s=uploaded_at_s)
