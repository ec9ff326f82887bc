"""Single blocks in the bucket: read their meta.json, mark, delete, download.

A block is there for readers from when its meta.json is until that is gone; a mark says that it will go. Marks are
written twice, the copy below markers/ first: readers and the cleaner list only copies, so that after a crash between
the two the mark is in force, and the cleaner's next run completes it. They are taken back in the other order: until
the copy is gone the mark is in force, and after a crash in between the cleaner completes it again: who wants it gone
repeats.
"""

from __future__ import annotations

from pathlib import Path

from mimir_rw.bucket.layout import (
    CHUNKS,
    DELETION_MARK,
    INDEX,
    MARKS,
    META,
    NO_COMPACT_MARK,
    block_dir,
    block_key,
    marker_key,
    meta_key,
)
from mimir_rw.bucket.parallel import in_parallel
from mimir_rw.formats.block_meta import META_BYTES_MAX, BlockMeta
from mimir_rw.formats.markers import MARK_BYTES_MAX, DeletionMark, NoCompactMark
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import DataDamaged
from mimir_rw.objstore.contract import Bucket, ObjectInfo, ObjectNotFound, check_key
from mimir_rw.objstore.local_files import write_whole

PARTIAL_DETAILS = "partial block"
"""Why the cleaner marks a block without meta.json; should one turn out to be whole, the mark is wrong and goes."""


async def fetch_meta(bucket: Bucket, tenant: str, ulid: str) -> BlockMeta:
    """Raises ObjectNotFound for a block that is partial or gone, DataDamaged for a meta.json that is not its own."""
    key = meta_key(tenant, ulid)
    meta = BlockMeta.decode(await bucket.get(key, bytes_max=META_BYTES_MAX), key)
    if meta.ulid != ulid:
        raise DataDamaged(f"{key}: is of block {meta.ulid}")
    return meta


async def mark_deleted(bucket: Bucket, tenant: str, ulid: str, *, now_ms: int, details: str = "") -> None:
    """Mark a block for deletion. A mark that is there keeps its time: nobody waits twice, and no delay starts anew."""
    copy = marker_key(tenant, ulid, DELETION_MARK)
    try:
        data = await bucket.get(copy, bytes_max=MARK_BYTES_MAX)
        DeletionMark.decode(data, copy)
    except (ObjectNotFound, DataDamaged):
        data = DeletionMark(ulid, now_ms // 1000, details).encode()
        await bucket.upload(copy, data)
    own = block_key(tenant, ulid, DELETION_MARK)
    if not await bucket.exists(own):
        await bucket.upload(own, data)


async def mark_no_compact(
    bucket: Bucket, tenant: str, ulid: str, *, now_ms: int, reason: str, details: str = ""
) -> None:
    """Keep a block from being compacted. Written over a mark that is there."""
    data = NoCompactMark(ulid, now_ms // 1000, reason, details).encode()
    await bucket.upload(marker_key(tenant, ulid, NO_COMPACT_MARK), data)
    await bucket.upload(block_key(tenant, ulid, NO_COMPACT_MARK), data)


async def unmark(bucket: Bucket, tenant: str, ulid: str, mark: str) -> None:
    """Take a mark back (DELETION_MARK or NO_COMPACT_MARK)."""
    await bucket.delete(block_key(tenant, ulid, mark))
    await bucket.delete(marker_key(tenant, ulid, mark))


async def read_deletion_mark(bucket: Bucket, tenant: str, ulid: str) -> DeletionMark:
    """The copy of a block's mark. Raises ObjectNotFound, DataDamaged."""
    key = marker_key(tenant, ulid, DELETION_MARK)
    return DeletionMark.decode(await bucket.get(key, bytes_max=MARK_BYTES_MAX), key)


async def delete_block(bucket: Bucket, tenant: str, ulid: str) -> None:
    """Remove a block for good; repeating it finishes what a crash left.

    meta.json first: from then on nobody takes it for a block. The deletion mark last, its copy after it: as long as
    anything is left there is a mark that says so, and the cleaner comes back. A copy that is left alone stands for
    nothing, and the cleaner removes it.
    """
    prefix = block_dir(tenant, ulid)
    await bucket.delete(prefix + META)
    last = prefix + DELETION_MARK
    rest = [info.key async for info in bucket.list(prefix, recursive=True) if info.key not in (last, prefix + META)]
    await in_parallel(rest, bucket.delete)
    await bucket.delete(last)
    for mark in reversed(MARKS):
        await bucket.delete(marker_key(tenant, ulid, mark))


async def block_objects(bucket: Bucket, tenant: str, ulid: str) -> dict[str, ObjectInfo]:
    """All that is in a block's directory, by name in it."""
    prefix = block_dir(tenant, ulid)
    return {info.key.removeprefix(prefix): info async for info in bucket.list(prefix, recursive=True)}


def is_block_file(name: str) -> bool:
    """Whether it is a part of the block itself: not a mark, not what some tool has left."""
    return name == INDEX or (name.startswith(CHUNKS) and "/" not in name.removeprefix(CHUNKS))


async def download_block(bucket: Bucket, tenant: str, ulid: str, directory: Path, *, offload: Offload) -> BlockMeta:
    """A block's files into a local directory, meta.json last; files that are there with the right size stay.

    Raises ObjectNotFound if the block goes away meanwhile, DataDamaged if it has not the files that it says it has.
    """
    meta = await fetch_meta(bucket, tenant, ulid)
    sizes = {name: info.size for name, info in (await block_objects(bucket, tenant, ulid)).items()}
    wanted = {name: size for name, size in sizes.items() if is_block_file(name)}
    for file in meta.thanos.files if meta.thanos is not None else ():
        if is_block_file(file.path) and file.size is not None and sizes.get(check_key(file.path)) != file.size:
            raise DataDamaged(
                f"block {ulid} of {tenant}: {file.path} has {sizes.get(file.path)} bytes, not {file.size}"
            )
    if INDEX not in wanted:
        raise DataDamaged(f"block {ulid} of {tenant}: has no index")

    async def fetch(name: str) -> None:
        path = directory / name
        if await offload.run(_size, path) != wanted[name]:
            await bucket.download(block_key(tenant, ulid, name), path)

    await in_parallel(sorted(wanted), fetch, at_a_time=4)
    await offload.run(write_whole, directory / META, meta.encode())
    return meta


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
