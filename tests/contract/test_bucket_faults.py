"""S3 through a proxy that spoils requests: what may pass is tried again, what it was is told, nothing half is kept."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimir_rw.model.errors import Internal, Unavailable
from mimir_rw.objstore import retry
from mimir_rw.objstore.s3 import S3Bucket
from tests.contract.buckets import s3_bucket
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.s3_servers import moto, new_bucket, strict

Spoilt = tuple[S3Bucket, FaultProxy]
PASSING = ["500", "503", "reset", "lost", "slow"]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSE_S", 0.001)


@pytest.fixture(params=[moto, strict], ids=lambda start: start.__wrapped__.__name__)
async def spoilt(request: pytest.FixtureRequest) -> AsyncIterator[Spoilt]:
    endpoint = request.param()
    name = await new_bucket(endpoint)
    async with fault_proxy(endpoint) as proxy:
        bucket, offload = s3_bucket(proxy.endpoint, name, retries=3, read_timeout_s=0.7, connections=2)
        await bucket.upload("there", b"0123456789" * 1000)
        proxy.seen.clear()
        yield bucket, proxy
        await bucket.close()
        offload.close()


@pytest.mark.parametrize("fault", [*PASSING, "truncated"])
async def test_reads(spoilt: Spoilt, fault: str, tmp_path: Path) -> None:
    bucket, proxy = spoilt
    data = b"0123456789" * 1000
    proxy.faults.extend([fault, fault])
    assert await bucket.get("there") == data
    assert len(proxy.seen) == 3
    proxy.faults.append(fault)
    assert await bucket.get_range("there", 5, 1000) == data[5:1005]
    proxy.faults.append(fault)
    assert await bucket.download("there", tmp_path / "file") == len(data)
    assert (tmp_path / "file").read_bytes() == data
    assert os.listdir(tmp_path) == ["file"]
    proxy.faults.append(fault)
    assert [info.key async for info in bucket.list()] == ["there"]


@pytest.mark.parametrize("fault", PASSING)
async def test_writes(spoilt: Spoilt, fault: str, tmp_path: Path) -> None:
    bucket, proxy = spoilt
    proxy.faults.append(fault)
    await bucket.upload("a/b", b"new")
    assert proxy.seen == ["PUT", "PUT"]
    assert await bucket.get("a/b") == b"new"
    proxy.faults.append(fault)
    assert (await bucket.attributes("a/b")).size == 3
    proxy.faults.append(fault)
    await bucket.delete("a/b")
    assert not await bucket.exists("a/b")


@pytest.mark.parametrize("fault", ["500", "reset", "lost"])
@pytest.mark.timeout(300)
async def test_a_multipart_upload_at_every_step(spoilt: Spoilt, fault: str, tmp_path: Path) -> None:
    bucket, proxy = spoilt
    data = bytes(range(256)) * (11 << 12)
    (tmp_path / "big").write_bytes(data)
    for step in itertools.count():
        proxy.seen.clear()
        proxy.faults.extend([""] * step + [fault])
        await bucket.upload_file("big", tmp_path / "big")
        assert (await bucket.attributes("big")).size == len(data)
        assert await bucket.get_range("big", len(data) - 4096, 4096) == data[-4096:]
        if proxy.faults:
            break
        await bucket.delete("big")
    assert step >= 5
    assert await bucket.get("big") == data


@pytest.mark.parametrize("fault", [*PASSING, "truncated"])
async def test_there_is_an_end(spoilt: Spoilt, fault: str) -> None:
    bucket, proxy = spoilt
    proxy.faults.extend([fault] * 50)
    with pytest.raises(Unavailable, match="there"):
        await bucket.get("there")
    assert len(proxy.seen) == 4


async def test_a_failed_upload_leaves_the_old_object(spoilt: Spoilt) -> None:
    bucket, proxy = spoilt
    proxy.faults.extend(["reset"] * 4)
    with pytest.raises(Unavailable):
        await bucket.upload("there", b"new")
    assert (await bucket.attributes("there")).size == 10_000


async def test_nobody_there() -> None:
    bucket, offload = s3_bucket("127.0.0.1:1", "name", retries=1)
    with pytest.raises(Unavailable, match="key"):
        await bucket.get("key")
    offload.close()


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("", {"secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ("", {"access_key_id": "nobody"}, "AccessKeyId|UserNotFound"),
        ("bucket-that-is-not-there", {}, "bucket bucket-that-is-not-there does not exist"),
    ],
)
async def test_a_server_that_refuses_us_is_not_asked_again(name, more, said) -> None:
    made = await new_bucket(strict())
    async with fault_proxy(strict()) as proxy:
        bucket, offload = s3_bucket(proxy.endpoint, name or made, **more)
        with pytest.raises(Internal, match=said):
            await bucket.list_dirs()
        with pytest.raises(Internal, match=said):
            await bucket.upload("key", b"")
        assert len(proxy.seen) == 2
        assert "test-secret" not in repr(bucket._settings)
        offload.close()


async def test_the_bucket_itself_is_made_once() -> None:
    for endpoint in (moto(), strict()):
        await new_bucket(endpoint)  # it listens now
        bucket, offload = s3_bucket(endpoint, f"made-{os.getpid()}")
        assert await bucket.create()
        await bucket.upload("a", b"")
        await bucket.create()
        assert await bucket.list_dirs() == []
        assert await bucket.exists("a")
        offload.close()
