"""Brings a local block into the bucket.

chunks, then index, then meta.json: a block without meta.json is no block for anybody, so that a crash at any point
leaves a partial block, never a wrong one. What is there with the right size is not sent again: objects appear whole,
and a block's files never change. `tombstones` stays behind.

A partial block that the cleaner has marked, because nobody wrote to it for a day, is not completed: it would be deleted
after all. Once the cleaner has removed it, an upload begins anew. Whether that has come to pass meanwhile is looked at
once more before meta.json: an upload that was resumed, and then slept, could name files that are gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from mimir_rw.bucket.blocks import block_objects
from mimir_rw.bucket.layout import CHUNKS, DELETION_MARK, INDEX, META, block_key, meta_key
from mimir_rw.bucket.parallel import in_parallel
from mimir_rw.formats.block_meta import BlockFile, BlockMeta, ThanosMeta
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import Conflict, DataDamaged, MimirError
from mimir_rw.objstore.contract import Bucket

FILES_AT_A_TIME = 2


async def upload_block(
    bucket: Bucket, tenant: str, directory: Path, meta: BlockMeta, *, offload: Offload, resumable: bool = True
) -> BlockMeta:
    """Upload a block of which `meta` tells external labels and source; the meta.json that it now has.

    resumable: the same block will be tried again, so what was sent stays. Otherwise a failure takes back what this call
    has written, unless meta.json itself may have arrived: then it is whole, or the cleaner's.
    Raises Conflict for a partial block that is marked for deletion, OSError for local files.
    """
    files = await offload.run(local_files, directory)
    whole = with_files(meta, files)
    there = await block_objects(bucket, tenant, meta.ulid)
    if META in there:
        return whole
    if DELETION_MARK in there:
        raise Conflict(
            f"block {meta.ulid} of {tenant} is partial and marked for deletion; it can be uploaded once gone"
        )
    sent: list[str] = []

    async def send(name: str) -> None:
        if name in there and there[name].size == files[name]:
            return
        sent.append(block_key(tenant, meta.ulid, name))
        await bucket.upload_file(sent[-1], directory / name)

    try:
        await in_parallel([name for name in files if name != INDEX], send, at_a_time=FILES_AT_A_TIME)
        await send(INDEX)
    except BaseException:
        if not resumable:
            for key in sent:
                with contextlib.suppress(MimirError):
                    await bucket.delete(key)
        raise
    if len(sent) < len(files):
        await _still_there(bucket, tenant, meta.ulid, files)
    await bucket.upload(meta_key(tenant, meta.ulid), whole.encode())
    return whole


async def _still_there(bucket: Bucket, tenant: str, ulid: str, files: dict[str, int]) -> None:
    there = await block_objects(bucket, tenant, ulid)
    if DELETION_MARK in there or any(name not in there or there[name].size != size for name, size in files.items()):
        raise Conflict(f"block {ulid} of {tenant} is being removed as partial; it is uploaded once gone")


def local_files(directory: Path) -> dict[str, int]:
    """A block's files and their sizes: chunk segments ascending, then the index. Raises OSError, DataDamaged."""
    segments = sorted((directory / CHUNKS).iterdir())
    if not segments:
        raise DataDamaged(f"{directory} has no chunk segments")
    found = {CHUNKS + segment.name: segment.stat().st_size for segment in segments}
    found[INDEX] = (directory / INDEX).stat().st_size
    return found


def with_files(meta: BlockMeta, files: dict[str, int]) -> BlockMeta:
    """With the list of its files in the thanos section, as Mimir writes it."""
    thanos = meta.thanos if meta.thanos is not None else ThanosMeta()
    listed = [BlockFile(name, size) for name, size in files.items()] + [BlockFile(META)]
    return meta.replaced(
        thanos=dataclasses.replace(
            thanos,
            files=tuple(sorted(listed, key=lambda file: file.path)),
            segment_files=tuple(name.removeprefix(CHUNKS) for name in files if name.startswith(CHUNKS)),
        )
    )
