"""A bucket over another one that fails as told by a seed or a script: errors before an operation, answers lost after it
was done, slowness, and a crash of the process after so many operations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mimir_rw.kit.rng import Rng
from mimir_rw.model.errors import Unavailable
from mimir_rw.objstore.contract import Bucket, Names, ObjectInfo, Objects

T = TypeVar("T")


class Crashed(BaseException):
    """The process is gone: nothing that it would do after this happens, whatever it catches."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Chances, each of 0 to 1, per operation. slow_s: longest delay of a slow one, in the loop's time."""

    fails: float = 0.0
    loses: float = 0.0
    """Done, but told to have failed."""
    slow: float = 0.0
    slow_s: float = 30.0


class FaultyBucket:
    """crash_after: operations until the crash; None for none. `log` has what was done: (operation, key)."""

    def __init__(
        self, bucket: Bucket, *, rng: Rng | None = None, faults: Faults | None = None, crash_after: int | None = None
    ) -> None:
        self._bucket = bucket
        self._rng = rng
        self.faults = faults if faults is not None else Faults()
        self.crash_after = crash_after
        self.log: list[tuple[str, str]] = []
        self.crashed = False

    async def get(self, key: str, *, bytes_max: int | None = None) -> bytes:
        return await self._do("get", key, lambda: self._bucket.get(key, bytes_max=bytes_max))

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        return await self._do("get_range", key, lambda: self._bucket.get_range(key, offset, length))

    async def attributes(self, key: str) -> ObjectInfo:
        return await self._do("attributes", key, lambda: self._bucket.attributes(key))

    async def exists(self, key: str) -> bool:
        return await self._do("exists", key, lambda: self._bucket.exists(key))

    async def upload(self, key: str, data: bytes) -> None:
        await self._do("upload", key, lambda: self._bucket.upload(key, data))

    async def upload_file(self, key: str, path: Path) -> None:
        await self._do("upload", key, lambda: self._bucket.upload_file(key, path))

    async def download(self, key: str, path: Path) -> int:
        return await self._do("download", key, lambda: self._bucket.download(key, path))

    async def delete(self, key: str) -> None:
        await self._do("delete", key, lambda: self._bucket.delete(key))

    async def list(self, prefix: str = "", *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        async def whole() -> Objects:
            return [info async for info in self._bucket.list(prefix, recursive=recursive)]

        for info in await self._do("list", prefix, whole):
            yield info

    async def list_dirs(self, prefix: str = "") -> Names:
        return await self._do("list_dirs", prefix, lambda: self._bucket.list_dirs(prefix))

    async def close(self) -> None:
        await self._bucket.close()

    async def _do(self, operation: str, key: str, work: Callable[[], Awaitable[T]]) -> T:
        if self.crashed or (self.crash_after is not None and len(self.log) >= self.crash_after):
            self.crashed = True
            raise Crashed
        if self._chance(self.faults.slow):
            assert self._rng is not None
            await asyncio.sleep(self._rng.random() * self.faults.slow_s)
        if self._chance(self.faults.fails):
            raise Unavailable(f"{operation} {key}: told to fail")
        self.log.append((operation, key))
        result = await work()
        if self._chance(self.faults.loses):
            raise Unavailable(f"{operation} {key}: told to lose its answer")
        return result

    def _chance(self, chance: float) -> bool:
        return chance > 0 and self._rng is not None and self._rng.random() < chance
