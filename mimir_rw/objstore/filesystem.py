"""A bucket in a directory: keys are paths of files. For one machine, or a file system that several processes share.

Writing: a temporary file in the same directory, fsync, rename, fsync of the directory (local_files.py); temporary names
are no keys and are never listed. Deleting the last file of a directory removes the directory, upwards to the root, with
temporary files that a crash left an hour ago. An upload makes the directory again if that happens under its hands.

All work is blocking and runs through the Offload.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.model.errors import Conflict, DataDamaged, Internal, Unavailable
from mimir_rw.objstore.contract import (
    TEMPORARY,
    Names,
    ObjectInfo,
    ObjectNotFound,
    Objects,
    check_key,
    check_prefix,
    check_range,
)
from mimir_rw.objstore.local_files import copy_whole, write_whole

ABANDONED_MS = 3_600_000
"""A temporary file this old belongs to nobody."""

T = TypeVar("T")


class FilesystemBucket:
    def __init__(self, root: Path, *, offload: Offload, clock: Clock) -> None:
        """root: made when the first object is written."""
        self._root = root
        self._offload = offload
        self._clock = clock

    async def get(self, key: str, *, bytes_max: int | None = None) -> bytes:
        return await self._run(key, self._get, bytes_max)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        check_range(key, offset, length)
        return await self._run(key, self._get_range, offset, length)

    async def attributes(self, key: str) -> ObjectInfo:
        return await self._run(key, self._attributes)

    async def exists(self, key: str) -> bool:
        try:
            await self.attributes(key)
        except ObjectNotFound:
            return False
        return True

    async def upload(self, key: str, data: bytes) -> None:
        await self._write(key, lambda: write_whole(self._path(key), data))

    async def upload_file(self, key: str, path: Path) -> None:
        # What is wrong with the local file is the caller's: it is opened once before the store's own errors count.
        with path.open("rb"):
            await self._write(key, lambda: copy_whole(path, self._path(key)))

    async def download(self, key: str, path: Path) -> int:
        await self.attributes(key)
        try:
            return await self._offload.run(copy_whole, self._path(key), path)
        except FileNotFoundError as error:
            if error.filename == str(self._path(key)):
                raise ObjectNotFound(key) from error
            raise
        except OffloadFull as error:
            raise _typed(error, key) from error

    async def delete(self, key: str) -> None:
        with contextlib.suppress(ObjectNotFound):
            await self._run(key, self._delete)

    async def list(self, prefix: str = "", *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        for found in await self._run(check_prefix(prefix), self._list, recursive):
            yield found

    async def list_dirs(self, prefix: str = "") -> Names:
        return await self._run(check_prefix(prefix), self._list_dirs)

    async def close(self) -> None:
        pass

    async def _run(self, key: str, work: Callable[..., T], *args: object) -> T:
        try:
            return await self._offload.run(work, key, *args)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ObjectNotFound(key) from error
        except (OSError, OffloadFull) as error:
            raise _typed(error, key) from error

    async def _write(self, key: str, work: Callable[[], object]) -> None:
        self._path(key)
        try:
            await self._offload.run(work)
        except (NotADirectoryError, IsADirectoryError) as error:
            raise Conflict(f"object {key}: a part of its key is an object, or objects are below it") from error
        except (OSError, OffloadFull) as error:
            raise _typed(error, key) from error

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _get(self, key: str, bytes_max: int | None) -> bytes:
        with self._path(key).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if bytes_max is not None and size > bytes_max:
                raise DataDamaged(f"object {key} has {size} bytes, more than {bytes_max}")
            return file.read()

    def _get_range(self, key: str, offset: int, length: int) -> bytes:
        with self._path(key).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if offset + length > size:
                raise DataDamaged(f"object {key} has {size} bytes, not {length} at {offset}")
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise Unavailable(f"object {key}: read {len(data)} bytes, not {length} at {offset}")
        return data

    def _attributes(self, key: str) -> ObjectInfo:
        status = self._path(key).stat()
        if not stat.S_ISREG(status.st_mode):
            raise ObjectNotFound(key)
        return _info(key, status)

    def _delete(self, key: str) -> None:
        path = self._path(key)
        path.unlink()
        for directory in path.parents:
            if directory == self._root or not self._remove_directory(directory):
                return

    def _remove_directory(self, directory: Path) -> bool:
        """Remove it if there is nothing in it but what crashes left long ago."""
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if not entry.name.startswith(TEMPORARY):
                        return False
                    if self._clock.now_ms() - entry.stat().st_mtime_ns // 1_000_000 > ABANDONED_MS:
                        os.unlink(entry.path)
            directory.rmdir()
        except OSError:
            return False  # somebody writes there, or has removed it
        return True

    def _list(self, prefix: str, recursive: bool) -> Objects:
        found = list(self._walk(self._root / prefix, prefix, recursive))
        return sorted(found, key=lambda info: info.key.encode())

    def _walk(self, directory: Path, prefix: str, recursive: bool) -> Iterator[ObjectInfo]:
        for entry in _entries(directory):
            key = prefix + entry.name
            # Whatever goes away while we look was not there.
            with contextlib.suppress(FileNotFoundError):
                if entry.is_dir():
                    if recursive:
                        yield from self._walk(directory / entry.name, key + "/", recursive)
                elif entry.is_file():
                    yield _info(key, entry.stat())

    def _list_dirs(self, prefix: str) -> Names:
        directory = self._root / prefix
        inside = [entry.name for entry in _entries(directory) if entry.is_dir()]
        return sorted((name for name in inside if _has_objects(directory / name)), key=str.encode)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """What is in a directory, none if it is gone; names that are no keys are left out."""
    try:
        with os.scandir(directory) as entries:
            return [entry for entry in entries if not entry.name.startswith(TEMPORARY) and entry.name.isprintable()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _has_objects(directory: Path) -> bool:
    entries = _entries(directory)
    return any(not entry.is_dir() for entry in entries) or any(_has_objects(directory / e.name) for e in entries)


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, status.st_mtime_ns // 1_000_000)


def _typed(error: OSError | OffloadFull, key: str) -> Exception:
    text = f"object {key}: {error.strerror if isinstance(error, OSError) and error.strerror else error}"
    return Internal(text) if isinstance(error, PermissionError) else Unavailable(text)
