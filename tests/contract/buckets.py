"""The buckets that the suite runs over: each a context manager with an empty one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import ThreadOffload
from mimir_rw.objstore.contract import Bucket
from mimir_rw.objstore.filesystem import FilesystemBucket
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.objstore.prefix import PrefixBucket


@contextlib.asynccontextmanager
async def memory(place: Path) -> AsyncIterator[Bucket]:
    yield MemoryBucket(clock=SystemClock())


@contextlib.asynccontextmanager
async def filesystem(place: Path) -> AsyncIterator[Bucket]:
    offload = ThreadOffload(name="bucket", threads=4)
    yield FilesystemBucket(place / "bucket", offload=offload, clock=SystemClock())
    offload.close()


@contextlib.asynccontextmanager
async def prefixed(place: Path) -> AsyncIterator[Bucket]:
    whole = MemoryBucket(clock=SystemClock())
    await whole.upload("other/seen", b"by nobody")
    await whole.upload("prefixed", b"by nobody")
    await whole.upload("pre/in/here", b"x")
    await whole.delete("pre/in/here")
    yield PrefixBucket(PrefixBucket(whole, "pre/"), "in/")


BUCKETS = [memory, filesystem, prefixed]
