"""`bucket validate` passes what does as it should and names what does not."""

from __future__ import annotations

import pytest

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import Unavailable
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.objstore.validate import Validation


async def outcomes(bucket: MemoryBucket) -> dict[str, str]:
    run = Validation(
        bucket, directory="scratch/", clock=SystemClock(), offload=InlineOffload(), file_bytes=3_000_000, objects=50
    )
    found = {outcome.name: outcome.problem async for outcome in run.run()}
    await run.clean()
    assert list(bucket.objects) == ["other"]
    return found


async def made(kind: type[MemoryBucket]) -> MemoryBucket:
    bucket = kind(clock=SystemClock())
    await bucket.upload("other", b"")
    return bucket


async def test_a_store_that_is_fit():
    assert set((await outcomes(await made(MemoryBucket))).values()) == {""}


class LateLists(MemoryBucket):
    async def list(self, prefix="", *, recursive=False):
        found = [info async for info in super().list(prefix, recursive=recursive)]
        for info in found if len(found) > 30 or prefix == "scratch/" else found[:-1]:
            yield info


class LateReads(MemoryBucket):
    async def upload(self, key, data):
        self.before = self.objects.get(key, (data, 0))
        await super().upload(key, data)

    async def get(self, key, *, bytes_max=None):
        await super().get(key)
        return self.before[0]


class ShortRanges(MemoryBucket):
    async def get_range(self, key, offset, length):
        return self.objects[key][0][offset : offset + length]


class Sticky(MemoryBucket):
    async def delete(self, key):
        if "delete/" not in key or getattr(self, "done", False):
            await super().delete(key)


class Small(MemoryBucket):
    async def upload_file(self, key, path):
        raise Unavailable("too large for me")


@pytest.mark.parametrize(
    ("kind", "check", "problem"),
    [
        (LateLists, "list after write", "is not in the list that follows"),
        (LateReads, "read after write", "was not read back"),
        (ShortRanges, "ranges", "are no error"),
        (Sticky, "delete", "the object is still there"),
        (Small, "files, in parts", "too large for me"),
    ],
)
async def test_a_store_that_is_not(kind, check, problem):
    bucket = await made(kind)
    run = Validation(
        bucket, directory="scratch/", clock=SystemClock(), offload=InlineOffload(), file_bytes=3_000_000, objects=50
    )
    found = {outcome.name: outcome.problem async for outcome in run.run()}
    assert problem in found[check]
