"""A bucket in memory: for tests and simulations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from mimir_rw.kit.clock import Clock
from mimir_rw.model.errors import DataDamaged
from mimir_rw.objstore.contract import Names, ObjectInfo, ObjectNotFound, check_key, check_prefix, check_range
from mimir_rw.objstore.local_files import read_whole, write_whole


class MemoryBucket:
    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self.objects: dict[str, tuple[bytes, int]] = {}
        """Bytes and when they were written, by key."""

    async def get(self, key: str, *, bytes_max: int | None = None) -> bytes:
        data = self._find(key)[0]
        if bytes_max is not None and len(data) > bytes_max:
            raise DataDamaged(f"object {key} has {len(data)} bytes, more than {bytes_max}")
        return data

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        check_range(key, offset, length)
        data = self._find(key)[0]
        if offset + length > len(data):
            raise DataDamaged(f"object {key} has {len(data)} bytes, not {length} at {offset}")
        return data[offset : offset + length]

    async def attributes(self, key: str) -> ObjectInfo:
        data, modified_ms = self._find(key)
        return ObjectInfo(key, len(data), modified_ms)

    async def exists(self, key: str) -> bool:
        return check_key(key) in self.objects

    async def upload(self, key: str, data: bytes) -> None:
        self.objects[check_key(key)] = (bytes(data), self._clock.now_ms())

    async def upload_file(self, key: str, path: Path) -> None:
        await self.upload(key, read_whole(path))

    async def download(self, key: str, path: Path) -> int:
        data = self._find(key)[0]
        write_whole(path, data)
        return len(data)

    async def delete(self, key: str) -> None:
        self.objects.pop(check_key(key), None)

    async def list(self, prefix: str = "", *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        for key in self._below(prefix):
            if (recursive or "/" not in key[len(prefix) :]) and key in self.objects:
                data, modified_ms = self.objects[key]
                yield ObjectInfo(key, len(data), modified_ms)

    async def list_dirs(self, prefix: str = "") -> Names:
        rests = (key[len(prefix) :] for key in self._below(prefix))
        return sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    async def close(self) -> None:
        pass

    def _find(self, key: str) -> tuple[bytes, int]:
        found = self.objects.get(check_key(key))
        if found is None:
            raise ObjectNotFound(key)
        return found

    def _below(self, prefix: str) -> Names:
        check_prefix(prefix)
        return sorted((key for key in self.objects if key.startswith(prefix)), key=str.encode)
