"""Reading an uploaded block before it is seen, in a child process: its two ends (as `merge_process`)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec

from mimir_rw.bucket.blocks import is_block_file
from mimir_rw.bucket.layout import META, block_key
from mimir_rw.bucket.parallel import in_parallel
from mimir_rw.components.compactor.merge_process import NICE
from mimir_rw.components.compactor.runner import SPACE_SPARE_BYTES, block_bytes, emptied, removed
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.kit.child import ChildFailed, child_main, limit_process, run_child
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import DataDamaged, Unavailable
from mimir_rw.objstore.contract import Bucket

PROBLEMS_TOLD = 3


class _Request(msgspec.Struct, frozen=True):
    directory: str
    memory_bytes: int


class _Report(msgspec.Struct, frozen=True):
    problems: tuple[str, ...] = ()
    error: str = ""


class ChildCheck:
    """`uploads.BlockCheck`: fetches the block into the scratch directory and has a process read it."""

    def __init__(
        self,
        *,
        bucket: Bucket,
        scratch: Path,
        memory_bytes: int,
        offload: Offload,
        space_free: Callable[[Path], int],
    ) -> None:
        self._bucket = bucket
        self._scratch = scratch
        self._memory_bytes = memory_bytes
        self._offload = offload
        self._space_free = space_free
        self._numbers = itertools.count(1)

    async def check(self, tenant: str, meta: BlockMeta, *, chunks: bool) -> None:
        """See `uploads.BlockCheck`."""
        directory = self._scratch / f"check-{next(self._numbers)}"
        await self._offload.run(emptied, directory)
        try:
            free = await self._offload.run(self._space_free, self._scratch)
            if free < block_bytes(meta) + SPACE_SPARE_BYTES:
                raise Unavailable(f"no space to check a block of {block_bytes(meta)} bytes in {self._scratch}")
            if not chunks:
                return
            await self._fetch(tenant, meta, directory)
            report = await self._read(_Request(str(directory), self._memory_bytes))
        finally:
            await self._offload.run(removed, directory)
        if report.error:
            raise Unavailable(report.error)
        if report.problems:
            raise DataDamaged("; ".join(report.problems[:PROBLEMS_TOLD]))

    async def _fetch(self, tenant: str, meta: BlockMeta, directory: Path) -> None:
        assert meta.thanos is not None
        names = [file.path for file in meta.thanos.files if is_block_file(file.path)]

        async def fetch(name: str) -> None:
            await self._bucket.download(block_key(tenant, meta.ulid, name), directory / name)

        await in_parallel(names, fetch, at_a_time=4)
        await self._offload.run((directory / META).write_bytes, meta.encode())

    async def _read(self, request: _Request) -> _Report:
        try:
            answer = await run_child(__name__, msgspec.json.encode(request))
            return msgspec.json.decode(answer, type=_Report)
        except (ChildFailed, msgspec.DecodeError) as error:
            raise Unavailable(str(error)) from error


def report(request: _Request) -> _Report:
    """In whatever process this is."""
    # Imported late: this module is also loaded by the parent, and the child should hold no more than it needs.
    from mimir_rw.blocks.verify import verify_block

    try:
        return _Report(verify_block(Path(request.directory)).problems)
    except (OSError, MemoryError) as error:
        return _Report(error=str(error) or type(error).__name__)


def _work(request: bytes) -> bytes:
    decoded = msgspec.json.decode(request, type=_Request)
    limit_process(address_bytes=decoded.memory_bytes, nice=NICE)
    return msgspec.json.encode(report(decoded))


if __name__ == "__main__":
    child_main(_work)
