"""Range queries asked of us and of the Prometheus that scrapes and remote-writes to us: the answers must be equal."""

from __future__ import annotations

import time

from tests.bench.client import differences
from tests.e2e.processes import query

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
"""Of what any Prometheus says of itself."""
RANGE_S = 20
BEFORE_S = 45
"""The longest window with its offset, and a little: Prometheus 2 extrapolates a counter's first seconds otherwise."""


def assert_ten_queries_equal(
    theirs: str, ours: str, *, series: str = "up", count: int = 1, seconds: float = 180
) -> None:
    """theirs, ours: where the query APIs are. Waits until `series` has had `count` members for long enough in both."""
    deadline = time.monotonic() + seconds
    need_s = RANGE_S + BEFORE_S
    while True:
        ages = [_age(base, series, count) for base in (theirs, ours)]
        if min(ages) >= need_s:
            break
        assert time.monotonic() < deadline, f"{series} has had {count} members for {ages} s, not {need_s}"
        query(theirs, "query", query="up")  # something for it to count
        time.sleep(1)
    end = _moment_between_samples(theirs)
    failures = []
    answered = 0
    for text in QUERIES:
        params: dict[str, str | float] = {"query": text, "start": end - RANGE_S, "end": end, "step": 1}
        a = query(ours, "query_range", **params)["result"]
        b = query(theirs, "query_range", **params)["result"]
        answered += bool(b)
        if diff := differences(a, b, 1e-9):
            failures.append((text, diff))
    assert not failures
    assert answered >= 10, f"only {answered} queries have an answer"


def _age(base: str, series: str, count: int) -> float:
    """Seconds since `count` members were first seen, by a look back in steps of five seconds."""
    now = time.time()
    rows = query(base, "query_range", query=f"count({series})", start=now - 300, end=now, step=5)["result"]
    whole = [float(t) for t, v in (rows[0]["values"] if rows else []) if float(v) >= count]
    return now - whole[0] if whole else 0.0


def _moment_between_samples(base: str) -> float:
    """A moment whose milliseconds within the second no scrape has: Prometheus 2 has windows closed on the left,
    Prometheus 3 and this store open ones, and both agree where no sample lies on an edge."""
    rows = query(base, "query", query="timestamp(up)")["result"]
    taken = {round(float(row["value"][1]) * 1000) % 1000 for row in rows}
    free = max(range(1000), key=lambda ms: min(min((ms - t) % 1000, (t - ms) % 1000) for t in taken))
    return int(time.time() - 4) + free / 1000
