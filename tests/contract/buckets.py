"""The buckets that the suite runs over: each a context manager with an empty one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import ThreadOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.objstore.contract import Bucket
from mimir_rw.objstore.filesystem import FilesystemBucket
from mimir_rw.objstore.instrumented import BucketMetrics
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.objstore.prefix import PrefixBucket
from mimir_rw.objstore.retry import Retrier
from mimir_rw.objstore.s3 import S3Bucket
from mimir_rw.objstore.s3_client import S3Settings
from tests.s3_servers import KEY, SECRET, moto, new_bucket, strict


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


def s3_bucket(
    endpoint: str, name: str, *, retries: int = 5, url: str = "", **more: Any
) -> tuple[S3Bucket, ThreadOffload]:
    """A client of a bucket of a server; url: where it is not http. Parts are as small as servers take them."""
    chosen = {"part_bytes": 5 << 20, "access_key_id": KEY, "secret_access_key": SECRET, **more}
    settings = S3Settings(bucket=name, region="us-east-1", endpoint=url or f"http://{endpoint}", **chosen)
    offload = ThreadOffload(name="s3", threads=settings.connections)
    metrics = BucketMetrics(Metrics(), clock=SystemClock())
    retrier = Retrier(retries=retries, clock=SystemClock(), rng=seeded_rng(1), repeated=metrics.retries)
    return S3Bucket(settings, offload=offload, retrier=retrier), offload


@contextlib.asynccontextmanager
async def s3_moto(place: Path) -> AsyncIterator[Bucket]:
    bucket, offload = s3_bucket(moto(), await new_bucket(moto()))
    yield bucket
    offload.close()


@contextlib.asynccontextmanager
async def s3_strict(place: Path) -> AsyncIterator[Bucket]:
    bucket, offload = s3_bucket(strict(), await new_bucket(strict()), content_md5=True)
    yield bucket
    offload.close()


BUCKETS = [memory, filesystem, prefixed, s3_moto, s3_strict]
