"""Counts and times what a component asks of a bucket, and names calls that took long. Metrics carry the names that
Mimir's dashboards ask for. An object that is not there is an answer, not a failure."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.objstore.contract import Bucket, Names, ObjectInfo, ObjectNotFound

SLOW_S = 10.0
SLOW_SAID_EVERY_S = 10.0

_DURATIONS_S = (0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 30.0, 60.0, 90.0, 120.0)
_LABELS = ("bucket", "component", "operation")

_log = get_logger(component="bucket")


class BucketMetrics:
    """Those of all buckets of the process."""

    def __init__(self, metrics: Metrics, *, clock: Clock) -> None:
        self.clock = clock
        self.operations = metrics.counters(
            "thanos_objstore_bucket_operations_total", "Operations of object storage.", _LABELS
        )
        self.failures = metrics.counters(
            "thanos_objstore_bucket_operation_failures_total", "Operations of object storage that failed.", _LABELS
        )
        self.durations = metrics.histograms(
            "thanos_objstore_bucket_operation_duration_seconds",
            "How long operations of object storage took, retries included.",
            _LABELS,
            _DURATIONS_S,
        )
        self.last_upload = metrics.gauges(
            "thanos_objstore_bucket_last_successful_upload_time",
            "Unix time of the last upload that succeeded.",
            ("bucket", "component"),
        )
        self.retries = metrics.counters(
            "mimir_rw_objstore_retries_total", "Requests to the object store that were repeated.", ("operation",)
        )
        self.said_s = -SLOW_SAID_EVERY_S


class InstrumentedBucket:
    """Closing it leaves the bucket open."""

    def __init__(self, bucket: Bucket, *, name: str, component: str, metrics: BucketMetrics) -> None:
        self._bucket = bucket
        self._labels = (name, component)
        self._metrics = metrics

    async def get(self, key: str, *, bytes_max: int | None = None) -> bytes:
        with self._timed("get", key):
            return await self._bucket.get(key, bytes_max=bytes_max)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        with self._timed("get_range", key):
            return await self._bucket.get_range(key, offset, length)

    async def attributes(self, key: str) -> ObjectInfo:
        with self._timed("attributes", key):
            return await self._bucket.attributes(key)

    async def exists(self, key: str) -> bool:
        with self._timed("exists", key):
            return await self._bucket.exists(key)

    async def upload(self, key: str, data: bytes) -> None:
        with self._timed("upload", key):
            await self._bucket.upload(key, data)
        self._uploaded()

    async def upload_file(self, key: str, path: Path) -> None:
        with self._timed("upload", key):
            await self._bucket.upload_file(key, path)
        self._uploaded()

    async def download(self, key: str, path: Path) -> int:
        with self._timed("get", key):
            return await self._bucket.download(key, path)

    async def delete(self, key: str) -> None:
        with self._timed("delete", key):
            await self._bucket.delete(key)

    async def list(self, prefix: str = "", *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        with self._timed("iter", prefix):
            async for found in self._bucket.list(prefix, recursive=recursive):
                yield found

    async def list_dirs(self, prefix: str = "") -> Names:
        with self._timed("iter", prefix):
            return await self._bucket.list_dirs(prefix)

    async def close(self) -> None:
        pass

    @contextlib.contextmanager
    def _timed(self, operation: str, key: str) -> Iterator[None]:
        metrics = self._metrics
        began_s = metrics.clock.monotonic()
        metrics.operations.labels(*self._labels, operation).inc()
        try:
            yield
        except ObjectNotFound:
            raise
        except Exception:
            metrics.failures.labels(*self._labels, operation).inc()
            raise
        finally:
            now_s = metrics.clock.monotonic()
            metrics.durations.labels(*self._labels, operation).observe(now_s - began_s)
            if now_s - began_s > SLOW_S and now_s - metrics.said_s >= SLOW_SAID_EVERY_S:
                metrics.said_s = now_s
                _log.warning("slow object storage", operation=operation, key=key, seconds=round(now_s - began_s, 1))

    def _uploaded(self) -> None:
        self._metrics.last_upload.labels(*self._labels).set(self._metrics.clock.now_ms() / 1000)
