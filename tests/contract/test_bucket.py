"""One suite over every bucket: what `objstore/contract.py` promises, wherever the objects are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimir_rw.model.errors import BadRequest, Conflict, DataDamaged
from mimir_rw.objstore.contract import Bucket, ObjectNotFound
from tests.contract.buckets import BUCKETS


@pytest.fixture(params=BUCKETS, ids=lambda make: make.__name__)
async def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bucket]:
    async with request.param(tmp_path) as made:
        yield made
        await made.close()


async def listed(bucket: Bucket, prefix: str = "", *, recursive: bool = False) -> list[str]:
    return [info.key async for info in bucket.list(prefix, recursive=recursive)]


async def dirs(bucket: Bucket, prefix: str = "") -> list[str]:
    """Directories with objects; some stores go on naming others for a while."""
    named = await bucket.list_dirs(prefix)
    return [name for name in named if await listed(bucket, f"{prefix}{name}/", recursive=True)]


async def test_what_was_written_is_read(bucket) -> None:
    await bucket.upload("a/b", b"hello")
    assert await bucket.get("a/b") == b"hello"
    assert await bucket.get("a/b", bytes_max=5) == b"hello"
    assert await bucket.get_range("a/b", 1, 3) == b"ell"
    assert await bucket.get_range("a/b", 0, 5) == b"hello"
    assert await bucket.get_range("a/b", 2, 0) == b""
    assert await bucket.exists("a/b")
    info = await bucket.attributes("a/b")
    assert (info.key, info.size) == ("a/b", 5)
    assert info.modified_ms > 1_600_000_000_000


async def test_an_empty_object(bucket) -> None:
    await bucket.upload("empty", b"")
    assert await bucket.get("empty") == b""
    assert (await bucket.attributes("empty")).size == 0
    assert await listed(bucket) == ["empty"]


async def test_written_over(bucket) -> None:
    await bucket.upload("key", b"first, longer")
    await bucket.upload("key", b"second")
    assert await bucket.get("key") == b"second"
    assert [info.size async for info in bucket.list()] == [6]


async def test_what_is_not_there(bucket, tmp_path) -> None:
    await bucket.upload("there/x", b"x")
    for key in ("not", "not/there", "there", "there/y", "there/x/y"):
        assert not await bucket.exists(key)
        for call in (bucket.get(key), bucket.attributes(key), bucket.get_range(key, 0, 1)):
            with pytest.raises(ObjectNotFound, match=key):
                await call
        with pytest.raises(ObjectNotFound):
            await bucket.download(key, tmp_path / "file")
        await bucket.delete(key)
    assert not (tmp_path / "file").exists()
    assert await listed(bucket, "not/", recursive=True) == []
    assert await bucket.list_dirs("not/") == []
    assert await bucket.get("there/x") == b"x"


async def test_bounds(bucket) -> None:
    await bucket.upload("key", b"12345")
    with pytest.raises(DataDamaged, match="5 bytes"):
        await bucket.get("key", bytes_max=4)
    for offset, length in ((0, 6), (5, 1), (6, 1), (100, 5), (4, 2)):
        with pytest.raises(DataDamaged):
            await bucket.get_range("key", offset, length)


async def test_deleted(bucket) -> None:
    await bucket.upload("a/b", b"1")
    await bucket.upload("a/c", b"2")
    await bucket.delete("a/b")
    await bucket.delete("a/b")
    assert not await bucket.exists("a/b")
    assert await bucket.list_dirs() == ["a"]
    await bucket.delete("a/c")
    assert await dirs(bucket) == []
    assert await listed(bucket, recursive=True) == []
    await bucket.upload("a/b", b"again")
    assert await bucket.get("a/b") == b"again"


async def test_lists(bucket) -> None:
    keys = ["a", "b/1", "b/2/x", "b/2/y", "b/3", "b-1/z", "c/d/e/f", "ü/x", "with space/and+plus&=?#%41"]
    for key in keys:
        await bucket.upload(key, key.encode())
    assert await listed(bucket) == ["a"]
    assert await listed(bucket, "b/") == ["b/1", "b/3"]
    assert await listed(bucket, "b/", recursive=True) == ["b/1", "b/2/x", "b/2/y", "b/3"]
    assert await listed(bucket, recursive=True) == sorted(keys, key=str.encode)
    assert await bucket.list_dirs() == sorted(["b", "b-1", "c", "ü", "with space"], key=str.encode)
    assert await bucket.list_dirs("b/") == ["2"]
    assert await bucket.list_dirs("c/d/") == ["e"]
    assert await bucket.get("with space/and+plus&=?#%41") == keys[-1].encode()


@pytest.mark.timeout(300)
async def test_more_than_a_page(bucket) -> None:
    keys = [f"many/{n % 3}/{n:04}" for n in range(1_203)]
    for start in range(0, len(keys), 50):
        await asyncio.gather(*(bucket.upload(key, b"") for key in keys[start : start + 50]))
    assert await listed(bucket, "many/", recursive=True) == sorted(keys)
    assert len(await listed(bucket, "many/1/")) == 401
    assert await bucket.list_dirs("many/") == ["0", "1", "2"]


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/..", ".", "./a", "a\0b", "a\nb", "x" * 256, "y/" * 512 + "y",
            "a/.mimir-rw.tmp-1"]
)  # fmt: skip
async def test_what_is_no_key(bucket, key, tmp_path) -> None:
    for call in (
        bucket.get(key), bucket.upload(key, b""), bucket.delete(key), bucket.attributes(key), bucket.exists(key),
        bucket.get_range(key, 0, 0), bucket.upload_file(key, Path(__file__)), bucket.download(key, tmp_path / "f"),
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            await call


@pytest.mark.parametrize("prefix", ["a", "/", "../", "a/../", "a//"])
async def test_what_is_no_prefix(bucket, prefix) -> None:
    with pytest.raises(BadRequest):
        await listed(bucket, prefix)
    with pytest.raises(BadRequest):
        await bucket.list_dirs(prefix)
    for offset, length in ((-1, 5), (0, -1)):
        with pytest.raises(BadRequest):
            await bucket.get_range("a", offset, length)


async def test_files(bucket, tmp_path) -> None:
    data = bytes(range(256)) * 4096 * 12
    source, back = tmp_path / "source", tmp_path / "down" / "back"
    source.write_bytes(data)
    await bucket.upload_file("a/big", source)
    assert (await bucket.attributes("a/big")).size == len(data)
    assert await bucket.download("a/big", back) == len(data)
    assert back.read_bytes() == data
    assert await bucket.get_range("a/big", len(data) - 3, 3) == b"\xfd\xfe\xff"
    assert [each.name for each in back.parent.iterdir()] == ["back"]
    assert await bucket.get("a/big") == data


async def test_an_empty_file(bucket, tmp_path) -> None:
    (tmp_path / "empty").touch()
    await bucket.upload_file("a/empty", tmp_path / "empty")
    assert await bucket.download("a/empty", tmp_path / "back") == 0
    assert (tmp_path / "back").read_bytes() == b""


async def test_a_local_file_that_is_not_there(bucket, tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        await bucket.upload_file("key", tmp_path / "none")
    assert not await bucket.exists("key")


async def test_readers_beside_writers(bucket) -> None:
    """A reader sees one of the versions, whole."""
    versions = [bytes([n]) * (1 + 50_000 * n) for n in range(8)]
    await bucket.upload("key", versions[0])

    async def write() -> None:
        for version in versions:
            await bucket.upload("key", version)

    async def read() -> None:
        for _ in range(30):
            assert await bucket.get("key") in versions

    await asyncio.gather(write(), read(), read())


async def test_lists_beside_deletes(bucket) -> None:
    stay = [f"d/{n}/stay" for n in range(20)]
    for key in stay:
        await bucket.upload(key, b"")
        await bucket.upload(key + "-not", b"")
        await bucket.upload(f"e/{key}", b"")

    async def remove() -> None:
        for key in stay:
            await bucket.delete(key + "-not")
            await bucket.delete(f"e/{key}")

    async def look() -> None:
        for _ in range(20):
            found = await listed(bucket, recursive=True)
            assert set(stay) <= set(found)
            assert "d" in await bucket.list_dirs()

    await asyncio.gather(remove(), look(), look())
    assert await listed(bucket, recursive=True) == sorted(stay)


async def test_directories_that_come_and_go(bucket) -> None:
    async def churn(name: str) -> None:
        for n in range(30):
            await bucket.upload(f"x/y/{name}", b"%d" % n)
            assert await bucket.get(f"x/y/{name}") == b"%d" % n
            await bucket.delete(f"x/y/{name}")

    await asyncio.gather(*(churn(name) for name in "abcd"))
    assert await dirs(bucket) == []


async def test_a_key_below_an_object(bucket) -> None:
    """A store has both or says Conflict; what was there stays."""
    await bucket.upload("a", b"1")
    try:
        await bucket.upload("a/b", b"2")
    except Conflict:
        assert not await bucket.exists("a/b")
    else:
        assert await bucket.get("a/b") == b"2"
    assert await bucket.get("a") == b"1"
