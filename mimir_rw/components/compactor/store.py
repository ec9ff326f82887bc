"""The blocks of tenants as the compactor sees them: every meta.json, and the marks.

meta.json never changes, so what was read of it is kept until the block is gone. A block is *whole* when its meta.json
is there and decodes; one whose meta.json does not decode is *broken*: it is named and takes no part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mimir_rw.bucket import blocks
from mimir_rw.bucket.layout import (
    DELETION_MARK,
    MARKS,
    NO_COMPACT_MARK,
    marked_block,
    markers_dir,
    meta_key,
    tenant_mark_key,
)
from mimir_rw.bucket.parallel import in_parallel
from mimir_rw.bucket.tenants import list_tenants
from mimir_rw.bucket.upload import upload_block
from mimir_rw.components.compactor.jobs import StoredBlock
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import DataDamaged
from mimir_rw.objstore.contract import Bucket, ObjectNotFound


@dataclass(frozen=True, slots=True)
class TenantBlocks:
    """whole: not marked for deletion."""

    whole: tuple[StoredBlock, ...] = ()
    marked: frozenset[str] = frozenset()
    """For deletion."""
    partial: frozenset[str] = frozenset()
    """Without meta.json."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Blocks whose meta.json cannot be read, and why."""
    deleted: bool = False
    """The tenant is marked for deletion."""


class BlockStore(Protocol):
    """What jobs need of the bucket. Errors are those of `Bucket`."""

    async def tenants(self) -> list[str]:
        """All that have anything in the bucket, ascending."""
        ...

    async def load(self, tenant: str) -> TenantBlocks: ...

    async def marked(self, tenant: str, ulids: Collection[str]) -> frozenset[str]:
        """Those of the blocks that are marked for deletion, or not there any more."""
        ...

    async def exists(self, tenant: str, ulid: str) -> bool:
        """Whether the block has a meta.json."""
        ...

    async def download(self, tenant: str, meta: BlockMeta, directory: Path) -> None:
        """Index and chunks into a directory, which is made."""
        ...

    async def upload(self, tenant: str, directory: Path, meta: BlockMeta) -> BlockMeta:
        """The meta.json that it has there, with its files."""
        ...

    async def mark_deleted(self, tenant: str, ulid: str, details: str) -> None: ...

    async def mark_no_compact(self, tenant: str, ulid: str, reason: str, details: str) -> None: ...


class BucketBlockStore:
    """`BlockStore` over a bucket. What it keeps of meta.json files is bounded by what is in the bucket."""

    def __init__(self, *, bucket: Bucket, offload: Offload, clock: Clock, concurrency: int) -> None:
        """concurrency: meta.json files read at once."""
        self._bucket = bucket
        self._offload = offload
        self._clock = clock
        self._concurrency = concurrency
        self._known: dict[str, dict[str, tuple[BlockMeta, int]]] = {}

    async def tenants(self) -> list[str]:
        found = await list_tenants(self._bucket)
        for tenant in set(self._known) - set(found):
            del self._known[tenant]
        return found

    async def load(self, tenant: str) -> TenantBlocks:
        # Marks first: a block that is marked and deleted meanwhile is at worst marked and not there.
        deleted, marks, no_compact = await self._marks(tenant)
        names = [name for name in await self._bucket.list_dirs(f"{tenant}/") if is_ulid(name)]
        known = self._known.setdefault(tenant, {})
        for ulid in set(known) - set(names):
            del known[ulid]
        partial: set[str] = set()
        broken: dict[str, str] = {}

        async def read(ulid: str) -> None:
            try:
                meta = await blocks.fetch_meta(self._bucket, tenant, ulid)
                known[ulid] = (meta, (await self._bucket.attributes(meta_key(tenant, ulid))).modified_ms)
            except ObjectNotFound:
                partial.add(ulid)
            except DataDamaged as error:
                broken[ulid] = str(error)

        new = [name for name in names if name not in known and name not in marks]
        await in_parallel(new, read, at_a_time=self._concurrency)
        whole = [
            StoredBlock(*known[name], no_compact=name in no_compact)
            for name in names
            if name in known and name not in marks
        ]
        return TenantBlocks(tuple(whole), marks, frozenset(partial), broken, deleted)

    async def _marks(self, tenant: str) -> tuple[bool, frozenset[str], frozenset[str]]:
        """Whether the tenant is marked for deletion, its blocks that are, and those marked no-compact."""
        keys = [info.key async for info in self._bucket.list(markers_dir(tenant))]
        of = {mark: frozenset(filter(None, (marked_block(key, mark) for key in keys))) for mark in MARKS}
        return tenant_mark_key(tenant) in keys, of[DELETION_MARK], of[NO_COMPACT_MARK]

    async def marked(self, tenant: str, ulids: Collection[str]) -> frozenset[str]:
        _, marks, _ = await self._marks(tenant)
        gone = [ulid for ulid in ulids if ulid not in marks and not await self.exists(tenant, ulid)]
        return (marks & frozenset(ulids)) | frozenset(gone)

    async def exists(self, tenant: str, ulid: str) -> bool:
        return await self._bucket.exists(meta_key(tenant, ulid))

    async def download(self, tenant: str, meta: BlockMeta, directory: Path) -> None:
        await blocks.download_block(self._bucket, tenant, meta.ulid, directory, offload=self._offload)

    async def upload(self, tenant: str, directory: Path, meta: BlockMeta) -> BlockMeta:
        # The same block is not tried again: the next try has another name.
        return await upload_block(self._bucket, tenant, directory, meta, offload=self._offload, resumable=False)

    async def mark_deleted(self, tenant: str, ulid: str, details: str) -> None:
        await blocks.mark_deleted(self._bucket, tenant, ulid, now_ms=self._clock.now_ms(), details=details)

    async def mark_no_compact(self, tenant: str, ulid: str, reason: str, details: str) -> None:
        now_ms = self._clock.now_ms()
        await blocks.mark_no_compact(self._bucket, tenant, ulid, now_ms=now_ms, reason=reason, details=details)
