"""The main job: a real Prometheus scrapes itself and remote-writes for a minute; its answers and ours are equal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench.client import differences
from tests.e2e.processes import Process, mimir_rw, prometheus, query

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CONFIG = """
global: {scrape_interval: 1s, external_labels: {}}
scrape_configs:
  - job_name: prometheus
    static_configs: [{targets: ["127.0.0.1:$PORT"]}]
remote_write:
  - url: http://127.0.0.1:%d/api/v1/push
    queue_config: {batch_send_deadline: 200ms}
"""

QUERIES = [
    "up",
    "sum(rate(prometheus_http_requests_total[20s]))",
    "sum by (handler) (increase(prometheus_http_requests_total[30s]))",
    "go_memstats_alloc_bytes / go_memstats_sys_bytes",
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[20s])))",
    "topk(3, prometheus_http_response_size_bytes_sum)",
    "avg_over_time(go_goroutines[15s])",
    "max by (job) (go_threads) > bool 5",
    "count by (__name__) ({__name__=~\"go_gc_.+\"})",
    "prometheus_tsdb_head_series offset 10s",
    "changes(process_start_time_seconds[30s]) or vector(0)",
    "sum_over_time(rate(prometheus_tsdb_head_samples_appended_total[10s])[20s:5s])",
]  # fmt: skip


def settled(base: str, want_ms: int) -> None:
    """Wait until the samples up to want_ms have arrived."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        rows = query(base, "query", query='timestamp(up{job="prometheus"})')["result"]
        if rows and float(rows[0]["value"][1]) * 1000 >= want_ms:
            return
        time.sleep(0.2)
    raise AssertionError("Prometheus' samples did not arrive")


def test_ten_range_queries_equal_prometheus(tmp_path: Path, keep: Callable[[Process], Process]) -> None:
    ours = keep(mimir_rw(tmp_path, "-log.level=warn"))
    ours.start()
    theirs = keep(prometheus(tmp_path, CONFIG % ours.port))
    theirs.start()
    began = time.time()
    while time.time() - began < 62:
        time.sleep(1)
        query(theirs.url, "query", query="up")  # something to count
    end = time.time() - 2
    settled(ours.url + "/prometheus", int((end + 0.5) * 1000))

    # Prometheus 2 has windows closed on the left, Prometheus 3 and this store open ones: steps between the scrapes.
    # It also extrapolates a counter's first seconds to zero otherwise: windows that begin after them.
    scraped = query(theirs.url, "query", query="timestamp(up)", time=end)["result"][0]["value"][1]
    last = float(scraped) - 0.5
    failures: list[tuple[str, Any]] = []
    answered = 0
    for text in QUERIES:
        params: dict[str, str | float] = {"query": text, "start": last - 20, "end": last, "step": 1}
        a = query(ours.url + "/prometheus", "query_range", **params)["result"]
        b = query(theirs.url, "query_range", **params)["result"]
        answered += bool(b)
        diff = differences(a, b, 1e-9)
        if diff:
            failures.append((text, diff))
    assert not failures
    assert answered >= 10
