"""Blocks that tenants upload over HTTP. All state is in the bucket, so each step may reach another compactor.

    ── start ──► uploading ── files, finish ──► validating ──► complete (meta.json is there)
       uploading-meta.json       validation.json │  ▲
                                                 ▼  │ finish
                                               failed

Until meta.json is uploaded, last, nobody reads the block. A client that comes back says `start` and `finish` again and
sends what is missing. A validation whose compactor died has not been heard of for `STALE_MS`: it is uploading again.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from mimir_rw.bucket.layout import META, block_key
from mimir_rw.components.compactor.upload_rules import UploadRules, accepted_meta, checked_path, checked_ulid
from mimir_rw.config.limits import Limits
from mimir_rw.formats.block_meta import META_BYTES_MAX, BlockFile, BlockMeta
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import BadRequest, Conflict, DataDamaged, MimirError, NotFound, RateLimited
from mimir_rw.objstore.contract import Bucket, ObjectNotFound

UPLOADING_META = "uploading-meta.json"
VALIDATION = "validation.json"
STALE_MS = 5 * 60_000


class UploadState(enum.Enum):
    COMPLETE = "complete"
    UPLOADING = "uploading"
    VALIDATING = "validating"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class UploadResult:
    state: UploadState
    error: str = ""


class _Validation(msgspec.Struct, frozen=True):
    last_update: int
    """Unix ms."""
    error: str = ""


class BlockCheck(Protocol):
    async def check(self, tenant: str, meta: BlockMeta, *, chunks: bool) -> None:
        """Fetch a block and read it. Raises DataDamaged for one that is not sound, Unavailable when it cannot be said.
        chunks: read all chunks too, else the index only."""
        ...


class BlockUploads:
    def __init__(
        self,
        *,
        bucket: Bucket,
        checker: BlockCheck,
        limits: Limits,
        range_max_ms: int,
        validations_max: int,
        scratch: Path,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
        tasks: Callable[[], TaskSupervisor],
    ) -> None:
        """validations_max: at once; 0 for no limit. tasks: who owns the validations."""
        self._bucket = bucket
        self._checker = checker
        self._limits = limits
        self._range_max_ms = range_max_ms
        self._validations_max = validations_max
        self._scratch = scratch
        self._offload = offload
        self._clock = clock
        self._tasks = tasks
        self._validating: set[tuple[str, str]] = set()
        self._files = 0
        self._log: Logger = get_logger(component="compactor")
        metrics.gauges_read(
            "cortex_block_upload_validations_in_progress",
            "Uploaded blocks that are being validated.",
            (),
            lambda: [((), float(len(self._validating)))],
        )

    async def start(self, tenant: str, block: str, body: bytes) -> None:
        """Begin, or begin again. Raises Conflict for a block that is there, and as `accepted_meta` does."""
        self._check_enabled(tenant)
        ulid = checked_ulid(block)
        await self._check_incomplete(tenant, ulid)
        limits = self._limits.for_tenant(tenant)
        rules = UploadRules(
            range_max_ms=self._range_max_ms,
            retention_ms=limits.compactor_blocks_retention_period,
            block_bytes_max=limits.compactor_block_upload_max_block_size_bytes,
        )
        meta = accepted_meta(body, ulid, rules, self._clock.now_ms())
        await self._bucket.upload(block_key(tenant, ulid, UPLOADING_META), meta.encode())
        self._log.info("block upload begins", tenant=tenant, block=ulid)

    async def put_file(
        self, tenant: str, block: str, path: str, declared: int | None, body: Callable[[int], AsyncIterator[bytes]]
    ) -> None:
        """Take a file. declared: its size as the client says it; body: the bytes, for a bound."""
        self._check_enabled(tenant)
        ulid = checked_ulid(block)
        checked_path(path)
        meta = await self._started(tenant, ulid)
        size = next((file.size for file in _files(meta) if file.path == path), None)
        if size is None:
            raise BadRequest(f"unexpected file: {path} is not in the block's meta.json")
        if declared is not None and declared != size:
            raise BadRequest(f"file size doesn't match meta.json: {path} has {size} bytes there, {declared} here")
        local = await self._receive(body(size))
        try:
            stored = await self._offload.run(_size_of, local)
            if stored != size:
                raise BadRequest(f"file size doesn't match meta.json: {path} has {size} bytes there, {stored} came")
            await self._bucket.upload_file(block_key(tenant, ulid, path), local)
        finally:
            await self._offload.run(_removed, local)

    async def finish(self, tenant: str, block: str) -> None:
        """All files are there: validate the block and then let it be seen. Raises RateLimited when too many are being
        validated; the answer to what became of it is `result`."""
        self._check_enabled(tenant)
        ulid = checked_ulid(block)
        meta = await self._started(tenant, ulid)
        if (await self._validation_state(tenant, ulid)).state is UploadState.VALIDATING:
            raise Conflict("block validation is in progress")
        await self._check_files(tenant, meta)
        if not self._limits.for_tenant(tenant).compactor_block_upload_validation_enabled:
            await self._complete(tenant, meta)
            return
        if 0 < self._validations_max <= len(self._validating):
            raise RateLimited("too many block upload validations in progress, try again later")
        await self._note(tenant, ulid, "")
        self._validating.add((tenant, ulid))
        self._tasks().spawn(self._validate(tenant, meta), name=f"validate-{ulid}", traced=False)

    async def result(self, tenant: str, block: str) -> UploadResult:
        """Raises NotFound for a block that was never begun."""
        self._check_enabled(tenant)
        ulid = checked_ulid(block)
        if await self._bucket.exists(block_key(tenant, ulid, META)):
            return UploadResult(UploadState.COMPLETE)
        if not await self._bucket.exists(block_key(tenant, ulid, UPLOADING_META)):
            raise NotFound("block doesn't exist")
        return await self._validation_state(tenant, ulid)

    # -- state ----------------------------------------------------------------------------------------------------

    def _check_enabled(self, tenant: str) -> None:
        if not self._limits.for_tenant(tenant).compactor_block_upload_enabled:
            raise BadRequest("block upload is disabled")

    async def _check_incomplete(self, tenant: str, ulid: str) -> None:
        if await self._bucket.exists(block_key(tenant, ulid, META)):
            raise Conflict("block already exists")

    async def _started(self, tenant: str, ulid: str) -> BlockMeta:
        await self._check_incomplete(tenant, ulid)
        try:
            body = await self._bucket.get(block_key(tenant, ulid, UPLOADING_META), bytes_max=META_BYTES_MAX)
        except ObjectNotFound:
            raise NotFound(f"upload of block {ulid} not started yet") from None
        return BlockMeta.decode(body, UPLOADING_META)

    async def _validation_state(self, tenant: str, ulid: str) -> UploadResult:
        if (tenant, ulid) in self._validating:
            return UploadResult(UploadState.VALIDATING)
        try:
            body = await self._bucket.get(block_key(tenant, ulid, VALIDATION), bytes_max=1 << 20)
            found = msgspec.json.decode(body, type=_Validation)
        except (ObjectNotFound, msgspec.DecodeError):
            return UploadResult(UploadState.UPLOADING)
        if found.error:
            return UploadResult(UploadState.FAILED, found.error)
        fresh = self._clock.now_ms() - found.last_update < STALE_MS
        return UploadResult(UploadState.VALIDATING if fresh else UploadState.UPLOADING)

    async def _note(self, tenant: str, ulid: str, error: str) -> None:
        note = msgspec.json.encode(_Validation(self._clock.now_ms(), error))
        await self._bucket.upload(block_key(tenant, ulid, VALIDATION), note)

    # -- files ----------------------------------------------------------------------------------------------------

    async def _receive(self, parts: AsyncIterator[bytes]) -> Path:
        """Into a file of the scratch directory."""
        self._files += 1
        path = self._scratch / f"upload-{self._files}"
        file = await self._offload.run(_opened, path)
        try:
            async for part in parts:
                await self._offload.run(file.write, part)
            await self._offload.run(file.close)
        except BaseException:
            file.close()
            await self._offload.run(_removed, path)
            raise
        return path

    async def _check_files(self, tenant: str, meta: BlockMeta) -> None:
        for file in _files(meta):
            try:
                found = await self._bucket.attributes(block_key(tenant, meta.ulid, file.path))
            except ObjectNotFound:
                raise BadRequest(f"file {file.path} is missing") from None
            if found.size != file.size:
                raise BadRequest(f"file {file.path} has {found.size} bytes, and {file.size} in meta.json")

    async def _complete(self, tenant: str, meta: BlockMeta) -> None:
        """meta.json makes the block; what led there goes after it."""
        await self._bucket.upload(block_key(tenant, meta.ulid, META), meta.encode())
        for name in (UPLOADING_META, VALIDATION):
            await self._bucket.delete(block_key(tenant, meta.ulid, name))
        self._log.info("block upload complete", tenant=tenant, block=meta.ulid)

    async def _validate(self, tenant: str, meta: BlockMeta) -> None:
        limits = self._limits.for_tenant(tenant)
        try:
            await self._checker.check(tenant, meta, chunks=limits.compactor_block_upload_verify_chunks)
            await self._complete(tenant, meta)
        except DataDamaged as error:
            self._log.warning("uploaded block is not sound", tenant=tenant, block=meta.ulid, err=str(error))
            await self._failed(tenant, meta.ulid, f"block validation failed: {error}")
        except MimirError as error:
            self._log.error("uploaded block not validated", tenant=tenant, block=meta.ulid, err=str(error))
            await self._failed(tenant, meta.ulid, f"block could not be validated: {error}")
        finally:
            self._validating.discard((tenant, meta.ulid))

    async def _failed(self, tenant: str, ulid: str, error: str) -> None:
        try:
            await self._note(tenant, ulid, error[:1000])
        except MimirError as second:
            # It is taken for stale in a while, and may be finished again.
            self._log.error("what became of an upload is not stored", tenant=tenant, block=ulid, err=str(second))


def _files(meta: BlockMeta) -> list[BlockFile]:
    """All but meta.json."""
    assert meta.thanos is not None
    return [file for file in meta.thanos.files if file.size is not None]


def _opened(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _size_of(path: Path) -> int:
    return path.stat().st_size


def _removed(path: Path) -> None:
    path.unlink(missing_ok=True)
