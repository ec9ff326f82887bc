from __future__ import annotations

import pytest

from mimir_rw.kit.metrics import Metrics
from mimir_rw.model.errors import BadRequest
from mimir_rw.objstore.contract import ObjectNotFound
from mimir_rw.objstore.instrumented import BucketMetrics, InstrumentedBucket
from mimir_rw.objstore.memory import MemoryBucket


class Clock:
    s = 100.0

    def now_ms(self) -> int:
        return int(self.s * 1000)

    def monotonic(self) -> float:
        self.s += 0.5
        return self.s


async def test_calls_are_counted_and_timed(tmp_path):
    metrics = Metrics()
    made = BucketMetrics(metrics, clock=Clock())
    bucket = InstrumentedBucket(MemoryBucket(clock=Clock()), name="b", component="ingester", metrics=made)
    await bucket.upload("a/b", b"x")
    await bucket.get("a/b")
    with pytest.raises(ObjectNotFound):
        await bucket.get("none")
    with pytest.raises(BadRequest):
        await bucket.get("..")
    assert [info.key async for info in bucket.list(recursive=True)] == ["a/b"]
    assert await bucket.list_dirs() == ["a"]
    text = metrics.render().decode()
    at = 'bucket="b",component="ingester"'
    assert f'thanos_objstore_bucket_operations_total{{{at},operation="get"}} 3.0' in text
    assert f'thanos_objstore_bucket_operations_total{{{at},operation="iter"}} 2.0' in text
    assert f'thanos_objstore_bucket_operation_failures_total{{{at},operation="get"}} 1.0' in text
    assert 'failures_total{bucket="b",component="ingester",operation="iter"}' not in text
    assert f'thanos_objstore_bucket_operation_duration_seconds_sum{{{at},operation="upload"}} 0.5' in text
    assert f"thanos_objstore_bucket_last_successful_upload_time{{{at}}} 101" in text
