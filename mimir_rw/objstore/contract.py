"""What all object stores are to the rest: `Bucket`, and which keys there are.

An object is bytes under a key; keys have segments between slashes, and a *directory* is nothing but what keys below it
have in common: it is there as long as one of them is. There is no rename, no append and no conditional write: what must
happen in an order, or once, is ordered by `bucket/`.

After an upload has returned, every reader sees the new bytes; while one runs, or when it has failed, a reader sees the
old object or the new one, whole, never a part. An upload or delete that raised, or whose caller was cancelled, may
still happen: the caller treats its outcome as not known.

Errors: `ObjectNotFound`; `DataDamaged` for an object that is longer or shorter than it may be; `BadRequest` for a key
that is none; `Conflict` where a key is a directory of another one and the store cannot have both; `Unavailable` for all
that may pass (it has been retried already where that helps); `Internal` for a store that refuses us (credentials, a
bucket that is not there).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from mimir_rw.model.errors import BadRequest, NotFound

Names = list[str]
Objects = list["ObjectInfo"]

KEY_BYTES_MAX = 1024
SEGMENT_BYTES_MAX = 255
TEMPORARY = ".mimir-rw.tmp-"
"""How names of half-written files begin, where a store has files: no key has such a segment."""


class ObjectNotFound(NotFound):
    """Not the fault of whoever asked a query: readers of a bucket meet objects that have just been deleted."""

    client_fault: ClassVar[bool] = False

    def __init__(self, key: str) -> None:
        super().__init__(f"object {key} does not exist")
        self.key = key


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    key: str
    size: int
    modified_ms: int
    """When it was last written, by the store's clock; some stores tell whole seconds only."""


class Bucket(Protocol):
    """Safe to call from one event loop, any number of calls at a time."""

    async def get(self, key: str, *, bytes_max: int | None = None) -> bytes:
        """The whole object. DataDamaged if it has more than bytes_max bytes, of which then no more are read."""
        ...

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`. DataDamaged if the object ends before."""
        ...

    async def attributes(self, key: str) -> ObjectInfo: ...

    async def exists(self, key: str) -> bool: ...

    async def upload(self, key: str, data: bytes) -> None:
        """Write the object, whole or not at all, over what is there."""
        ...

    async def upload_file(self, key: str, path: Path) -> None:
        """The same from a local file, which must not change meanwhile; OSError if it cannot be read."""
        ...

    async def download(self, key: str, path: Path) -> int:
        """Into a local file, which has its name only once it is whole; its size. OSError if it cannot be written."""
        ...

    async def delete(self, key: str) -> None:
        """No error if it is not there."""
        ...

    def list(self, prefix: str = "", *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """The objects directly in a directory, or all below it, ascending by key. prefix: "" or a directory with its
        last slash. An object that is written or deleted meanwhile may be in it or not."""
        ...

    async def list_dirs(self, prefix: str = "") -> Names:
        """The names of the directories directly in a directory, ascending, without slashes. Some stores go on naming
        one for a while when the last object below it has been deleted."""
        ...

    async def close(self) -> None: ...


def check_key(key: str) -> str:
    """`key` if it is one: segments that are no path tricks, printable, short enough for every store. BadRequest."""
    if not key or len(key.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX:
        raise BadRequest(f"object key {key[:100]!r} is empty or longer than {KEY_BYTES_MAX} bytes")
    for segment in key.split("/"):
        if segment in ("", ".", "..") or not segment.isprintable() or segment.startswith(TEMPORARY):
            raise BadRequest(f"object key {key[:100]!r} has the segment {segment[:100]!r}")
        if len(segment.encode()) > SEGMENT_BYTES_MAX:
            raise BadRequest(f"object key {key[:100]!r} has a segment of more than {SEGMENT_BYTES_MAX} bytes")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` if it is "" or a directory with its last slash. BadRequest."""
    if prefix:
        if not prefix.endswith("/"):
            raise BadRequest(f"prefix {prefix[:100]!r} does not end with a slash")
        check_key(prefix[:-1])
    return prefix


def check_range(key: str, offset: int, length: int) -> None:
    if offset < 0 or length < 0:
        raise BadRequest(f"range of {length} bytes at {offset} of object {key}")
