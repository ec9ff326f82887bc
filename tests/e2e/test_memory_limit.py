"""A query that would need 10 GB: stopped at its limit, its memory goes back, others are answered meanwhile."""

from __future__ import annotations

import threading
import time
import urllib.parse
from pathlib import Path

from mimir_rw.testing.remote_write import body, series
from tests.e2e.processes import Process, mimir_rw, query, request

SERIES = 2_000
STEPS = 11_000
LIMIT = 1 << 30
VECTOR_BYTES = SERIES * STEPS * 9
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
# Each part is a vector of its own, and all of them stay until the last is there.
GREEDY = " or ".join(f'label_replace(wide, "part", "{part}", "", "")' for part in range(60))


def fill(process: Process, end_ms: int) -> None:
    rows = [
        series({"__name__": "wide", "i": str(i)}, [(end_ms - 1000, float(i)), (end_ms, float(i + 1))])
        for i in range(SERIES)
    ]
    answer = request(process.url + "/api/v1/push", data=body(*rows), headers=HEADERS)
    assert answer.status == 200, answer.body


def ask_greedily(process: Process, end_s: int) -> tuple[int, bytes]:
    params = {"query": GREEDY, "start": end_s - 100, "end": end_s - 100 + (STEPS - 1) / 40, "step": "0.025"}
    url = process.url + "/prometheus/api/v1/query_range"
    answer = request(url, data=urllib.parse.urlencode(params).encode(), timeout=120)
    return answer.status, answer.body


def highest_rss(process: Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def test_a_query_is_stopped_at_its_limit_and_its_memory_goes_back(tmp_path: Path) -> None:
    assert 60 * VECTOR_BYTES > 10 << 30
    process = mimir_rw(tmp_path, f"-querier.max-estimated-memory-consumption-per-query={LIMIT}").start()
    try:
        end_s = int(time.time())
        fill(process, end_s * 1000)
        query(process.url + "/prometheus", "query", query="sum(wide)", time=end_s)
        before = process.rss()
        ended, small_answers = threading.Event(), []

        def others() -> None:
            while not ended.is_set():
                small_answers.append(
                    query(process.url + "/prometheus", "query", query="sum(wide)", time=end_s)["result"][0]["value"][1]
                )

        neighbour = threading.Thread(target=others)
        neighbour.start()
        status, text = ask_greedily(process, end_s)
        ended.set()
        neighbour.join()
        assert status == 422, text[:500]
        assert b"max-estimated-memory-consumption-per-query" in text
        assert highest_rss(process) - before < 2 * LIMIT
        assert len(small_answers) > 0
        assert set(small_answers) == {str(SERIES * (SERIES + 1) // 2)}
        deadline = time.monotonic() + 60
        while process.rss() - before > LIMIT // 8 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert process.rss() - before <= LIMIT // 8
    finally:
        process.kill()
