"""Keeps a tenant's place in the bucket in order: applies retention, deletes what was marked long ago, clears away what
crashes left, writes the bucket index, and removes tenants that are to go.

Each step may be the last one before a crash, and the next run goes on from whatever it finds:

    retention      marks blocks of the last index that are too old                     marking is repeatable
    scan           marks, then blocks (index_updater.py)                               reads only
    repair         takes back marks of partial blocks that turned out whole            in blocks.py's order
    delete         blocks that were marked a deletion delay ago, if the last *written* index said so: every reader had
                   the time to learn of the mark, also when nobody cleaned for a day   blocks.py's order
    partial        removes those marked, marks those that nobody has written to for long
    complete       writes the second copy of marks that a crash left with the first     in blocks.py's order
    index          written last, without what was deleted: until then the old one, in which that is marked, is in force

One owner per tenant and run (the compactor's ring); two at a time do no harm but work done twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mimir_rw.bucket.blocks import (
    PARTIAL_DETAILS,
    block_objects,
    delete_block,
    mark_deleted,
    mark_no_compact,
    read_deletion_mark,
    unmark,
)
from mimir_rw.bucket.cleaner_metrics import CleanerMetrics
from mimir_rw.bucket.index_updater import NO_META, Scan, read_index_or_rebuild, scan_tenant
from mimir_rw.bucket.layout import (
    DELETION_MARK,
    MARKS,
    META,
    NO_COMPACT_MARK,
    block_key,
    bucket_index_key,
    debug_metas_dir,
    marker_key,
    markers_dir,
    meta_key,
    tenant_mark_key,
)
from mimir_rw.bucket.parallel import in_parallel
from mimir_rw.bucket.tenants import read_tenant_mark
from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.formats.markers import MARK_BYTES_MAX, DeletionMark, NoCompactMark, TenantDeletionMark
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.model.errors import DataDamaged, MimirError
from mimir_rw.objstore.contract import Bucket, ObjectNotFound

_log = get_logger(component="cleaner")


@dataclass(frozen=True, slots=True)
class CleanerSettings:
    """deletion_delay_s: from mark to removal. tenant_delay_s: from a deleted tenant's last block to its marks."""

    deletion_delay_s: int = 12 * 3600
    tenant_delay_s: int = 6 * 3600
    deletes_at_a_time: int = 16


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """retention_s: 0 keeps for ever. partial_delay_s: how long a partial block may lie untouched; 0 is for ever."""

    retention_s: int = 0
    partial_delay_s: int = 24 * 3600


