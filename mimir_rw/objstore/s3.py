"""A bucket on an S3 server, by boto3 in a few threads of its own.

Every request is tried again by the Retrier as long as it fails for a reason that may pass: writes carry the whole
object (or part), so that making one twice is making it once. Lists are retried page by page, multipart uploads part by
part and, if what came of the last step is not known, as a whole. No conditional writes: several servers ignore the
condition without a word.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.model.errors import BadRequest, DataDamaged, MimirError, Unavailable
from mimir_rw.objstore.contract import (
    Names,
    ObjectInfo,
    ObjectNotFound,
    check_key,
    check_prefix,
    check_range,
)
from mimir_rw.objstore.local_files import new_file
from mimir_rw.objstore.retry import Retrier
from mimir_rw.objstore.s3_client import S3Settings, make_client, typed_error

PARTS_MAX = 10_000
PARTS_AT_A_TIME = 4
_READ_BYTES = 1 << 20

T = TypeVar("T")
Parts = list[dict[str, Any]]


class S3Bucket:
    def __init__(self, settings: S3Settings, *, offload: Offload, retrier: Retrier) -> None:
        """offload: closed with the bucket by whoever made it; its threads bound the calls at a time."""
        self._settings = settings
        self._offload = offload
        self._retrier = retrier
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def get(self, key: str, *, bytes_max: int | None = None) -> bytes:
        check_key(key)
        return await self._call("get", key, lambda: self._get(key, bytes_max))

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        check_range(check_key(key), offset, length)
        if not length:
            return b""
        return await self._call("get_range", key, lambda: self._get_range(key, offset, length))

    async def attributes(self, key: str) -> ObjectInfo:
        check_key(key)
        answer = await self._call("attributes", key, lambda: self._client.head_object(**self._at(key)))
        return ObjectInfo(key, answer["ContentLength"], _ms(answer["LastModified"]))

    async def exists(self, key: str) -> bool:
        try:
            await self.attributes(key)
        except ObjectNotFound:
            return False
        return True

    async def upload(self, key: str, data: bytes) -> None:
        check_key(key)
        await self._call("upload", key, lambda: self._put(key, data))

    async def upload_file(self, key: str, path: Path) -> None:
        check_key(key)
        with path.open("rb") as file:
            size = file.seek(0, 2)
        if size <= self._settings.part_bytes:
            await self._call("upload", key, lambda: self._put_file(key, path))
        else:
            await self._retrier.run("upload", lambda: self._upload_parts(key, path, size))

    async def download(self, key: str, path: Path) -> int:
        check_key(key)
        return await self._call("get", key, lambda: self._download(key, path))

    async def delete(self, key: str) -> None:
        check_key(key)
        with contextlib.suppress(ObjectNotFound):
            await self._call("delete", key, lambda: self._client.delete_object(**self._at(key)))

    async def list(self, prefix: str = "", *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        async for page in self._pages(prefix, recursive):
            for found in page.get("Contents", ()):
                # Some tools write objects that stand for directories; they are none of ours.
                if _is_key(found["Key"]):
                    yield ObjectInfo(found["Key"], found["Size"], _ms(found["LastModified"]))

    async def list_dirs(self, prefix: str = "") -> Names:
        found: dict[str, None] = {}
        async for page in self._pages(prefix, False):
            for each in page.get("CommonPrefixes", ()):
                if _is_key(each["Prefix"].removesuffix("/")):
                    found[each["Prefix"][len(prefix) : -1]] = None
        return sorted(found, key=str.encode)

    async def create(self) -> bool:
        """Make the bucket itself; False if it is there already and ours."""
        name, region = self._settings.bucket, self._settings.region

        def work() -> bool:
            try:
                place = {} if region == "us-east-1" else {"LocationConstraint": region}
                more = {"CreateBucketConfiguration": place} if place else {}
                self._client.create_bucket(Bucket=name, **more)
            except self._client.exceptions.BucketAlreadyOwnedByYou:
                return False
            return True

        return await self._call("create", "", work)

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def _call(self, operation: str, key: str, work: Callable[[], T]) -> T:
        """One request, in a thread, tried again while that may help."""
        return await self._retrier.run(operation, lambda: self._once(key, work))

    async def _once(self, key: str, work: Callable[[], T]) -> T:
        try:
            if self._client is None:
                async with self._opening:
                    if self._client is None:
                        self._client = await self._offload.run(make_client, self._settings)
            return await self._offload.run(work)
        except _LocalFile as error:
            raise error.error from error
        except OffloadFull as error:
            raise Unavailable(f"object storage: {error}") from error
        except Exception as error:
            raise typed_error(error, key, self._settings.bucket) from error

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._settings.bucket, "Key": key}

    def _get(self, key: str, bytes_max: int | None) -> bytes:
        answer = self._client.get_object(**self._at(key))
        with contextlib.closing(answer["Body"]) as body:
            size = answer["ContentLength"]
            if bytes_max is not None and size > bytes_max:
                raise DataDamaged(f"object {key} has {size} bytes, more than {bytes_max}")
            return _read(body, size, key)

    def _get_range(self, key: str, offset: int, length: int) -> bytes:
        answer = self._client.get_object(**self._at(key), Range=f"bytes={offset}-{offset + length - 1}")
        with contextlib.closing(answer["Body"]) as body:
            size = answer["ContentLength"]
            if answer["ResponseMetadata"]["HTTPStatusCode"] == 206:
                if size != length:
                    raise DataDamaged(f"object {key} has {size} bytes at {offset}, not {length}")
                return _read(body, length, key)
            # The server does not do ranges and sends it all.
            if offset + length > size:
                raise DataDamaged(f"object {key} has {size} bytes, not {length} at {offset}")
            return _read(body, offset + length, key)[offset:]

    def _put(self, key: str, data: bytes) -> None:
        self._client.put_object(**self._at(key), Body=data, **self._settings.put, **self._md5(data))

    def _put_file(self, key: str, path: Path) -> None:
        with _local(lambda: path.open("rb")) as file:
            more = self._md5(file.read()) if self._settings.content_md5 else {}
            file.seek(0)
            self._client.put_object(**self._at(key), Body=file, **self._settings.put, **more)

    def _md5(self, data: bytes) -> dict[str, str]:
        if not self._settings.content_md5:
            return {}
        return {"ContentMD5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()}

    def _download(self, key: str, path: Path) -> int:
        answer = self._client.get_object(**self._at(key))
        size = int(answer["ContentLength"])
        with contextlib.closing(answer["Body"]) as body, contextlib.ExitStack() as stack:
            file = _local(stack.enter_context, new_file(path))
            left = size
            while left:
                data = _read(body, min(left, _READ_BYTES), key)
                _local(file.write, data)
                left -= len(data)
            _local(stack.close)
        return size

    async def _upload_parts(self, key: str, path: Path, size: int) -> None:
        """A multipart upload from its beginning; what a failed one has sent is taken back where the server answers."""
        at, settings = self._at(key), self._settings
        part_bytes = max(settings.part_bytes, -(-size // PARTS_MAX))
        begun = await self._call("upload", key, lambda: self._client.create_multipart_upload(**at, **settings.put))
        upload = {**at, "UploadId": begun["UploadId"]}
        try:
            parts = await self._send_parts(key, path, upload, size, part_bytes)
            done = {**upload, "MultipartUpload": {"Parts": parts}}
            # Once more in a try of its own could find the upload gone because it is complete: that begins anew.
            await self._once(key, lambda: self._client.complete_multipart_upload(**done))
        except BaseException:
            with contextlib.suppress(MimirError):
                await self._once(key, lambda: self._client.abort_multipart_upload(**upload))
            raise

    async def _send_parts(self, key: str, path: Path, upload: dict[str, str], size: int, part_bytes: int) -> Parts:
        slots = asyncio.Semaphore(PARTS_AT_A_TIME)

        async def send(number: int, offset: int) -> dict[str, Any]:
            async with slots:
                length = min(part_bytes, size - offset)
                tag = await self._call("upload", key, lambda: self._put_part(path, upload, number, offset, length))
                return {"PartNumber": number, "ETag": tag}

        try:
            async with asyncio.TaskGroup() as group:
                starts = enumerate(range(0, size, part_bytes), start=1)
                tasks = [group.create_task(send(number, offset)) for number, offset in starts]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return [task.result() for task in tasks]

    def _put_part(self, path: Path, upload: dict[str, str], number: int, offset: int, length: int) -> str:
        with _local(lambda: path.open("rb")) as file:
            file.seek(offset)
            data = _local(file.read, length)
        answer = self._client.upload_part(**upload, PartNumber=number, Body=data, **self._md5(data))
        return str(answer["ETag"])

    async def _pages(self, prefix: str, recursive: bool) -> AsyncIterator[dict[str, Any]]:
        asked: dict[str, Any] = {"Bucket": self._settings.bucket, "Prefix": check_prefix(prefix)}
        if not recursive:
            asked["Delimiter"] = "/"
        while True:
            page = await self._call("iter", prefix, lambda: self._client.list_objects_v2(**asked))
            yield page
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token or token == asked.get("ContinuationToken"):
                raise Unavailable(f"object storage: the list of {prefix or 'all'} does not go on")
            asked["ContinuationToken"] = token


class _LocalFile(Exception):
    """An OSError of a local file, told apart from those of sockets."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _local(work: Callable[..., T], *args: Any) -> T:
    try:
        return work(*args)
    except OSError as error:
        raise _LocalFile(error) from error


def _read(body: IO[bytes], length: int, key: str) -> bytes:
    """Exactly so many bytes. A body that ends early is no end of the object: the connection broke."""
    data = body.read(length)
    while len(data) < length:
        more = body.read(length - len(data))
        if not more:
            raise Unavailable(f"object storage: {key}: the answer ended after {len(data)} of {length} bytes")
        data += more
    return data


def _ms(when: Any) -> int:
    return int(when.timestamp() * 1000)


def _is_key(key: str) -> bool:
    try:
        check_key(key)
    except BadRequest:
        return False
    return True
