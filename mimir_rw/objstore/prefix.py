"""A directory of a bucket as a bucket: one tenant's, or all of ours in a bucket that is shared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from mimir_rw.objstore.contract import Bucket, Names, ObjectInfo, check_key, check_prefix


class PrefixBucket:
    """Keys are checked before the prefix is put on: none leads out of it. Closing it leaves the bucket open."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        """prefix: a directory with its last slash."""
        assert prefix
        self._bucket = bucket
        self._prefix = check_prefix(prefix)

    async def get(self, key: str, *, bytes_max: int | None = None) -> bytes:
        return await self._bucket.get(self._whole(key), bytes_max=bytes_max)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        return await self._bucket.get_range(self._whole(key), offset, length)

    async def attributes(self, key: str) -> ObjectInfo:
        return self._inner(await self._bucket.attributes(self._whole(key)))

    async def exists(self, key: str) -> bool:
        return await self._bucket.exists(self._whole(key))

    async def upload(self, key: str, data: bytes) -> None:
        await self._bucket.upload(self._whole(key), data)

    async def upload_file(self, key: str, path: Path) -> None:
        await self._bucket.upload_file(self._whole(key), path)

    async def download(self, key: str, path: Path) -> int:
        return await self._bucket.download(self._whole(key), path)

    async def delete(self, key: str) -> None:
        await self._bucket.delete(self._whole(key))

    async def list(self, prefix: str = "", *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        async for found in self._bucket.list(self._prefix + check_prefix(prefix), recursive=recursive):
            yield self._inner(found)

    async def list_dirs(self, prefix: str = "") -> Names:
        return await self._bucket.list_dirs(self._prefix + check_prefix(prefix))

    async def close(self) -> None:
        pass

    def _whole(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _inner(self, info: ObjectInfo) -> ObjectInfo:
        return ObjectInfo(info.key.removeprefix(self._prefix), info.size, info.modified_ms)
