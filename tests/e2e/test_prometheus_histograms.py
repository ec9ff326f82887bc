"""A real Prometheus scrapes native histograms and exemplars and remote-writes them, in both versions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from mimir_rw.testing.remote_write import uvarint
from tests.differential.peers import reference_since
from tests.e2e.cluster import Cluster
from tests.e2e.processes import Process, metric, metrics, mimir_rw, prometheus, query
from tests.remote_write_v2 import double, field, varint_field, zigzag

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

CONFIG = """
global:
  scrape_interval: 1s
  scrape_native_histograms: true
  scrape_protocols: [PrometheusProto]
storage: {exemplars: {max_exemplars: 1000}}
scrape_configs:
  - job_name: exporter
    static_configs: [{targets: ["127.0.0.1:%d"]}]
remote_write:
  - url: %s/api/v1/push
    protobuf_message: %s
    send_native_histograms: true
    send_exemplars: true
    queue_config: {batch_send_deadline: 200ms}
"""
MESSAGES = ("prometheus.WriteRequest", "io.prometheus.write.v2.Request")
MEDIA = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


def exposition(scrape: int) -> bytes:
    """A histogram that grows with each scrape, with an exemplar, and a counter, as delimited protobuf."""
    spans = b"".join(
        field(number, varint_field(1, zigzag(offset)) + varint_field(2, length))
        for number, offset, length in ((12, -2, 3), (12, 4, 1))
    )
    counts = [scrape, 3 * scrape, 5 * scrape, 2 * scrape]
    deltas = b"".join(
        uvarint(13 << 3) + uvarint(zigzag(count - before)) for count, before in zip(counts, [0, *counts], strict=False)
    )
    now_s = time.time()
    seconds = varint_field(1, int(now_s)) + varint_field(2, int(now_s % 1 * 1e9))
    label = field(1, field(1, b"trace_id") + field(2, b"t%d" % scrape))
    exemplar = field(16, label + double(2, 0.5) + field(3, seconds))
    total = sum(counts) + 1
    native = (
        varint_field(1, total) + double(2, 1.5 * scrape) + varint_field(5, zigzag(2)) + double(6, 1e-128)
        + varint_field(7, 1) + spans + deltas + exemplar
    )  # fmt: skip
    family = field(1, b"latency_seconds") + field(2, b"help") + varint_field(3, 4) + field(4, field(7, native))
    counter = field(1, b"requests_total") + varint_field(3, 0) + field(4, field(3, double(1, float(scrape))))
    return b"".join(uvarint(len(message)) + message for message in (family, counter))


@contextmanager
def exporter() -> Iterator[int]:
    """Its port."""
    scrapes = iter(range(1, 10_000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition(next(scrapes))
            self.send_response(200)
            self.send_header("Content-Type", MEDIA)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settled(base: str, at: float) -> int:
    data = query(base, "query", query="count_over_time(requests_total[1m])", time=at)
    return int(data["result"][0]["value"][1]) if data["result"] else 0


def equal_after_a_while(ours: str, port: int, tmp_path: Path, keep: Callable[[Process], Process], message: str) -> None:
    """Let Prometheus scrape the exporter at `port` and write to `ours`, until both have the same and answer equally."""
    binary = reference_since((3, 0), "does not send remote write 2.0")
    flags = ("--enable-feature=exemplar-storage,native-histograms,metadata-wal-records",)
    theirs = keep(prometheus(tmp_path, CONFIG % (port, ours, message), binary=binary, flags=flags))
    theirs.start()
    time.sleep(12)
    end = time.time() - 1
    api = ours + "/prometheus"
    deadline = time.monotonic() + 40
    while settled(api, end) < settled(theirs.url, end) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert settled(api, end) == settled(theirs.url, end) > 5
    for text in (
        "histogram_quantile(0.9, rate(latency_seconds[5s]))",
        "latency_seconds",
        "histogram_count(latency_seconds) - histogram_sum(latency_seconds)",
        "sum(increase(latency_seconds[10s]))",
    ):
        window = {"query": text, "start": end - 10, "end": end, "step": 1}
        mine, reference = (query(base, "query_range", **window)["result"] for base in (api, theirs.url))
        assert mine == reference, text
        assert reference, text
    window = {"query": "latency_seconds", "start": end - 10, "end": end}
    mine, reference = (query(base, "query_exemplars", **window) for base in (api, theirs.url))
    assert mine == reference
    assert len(reference[0]["exemplars"]) > 5
    sent = metrics(theirs.url)
    for what in ("samples", "histograms", "exemplars"):
        assert metric(sent, f"prometheus_remote_storage_{what}_failed_total") == 0, what


@pytest.mark.parametrize("message", MESSAGES)
def test_histograms_and_exemplars_are_as_prometheus_has_them(
    tmp_path: Path, keep: Callable[[Process], Process], message: str
) -> None:
    ours = keep(mimir_rw(tmp_path, "-log.level=warn"))
    ours.start()
    with exporter() as port:
        equal_after_a_while(ours.url, port, tmp_path, keep, message)
    scrape = metrics(ours.url)
    version = "2.0" if "v2" in message else "1.0"
    assert metric(scrape, "cortex_distributor_requests_in_total", version=version) > 0
    assert metric(scrape, "cortex_distributor_received_histogram_samples_total") > 5


def test_the_same_of_a_cluster_of_three_zones(tmp_path: Path, keep: Callable[[Process], Process]) -> None:
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster", readers=1)
    try:
        cluster.start()
        with exporter() as port:
            equal_after_a_while(cluster.url, port, tmp_path, keep, MESSAGES[1])
        stored = [metrics(cluster.nodes[name].url) for name in cluster.names("write")]
        assert all(metric(scrape, "cortex_ingester_ingested_exemplars_total") > 5 for scrape in stored)
    finally:
        cluster.close()
