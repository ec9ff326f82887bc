"""A sender that remembers what was acknowledged, and a check that compares it with what is stored, one by one."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field

from mimir_rw.testing import remote_write
from tests.e2e.processes import query

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": "mimir-rw-e2e",
}

Labels = dict[str, str]


def body(samples: list[tuple[Labels, int, float]]) -> bytes:
    """A remote write request: one time series a sample, given as (labels, ms, value)."""
    return remote_write.body(*(remote_write.series(labels, [(ms, value)]) for labels, ms, value in samples))


def push(port: int, payload: bytes, timeout: float = 10) -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        client.request("POST", "/api/v1/push", payload, HEADERS)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


@dataclass(slots=True)
class Sender(threading.Thread):
    """Pushes one sample for each of its series per tick, values that tell series and tick apart.

    `acknowledged[tick]` is set once the server answered 2xx, `sent` holds every tick ever put on the wire. An
    unacknowledged tick is not repeated: it may be stored or not.
    """

    port: int
    name_label: str
    series: int
    start_ms: int
    pause: float = 0.002
    acknowledged: set[int] = field(default_factory=set)
    sent: int = 0
    refused: list[tuple[int, bytes]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread.__init__(self, daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def labels(self, index: int) -> Labels:
        return {"__name__": "e2e_sample", "series": f"{index:04d}", "sender": self.name_label}

    def value(self, index: int, tick: int) -> float:
        return tick * 1000.0 + index

    def time_ms(self, tick: int) -> int:
        return self.start_ms + tick * 10

    def run(self) -> None:
        client: http.client.HTTPConnection | None = None
        while not self.stopping.is_set():
            tick = self.sent
            rows = [(self.labels(i), self.time_ms(tick), self.value(i, tick)) for i in range(self.series)]
            self.sent += 1
            try:
                if client is None:
                    client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                client.request("POST", "/api/v1/push", body(rows), HEADERS)
                answer = client.getresponse()
                text = answer.read()
                if answer.status // 100 == 2:
                    self.acknowledged.add(tick)
                else:
                    self.refused.append((answer.status, text))
                    time.sleep(0.05)
            except (OSError, http.client.HTTPException):
                client = None
                time.sleep(0.02)
            time.sleep(self.pause)

    def finish(self) -> None:
        self.stopping.set()
        self.join(30)
        assert not self.is_alive()

    def check(self, base: str) -> None:
        """Every acknowledged sample is stored with its value, nothing is there twice, nothing was never sent."""
        window = max(1, (self.time_ms(self.sent) - self.start_ms) // 1000 + 2)
        selector = f'e2e_sample{{sender="{self.name_label}"}}[{window}s]'
        rows = query(base, "query", query=selector, time=f"{self.time_ms(self.sent) / 1000 + 1:.3f}")["result"]
        by_series = {row["metric"]["series"]: row["values"] for row in rows}
        assert len(by_series) == len(rows)
        assert set(by_series) <= {f"{i:04d}" for i in range(self.series)}
        for index in range(self.series):
            stored = [(round(float(t) * 1000), float(v)) for t, v in by_series.get(f"{index:04d}", [])]
            times = [t for t, _ in stored]
            assert len(times) == len(set(times)), f"{self.name_label}/{index}: a time is there twice"
            assert times == sorted(times)
            ticks = {(t - self.start_ms) // 10: v for t, v in stored}
            for tick, value in ticks.items():
                assert 0 <= tick < self.sent, f"{self.name_label}/{index}: tick {tick} was never sent"
                assert value == self.value(index, tick)
            lost = self.acknowledged - ticks.keys()
            assert not lost, f"{self.name_label}/{index}: acknowledged and lost: {sorted(lost)[:10]} ({len(lost)})"