class Cleaner:
    def __init__(self, *, bucket: Bucket, clock: Clock, settings: CleanerSettings, metrics: CleanerMetrics) -> None:
        self._bucket = bucket
        self._clock = clock
        self._settings = settings
        self._metrics = metrics

    async def clean(self, tenant: str, policy: TenantPolicy) -> BucketIndex | None:
        """One run for a tenant. The index that is now stored; None for one that is being deleted.

        Raises what the bucket raises; single blocks that cannot be deleted stay for the next run.
        """
        mark = await read_tenant_mark(self._bucket, tenant)
        if mark is not None:
            await self._delete_tenant(tenant, mark)
            return None
        old = await read_index_or_rebuild(self._bucket, tenant)
        if old is not None:
            await self._apply_retention(tenant, old, policy)
        else:
            await self._copy_marks(tenant)
        scan = await scan_tenant(self._bucket, tenant, old=old, now_ms=self._clock.now_ms())
        wrong = await self._repair(tenant, scan)
        gone = await self._delete_marked(tenant, scan, old, wrong)
        gone |= await self._clean_partial(tenant, scan, policy)
        await self._remove_orphans(tenant, scan)
        await self._complete_marks(tenant, scan, gone)
        index = _without(scan.index, blocks=gone, marks=gone | wrong)
        if index.blocks or index.deletion_marks or scan.partial or old is not None:
            await self._bucket.upload(bucket_index_key(tenant), index.encode())
        self._metrics.cleaned(tenant, index, partial=len(scan.partial.keys() - gone))
        return index

    # -- live tenants -----------------------------------------------------------------------------------------------

    async def _apply_retention(self, tenant: str, old: BucketIndex, policy: TenantPolicy) -> None:
        """Mark what ends before the retention. By the last index: what is newer than it is not that old."""
        if not policy.retention_s:
            return
        now_ms = self._clock.now_ms()
        until = now_ms - policy.retention_s * 1000
        marked = {mark.ulid for mark in old.deletion_marks}
        for block in old.blocks:
            if block.max_time < until and block.ulid not in marked:
                details = f"block exceeding retention of {policy.retention_s}s"
                await mark_deleted(self._bucket, tenant, block.ulid, now_ms=now_ms, details=details)
                self._metrics.marked.labels("retention").inc()
                _log.info("block marked: retention", user=tenant, block=block.ulid)

    async def _copy_marks(self, tenant: str) -> None:
        """Give marks that are in block directories only (older uploaders, tools) the copy by which they are found.
        Costs two looks per block, so only where there is no index yet."""
        ulids = [name for name in await self._bucket.list_dirs(f"{tenant}/") if is_ulid(name)]

        async def copy(ulid: str) -> None:
            for mark in MARKS:
                if not await self._bucket.exists(block_key(tenant, ulid, mark)):
                    continue
                if not await self._bucket.exists(marker_key(tenant, ulid, mark)):
                    await self._copy_mark(tenant, ulid, mark)

        await in_parallel(ulids, copy)

    async def _copy_mark(self, tenant: str, ulid: str, mark: str) -> None:
        key = block_key(tenant, ulid, mark)
        try:
            data = await self._bucket.get(key, bytes_max=MARK_BYTES_MAX)
            decoded = DeletionMark.decode(data, key) if mark == DELETION_MARK else NoCompactMark.decode(data, key)
        except ObjectNotFound:
            return
        except DataDamaged as error:
            _log.warning("mark left out", key=key, err=str(error))
            return
        if isinstance(decoded, NoCompactMark):
            at_ms = decoded.no_compact_time_s * 1000
            await mark_no_compact(
                self._bucket, tenant, ulid, now_ms=at_ms, reason=decoded.reason, details=decoded.details
            )
        else:
            await self._bucket.upload(marker_key(tenant, ulid, mark), data)

    async def _repair(self, tenant: str, scan: Scan) -> frozenset[str]:
        """Blocks whose mark is wrong and has been taken back: they were marked as partial while they were uploaded,
        and are whole now."""
        marked = {mark.ulid for mark in scan.index.deletion_marks}
        wrong = []
        for ulid in sorted(marked & scan.new):
            try:
                mark = await read_deletion_mark(self._bucket, tenant, ulid)
            except (ObjectNotFound, DataDamaged):
                continue
            if mark.details == PARTIAL_DETAILS:
                await unmark(self._bucket, tenant, ulid, DELETION_MARK)
                _log.info("block is whole after all: mark taken back", user=tenant, block=ulid)
                wrong.append(ulid)
        return frozenset(wrong)

    async def _delete_marked(
        self, tenant: str, scan: Scan, old: BucketIndex | None, wrong: frozenset[str]
    ) -> frozenset[str]:
        published = {mark.ulid for mark in old.deletion_marks} if old is not None else set()
        due_s = self._clock.now_ms() // 1000 - self._settings.deletion_delay_s
        due = [
            mark.ulid
            for mark in scan.index.deletion_marks
            if mark.deletion_time_s <= due_s and mark.ulid in published
            and mark.ulid not in scan.partial and mark.ulid not in wrong
        ]  # fmt: skip
        return await self._delete(tenant, due)

    async def _clean_partial(self, tenant: str, scan: Scan, policy: TenantPolicy) -> frozenset[str]:
        """Remove partial blocks that are marked, mark those that nobody has written to for long; those removed."""
        marked = {mark.ulid for mark in scan.index.deletion_marks}
        due = []
        for ulid in sorted(scan.partial):
            objects = await block_objects(self._bucket, tenant, ulid)
            if not objects:
                continue  # somebody has removed it since the scan
            if META in objects and scan.partial[ulid] == NO_META:
                continue  # it has become whole since the scan
            newest_ms = max((info.modified_ms for name, info in objects.items() if name not in MARKS), default=0)
            untouched = self._clock.now_ms() - newest_ms > policy.partial_delay_s * 1000 > 0
            # Somebody who was at it when the mark was set may have gone on: what was written to lately stays.
            if ulid in marked and (untouched or not await self._is_marked_partial(tenant, ulid)):
                due.append(ulid)
            elif ulid not in marked and untouched:
                await self._mark_partial(tenant, ulid)
        return await self._delete(tenant, due)

    async def _is_marked_partial(self, tenant: str, ulid: str) -> bool:
        """Whether it was marked for being partial, and not because it was to be deleted anyway."""
        try:
            return (await read_deletion_mark(self._bucket, tenant, ulid)).details == PARTIAL_DETAILS
        except (ObjectNotFound, DataDamaged):
            return True

    async def _mark_partial(self, tenant: str, ulid: str) -> None:
        await mark_deleted(self._bucket, tenant, ulid, now_ms=self._clock.now_ms(), details=PARTIAL_DETAILS)
        # An uploader looks for a mark before it sends, and this looks for meta.json after it has marked: of the two at
        # least one sees the other. Whole blocks with such a mark are repaired, see _repair.
        if await self._bucket.exists(meta_key(tenant, ulid)):
            await unmark(self._bucket, tenant, ulid, DELETION_MARK)
            return
        self._metrics.marked.labels("partial").inc()
        _log.info("block marked: partial", user=tenant, block=ulid)

    async def _remove_orphans(self, tenant: str, scan: Scan) -> None:
        """Copies of marks whose block has gone: a crash before the last step of its deletion, or of its marking."""
        for ulid in sorted(scan.orphans):
            if not await block_objects(self._bucket, tenant, ulid):
                for mark in reversed(MARKS):
                    await self._bucket.delete(marker_key(tenant, ulid, mark))
        for ulid in sorted(scan.no_compact - scan.orphans - {block.ulid for block in scan.index.blocks}):
            if not await block_objects(self._bucket, tenant, ulid):
                await self._bucket.delete(marker_key(tenant, ulid, NO_COMPACT_MARK))

    async def _complete_marks(self, tenant: str, scan: Scan, gone: frozenset[str]) -> None:
        """A crash in marking a block, or in taking a mark back, leaves the copy alone. The mark is in force by it, so
        the other is written: whoever reads the block's directory then sees the same. One look per mark."""
        there = {block.ulid for block in scan.index.blocks} - gone
        marked = [(mark.ulid, DELETION_MARK) for mark in scan.index.deletion_marks]
        marked += [(ulid, NO_COMPACT_MARK) for ulid in scan.no_compact]

        async def complete(each: tuple[str, str]) -> None:
            own, copy = block_key(tenant, *each), marker_key(tenant, *each)
            if await self._bucket.exists(own):
                return
            try:
                data = await self._bucket.get(copy, bytes_max=MARK_BYTES_MAX)
            except ObjectNotFound:
                return
            await self._bucket.upload(own, data)
            # Somebody may be taking the mark back at this moment, and has removed this one already.
            if not await self._bucket.exists(copy):
                await self._bucket.delete(own)

        await in_parallel(sorted(each for each in marked if each[0] in there), complete)

    async def _delete(self, tenant: str, ulids: Iterable[str]) -> frozenset[str]:
        """Those that have gone."""

        async def delete(ulid: str) -> str | None:
            try:
                await delete_block(self._bucket, tenant, ulid)
            except MimirError as error:
                self._metrics.failures.inc()
                _log.warning("block not deleted", user=tenant, block=ulid, err=str(error))
                return None
            self._metrics.deleted.inc()
            _log.info("block deleted", user=tenant, block=ulid)
            return ulid

        done = await in_parallel(ulids, delete, at_a_time=self._settings.deletes_at_a_time)
        return frozenset(ulid for ulid in done if ulid is not None)

    # -- tenants that go --------------------------------------------------------------------------------------------

    async def _delete_tenant(self, tenant: str, mark: TenantDeletionMark) -> None:
        """The index first, so that readers ask for none of it any more; then blocks, without delay; a while after the
        last one what else there is, the tenant's own mark last of all: until then every run comes back here."""
        await self._bucket.delete(bucket_index_key(tenant))
        named = [name for name in await self._bucket.list_dirs(f"{tenant}/") if is_ulid(name)]
        ulids = [ulid for ulid in named if await block_objects(self._bucket, tenant, ulid)]
        gone = await self._delete(tenant, ulids)
        if len(gone) < len(ulids):
            return
        now_s = self._clock.now_ms() // 1000
        if ulids or not mark.finished_time_s:
            # Also when an ingester has shipped once more since: the wait begins anew.
            finished = TenantDeletionMark(mark.deletion_time_s, now_s)
            await self._bucket.upload(tenant_mark_key(tenant), finished.encode())
            self._metrics.forget(tenant)
            _log.info("all blocks of a deleted tenant are gone", user=tenant, blocks=len(ulids))
        elif now_s - mark.finished_time_s >= self._settings.tenant_delay_s:
            await self._delete_below(debug_metas_dir(tenant))
            await self._delete_below(markers_dir(tenant), but=tenant_mark_key(tenant))
            await self._bucket.delete(tenant_mark_key(tenant))
            _log.info("nothing is left of a deleted tenant", user=tenant)

    async def _delete_below(self, prefix: str, *, but: str = "") -> None:
        keys = [info.key async for info in self._bucket.list(prefix, recursive=True) if info.key != but]
        await in_parallel(keys, self._bucket.delete)


def _without(index: BucketIndex, *, blocks: frozenset[str], marks: frozenset[str]) -> BucketIndex:
    return BucketIndex(
        blocks=tuple(block for block in index.blocks if block.ulid not in blocks),
        deletion_marks=tuple(mark for mark in index.deletion_marks if mark.ulid not in marks),
        updated_at_s=index.updated_at_s,
    )
