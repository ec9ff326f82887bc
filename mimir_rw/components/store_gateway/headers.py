"""Index-headers: what of a block's index must be known to find anything in it, kept on local disk.

    bucket: <tenant>/<block>/index ──ranged reads──► <sync dir>/<tenant>/<block>/index-header ──opened──► memory

A header is made when it is first wanted, kept over restarts, opened when it is used, and let go of when it has not been
used for a while. A file that turns out damaged is made anew once; what is damaged in the bucket is the caller's to deal
with. On the event loop only; files are touched in threads.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mimir_rw._native import DataDamaged as NativeDamaged
from mimir_rw._native import IndexHeader, build_index_header, index_header_ranges
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import DataDamaged, Overloaded, Unavailable
from mimir_rw.objstore.contract import Bucket

FILE_NAME = "index-header"
_TEMPORARY = "index-header.tmp"
_FIRST_BYTES = 5
_TOC_BYTES = 52
_INDEX_BYTES_MIN = _FIRST_BYTES + _TOC_BYTES

T = TypeVar("T")
Block = tuple[str, str]
"""Tenant and ULID."""


@dataclass(frozen=True, slots=True)
class HeaderSettings:
    directory: Path
    idle_s: float
    """A header that is not used for so long is closed; 0: never."""
    opens_max: int
    """Headers that are made or opened at once; 0: any number."""
    open_wait_s: float
    """How long one may wait for its turn."""


@dataclass(slots=True)
class OpenHeader:
    """native: kept by whoever uses it as long as it is used."""

    native: IndexHeader
    index_bytes: int
    used_s: float


class HeaderMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self.loads = metrics.counter(
            "cortex_bucket_store_indexheader_lazy_load_total", "Index-headers that were opened."
        )
        self.load_failures = metrics.counter(
            "cortex_bucket_store_indexheader_lazy_load_failed_total", "Index-headers that could not be opened."
        )
        self.unloads = metrics.counter(
            "cortex_bucket_store_indexheader_lazy_unload_total", "Index-headers that were closed again."
        )
        self.load_seconds = metrics.histogram(
            "cortex_bucket_store_indexheader_lazy_load_duration_seconds",
            "How long it took to open an index-header, and to make it where it was not there.",
        )
        self.built = metrics.counter("mimir_rw_store_gateway_headers_built_total", "Index-headers that were made.")


class HeaderStore:
    def __init__(
        self, *, settings: HeaderSettings, bucket: Bucket, offload: Offload, clock: Clock, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._bucket = bucket
        self._offload = offload
        self._clock = clock
        self._metrics = HeaderMetrics(metrics)
        self._open: dict[Block, OpenHeader] = {}
        self._opening: dict[Block, asyncio.Task[OpenHeader]] = {}
        self._room = asyncio.Semaphore(settings.opens_max) if settings.opens_max else None
        self._tasks = TaskSupervisor()
        self._log = get_logger(component="store-gateway")
        metrics.gauges_read(
            "cortex_bucket_store_blocks_loaded",
            "Blocks whose index-header is in memory.",
            (),
            lambda: [((), float(len(self._open)))],
        )
        metrics.gauges_read(
            "mimir_rw_store_gateway_headers_bytes",
            "Bytes of index-headers in memory.",
            (),
            lambda: [((), float(sum(header.native.nbytes for header in list(self._open.values()))))],
        )

    def in_use(self, block: Block) -> bool:
        return block in self._open or block in self._opening

    async def open(self, block: Block) -> OpenHeader:
        """The header, made and opened where that is still to do. Whoever asks meanwhile waits for the same.

        Raises ObjectNotFound when the block is not in the bucket, DataDamaged when its index is damaged, Unavailable.
        """
        found = self._open.get(block)
        if found is not None:
            found.used_s = self._clock.monotonic()
            return found
        opening = self._opening.get(block)
        if opening is None:
            opening = self._tasks.spawn(self._opened(block), name=f"index-header of {block[1]}", traced=False)
            opening.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._opening[block] = opening
        return await asyncio.shield(opening)

    async def ensure(self, block: Block) -> bool:
        """Make the header where there is none, without opening it; whether it was made. Raises as `open` does."""
        if block in self._open or await self._run(self._path(block).exists):
            return False
        async with self._turn():
            await self._build(block)
        return True

    def close_idle(self) -> None:
        if not self._settings.idle_s:
            return
        before_s = self._clock.monotonic() - self._settings.idle_s
        for block, header in list(self._open.items()):
            if header.used_s < before_s:
                del self._open[block]
                self._metrics.unloads.inc()

    async def on_disk(self) -> list[Block]:
        """Blocks that have a directory."""
        return await self._run(_directories, self._settings.directory)

    async def remove(self, block: Block) -> None:
        self._open.pop(block, None)
        await self._run(_remove, self._settings.directory, self._path(block).parent)

    async def shut_down(self) -> None:
        await self._tasks.cancel()
        self._open.clear()

    async def _opened(self, block: Block) -> OpenHeader:
        began_s = self._clock.monotonic()
        try:
            async with self._turn():
                header = await self._load(block)
        except BaseException:
            self._metrics.load_failures.inc()
            raise
        finally:
            del self._opening[block]
        self._metrics.loads.inc()
        self._metrics.load_seconds.observe(self._clock.monotonic() - began_s)
        self._open[block] = header
        return header

    async def _load(self, block: Block) -> OpenHeader:
        path = self._path(block)
        index_bytes = (await self._bucket.attributes(_index_key(block))).size
        if await self._run(path.exists):
            try:
                return OpenHeader(await self._run(IndexHeader, path), index_bytes, self._clock.monotonic())
            except (NativeDamaged, OSError) as error:
                self._log.warning("an index-header is made anew", tenant=block[0], block=block[1], err=str(error))
        await self._build(block, index_bytes)
        try:
            return OpenHeader(await self._run(IndexHeader, path), index_bytes, self._clock.monotonic())
        except NativeDamaged as error:
            raise DataDamaged(f"block {block[1]}: {error}") from error
        except OSError as error:
            raise Unavailable(f"an index-header cannot be read: {error}") from error

    async def _build(self, block: Block, index_bytes: int | None = None) -> None:
        key = _index_key(block)
        size = index_bytes if index_bytes is not None else (await self._bucket.attributes(key)).size
        if size < _INDEX_BYTES_MIN:
            raise DataDamaged(f"block {block[1]}: the index has only {size} bytes")
        first = await self._bucket.get_range(key, 0, _FIRST_BYTES)
        toc = await self._bucket.get_range(key, size - _TOC_BYTES, _TOC_BYTES)
        try:
            (symbols_at, symbols_end), (tail_at, tail_end) = index_header_ranges(toc, size)
            symbols = await self._bucket.get_range(key, symbols_at, symbols_end - symbols_at)
            tail = await self._bucket.get_range(key, tail_at, tail_end - tail_at)
            data = await self._run(build_index_header, first, toc, symbols, tail)
        except NativeDamaged as error:
            raise DataDamaged(f"block {block[1]}: {error}") from error
        try:
            await self._run(_write, self._path(block), data)
        except OSError as error:
            raise Unavailable(f"an index-header cannot be written: {error}") from error
        self._metrics.built.inc()

    async def _run(self, fn: Callable[..., T], *args: object) -> T:
        try:
            return await self._offload.run(fn, *args)
        except OffloadFull as error:
            raise Overloaded(str(error)) from error

    def _turn(self) -> _Turn:
        return _Turn(self._room, self._settings.open_wait_s)

    def _path(self, block: Block) -> Path:
        return self._settings.directory / block[0] / block[1] / FILE_NAME


class _Turn:
    """Waits for room, but not for long."""

    def __init__(self, room: asyncio.Semaphore | None, wait_s: float) -> None:
        self._room = room
        self._wait_s = wait_s

    async def __aenter__(self) -> None:
        if self._room is None:
            return
        try:
            async with asyncio.timeout(self._wait_s or None):
                await self._room.acquire()
        except TimeoutError:
            raise Unavailable("too many index-headers are being opened") from None

    async def __aexit__(self, *error: object) -> None:
        if self._room is not None:
            self._room.release()


def _index_key(block: Block) -> str:
    return f"{block[0]}/{block[1]}/index"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all; synced, because a file with holes after a crash would have to be found out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_TEMPORARY)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _directories(directory: Path) -> list[Block]:
    found = []
    try:
        for tenant in sorted(each for each in directory.iterdir() if each.is_dir()):
            found += [(tenant.name, block.name) for block in sorted(tenant.iterdir()) if block.is_dir()]
    except FileNotFoundError:
        return found
    return found


def _remove(root: Path, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    tenant = directory.parent
    if tenant != root:
        try:
            tenant.rmdir()
        except OSError:
            return  # it has other blocks
