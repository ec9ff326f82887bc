"""Proves that an object store does what `contract.py` needs: by doing it, below a directory of its own, which is empty
again at the end. Each check stands for itself; one that fails says what came instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import DataDamaged, MimirError
from mimir_rw.objstore.contract import Bucket, ObjectNotFound
from mimir_rw.objstore.prefix import PrefixBucket

AT_A_TIME = 16
Check = Callable[["Validation"], Awaitable[None]]


class NotFit(Exception):
    """What the store did instead."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """problem: "" where the store did as it should."""

    name: str
    problem: str
    seconds: float


class Validation:
    """One run. `directory` must be empty, with its last slash."""

    def __init__(
        self, bucket: Bucket, *, directory: str, clock: Clock, offload: Offload, file_bytes: int, objects: int
    ) -> None:
        """file_bytes: of the file that goes up in parts. objects: how many to list: more than one page holds."""
        self.bucket = PrefixBucket(bucket, directory)
        self.clock = clock
        self.offload = offload
        self.file_bytes = file_bytes
        self.objects = objects

    async def run(self) -> AsyncIterator[Outcome]:
        """The outcome of each check, as it ends."""
        for name, check in CHECKS.items():
            began_s = self.clock.monotonic()
            problem = ""
            try:
                await check(self)
            except (NotFit, MimirError, OSError) as error:
                problem = str(error) or type(error).__name__
            yield Outcome(name, problem, self.clock.monotonic() - began_s)

    async def clean(self) -> None:
        """Remove what is left."""
        for key in [info.key async for info in self.bucket.list(recursive=True)]:
            with contextlib.suppress(MimirError):
                await self.bucket.delete(key)


def _must(fact: bool, problem: str) -> None:
    if not fact:
        raise NotFit(problem)


async def _read_after_write(run: Validation) -> None:
    for number in range(20):
        data = b"%d" % number * 1000
        await run.bucket.upload("write/key", data)
        _must(await run.bucket.get("write/key") == data, f"write {number} was not read back at once")
        size = (await run.bucket.attributes("write/key")).size
        _must(size == len(data), f"attributes tell {size} bytes, not {len(data)}")
    await run.bucket.upload("write/empty", b"")
    _must(await run.bucket.get("write/empty") == b"", "an empty object is not empty")


async def _list_after_write(run: Validation) -> None:
    for number in range(20):
        key = f"list/{number:02}/object with space + plus"
        await run.bucket.upload(key, b"x")
        found = [info.key async for info in run.bucket.list("list/", recursive=True)]
        _must(key in found, f"write {number} is not in the list that follows")
        _must(found == sorted(found), "lists are not in the order of keys")
    dirs = await run.bucket.list_dirs("list/")
    _must(dirs == [f"{number:02}" for number in range(20)], f"directories are {dirs[:5]}...")
    _must([info async for info in run.bucket.list("list/")] == [], "a list of one directory goes deeper")


async def _deletes(run: Validation) -> None:
    for number in range(10):
        await run.bucket.upload("delete/key", b"x")
        await run.bucket.delete("delete/key")
        _must(not await run.bucket.exists("delete/key"), f"delete {number}: the object is still there")
        found = [info.key async for info in run.bucket.list("delete/", recursive=True)]
        _must(not found, f"delete {number}: the object is still listed")
    await run.bucket.delete("delete/never-there")
    try:
        await run.bucket.get("delete/key")
    except ObjectNotFound:
        return
    raise NotFit("an object that was deleted can be read")


async def _ranges(run: Validation) -> None:
    data = bytes(range(256)) * 40
    await run.bucket.upload("ranges/key", data)
    for offset, length in ((0, 1), (0, len(data)), (100, 1000), (len(data) - 1, 1), (len(data) - 52, 52)):
        part = await run.bucket.get_range("ranges/key", offset, length)
        _must(part == data[offset : offset + length], f"{length} bytes at {offset} are wrong")
    for offset, length in ((len(data), 1), (len(data) - 5, 10)):
        try:
            await run.bucket.get_range("ranges/key", offset, length)
        except DataDamaged:
            continue
        raise NotFit(f"{length} bytes at {offset} of {len(data)} are no error")


async def _atomic_overwrite(run: Validation) -> None:
    versions = [bytes([65 + number]) * (10_000 * (number + 1)) for number in range(8)]
    await run.bucket.upload("overwrite/key", versions[0])

    async def write() -> None:
        for version in versions * 3:
            await run.bucket.upload("overwrite/key", version)

    async def read() -> None:
        for _ in range(40):
            _must(await run.bucket.get("overwrite/key") in versions, "a reader met neither the old nor the new object")

    await _all(write(), read(), read(), read())
    _must(await run.bucket.get("overwrite/key") == versions[-1], "the last write is not what stays")


async def _files(run: Validation) -> None:
    with tempfile.TemporaryDirectory(prefix="mimir-rw-validate-") as place:
        source, back = Path(place) / "source", Path(place) / "back"
        await run.offload.run(_fill, source, run.file_bytes)
        await run.bucket.upload_file("files/big", source)
        size = (await run.bucket.attributes("files/big")).size
        _must(size == run.file_bytes, f"a file of {run.file_bytes} bytes became an object of {size}")
        await run.bucket.download("files/big", back)
        _must(await run.offload.run(_equal, source, back), "a file came back changed")


async def _many(run: Validation) -> None:
    keys = [f"many/{number % 7}/{number:05}" for number in range(run.objects)]
    waiting = iter(keys)

    async def write() -> None:
        for key in waiting:
            await run.bucket.upload(key, b"x")

    await _all(*(write() for _ in range(AT_A_TIME)))
    found = [info.key async for info in run.bucket.list("many/", recursive=True)]
    _must(found == sorted(keys), f"a list of {len(keys)} objects has {len(found)}, or another order")
    _must(len(await run.bucket.list_dirs("many/")) == min(7, len(keys)), "directories are missing in a long list")


async def _concurrent(run: Validation) -> None:
    async def live(name: str) -> None:
        for number in range(10):
            await run.bucket.upload(f"concurrent/{name}", b"%d" % number)
            _must(await run.bucket.get(f"concurrent/{name}") == b"%d" % number, "objects of others show through")
            await run.bucket.delete(f"concurrent/{name}")

    await _all(*(live(f"{number:02}") for number in range(AT_A_TIME)))
    _must([info async for info in run.bucket.list("concurrent/")] == [], "objects are left that were deleted")


async def _all(*work: Coroutine[None, None, None]) -> None:
    """All of it at a time; the first error, when all has ended."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _fill(path: Path, size: int) -> None:
    block = bytes(range(251)) * 4177  # a length that no part size is a multiple of
    with path.open("wb") as file:
        while size:
            size -= file.write(block[: min(size, len(block))])


def _equal(one: Path, other: Path) -> bool:
    with one.open("rb") as a, other.open("rb") as b:
        while True:
            first, second = a.read(1 << 20), b.read(1 << 20)
            if first != second or not first:
                return first == second


CHECKS: dict[str, Check] = {
    "read after write": _read_after_write,
    "list after write": _list_after_write,
    "delete": _deletes,
    "ranges": _ranges,
    "overwriting is atomic": _atomic_overwrite,
    "files, in parts": _files,
    "lists of many objects": _many,
    "many clients at a time": _concurrent,
}
