from __future__ import annotations

import os
from pathlib import Path

import pytest

from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import Conflict, Internal, Unavailable
from mimir_rw.objstore import local_files
from mimir_rw.objstore.contract import TEMPORARY
from mimir_rw.objstore.filesystem import FilesystemBucket


class Clock:
    ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@pytest.fixture
def bucket(tmp_path: Path) -> FilesystemBucket:
    return FilesystemBucket(tmp_path / "root", offload=InlineOffload(), clock=Clock())


async def test_the_layout_is_the_keys(bucket, tmp_path) -> None:
    await bucket.upload("t/b/meta.json", b"x")
    assert (tmp_path / "root/t/b/meta.json").read_bytes() == b"x"
    assert [p.name for p in (tmp_path / "root/t/b").iterdir()] == ["meta.json"]
    assert (tmp_path / "root/t/b/meta.json").stat().st_mode & 0o777 == 0o644


async def test_a_root_that_is_not_there(bucket) -> None:
    assert [each async for each in bucket.list(recursive=True)] == []
    assert await bucket.list_dirs() == []
    assert not await bucket.exists("a")


async def test_half_written_files_are_no_objects(bucket, tmp_path) -> None:
    left = tmp_path / "root/t/b" / f"{TEMPORARY}left"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    os.utime(left, ns=(Clock.ms * 1_000_000,) * 2)
    assert await bucket.list_dirs() == []
    assert [each async for each in bucket.list(recursive=True)] == []
    await bucket.upload("t/b/x", b"")
    await bucket.delete("t/b/x")
    assert left.exists()  # somebody may be writing it
    os.utime(left, ns=(Clock.ms * 1_000_000 - 2 * 3_600_000_000_000,) * 2)
    await bucket.upload("t/b/x", b"")
    await bucket.delete("t/b/x")
    assert not (tmp_path / "root/t").exists()
    assert (tmp_path / "root").exists()


async def test_a_failed_write_leaves_the_old_object(bucket, tmp_path, monkeypatch) -> None:
    await bucket.upload("t/key", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(local_files.os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        await bucket.upload("t/key", b"new")
    monkeypatch.undo()
    assert await bucket.get("t/key") == b"old"
    assert len(list((tmp_path / "root/t").iterdir())) == 1


async def test_synced_before_it_is_named(bucket, monkeypatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(handle: int) -> None:
        done.append("directory" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    def seen_replace(source: str, target: Path) -> None:
        done.append("rename")
        replace(source, target)

    await bucket.upload("t/other", b"")
    monkeypatch.setattr(local_files.os, "fsync", seen_fsync)
    monkeypatch.setattr(local_files.os, "replace", seen_replace)
    await bucket.upload("t/key", b"x")
    assert done == ["file", "rename", "directory"]
    await bucket.upload("new/deep/key", b"x")
    assert done[3:] == ["directory", "directory", "file", "rename", "directory"]


async def test_no_way_out_through_a_file(bucket) -> None:
    await bucket.upload("a", b"")
    with pytest.raises(Conflict):
        await bucket.upload("a/b", b"")
    await bucket.upload("c/d", b"")
    with pytest.raises(Conflict):
        await bucket.upload("c", b"")
    assert await bucket.exists("c/d")


async def test_not_ours(tmp_path, monkeypatch) -> None:
    bucket = FilesystemBucket(tmp_path, offload=InlineOffload(), clock=Clock())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(local_files.tempfile, "mkstemp", refuse)
    with pytest.raises(Internal, match="Permission denied"):
        await bucket.upload("a", b"")
