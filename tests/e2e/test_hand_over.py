"""Ingesters leave for good while every answer is compared: samples that only two zones hold, somebody frozen between
two steps, and in the end none of the ingesters and none of the disks that took the samples is there any more."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mimir_rw.runner.layout import Node
from mimir_rw.testing import remote_write
from tests.e2e.cluster import ROOMY, Cluster
from tests.e2e.processes import Answer, request
from tests.e2e.remote_write import HEADERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FIRST = ("write-a-1", "write-b-1", "write-c-1")
SECOND = ("write-a-2", "write-b-2", "write-c-2")
OTHERS = ("backend-a-1", "backend-b-1", "read-1", "read-2")
FLAGS = (
    *ROOMY,
    "-querier.timeout=5s",
    "-ingester.ring.heartbeat-period=1s",
    *(
        f"-{ring}.{name}"
        for ring in ("distributor.ring", "querier.ring", "compactor.ring", "store-gateway.sharding-ring")
        for name in ("heartbeat-period=1s", "heartbeat-timeout=15s")
    ),
)
SERIES, SAMPLES = 200, 30
EVERY_MS = 1000
FROZEN_S = 10.0


@dataclass
class Watch:
    """Asks for every sample of a part of the series every 100 ms, and compares."""

    url: str
    start_ms: int
    asked: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> Watch:
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(3)]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        part = number
        while not self._stop.wait(0.1):
            part = (part + 1) % 10
            try:
                said = self.check(part)
            except (OSError, ValueError) as error:
                self.failed.append(f"{type(error).__name__}: {error}")
                continue
            self.asked += 1
            if said is not None:
                self.wrong.append(f"{time.strftime('%H:%M:%S')} {said}")

    def check(self, part: int) -> str | None:
        """What is wrong with the answer about a tenth of the series. Raises ValueError when there is none."""
        end_ms = self.start_ms + SAMPLES * EVERY_MS
        seconds = SAMPLES * EVERY_MS // 1000 + 5
        text = f'kept{{part="{part}"}}[{seconds}s]'
        path = f"/prometheus/api/v1/query?query={text}&time={end_ms / 1000}".replace("{", "%7B").replace("}", "%7D")
        answer = request(self.url + path.replace('"', "%22"), timeout=30)
        if answer.status != 200:
            raise ValueError(f"{answer.status} {answer.body[:300]!r}")
        rows = answer.json()["data"]["result"]
        names = {row["metric"]["series"] for row in rows}
        wanted = {str(n) for n in range(part, SERIES, 10)}
        if names != wanted:
            return f"{len(names)} of {len(wanted)} series"
        for row in rows:
            got = [(round(float(t) * 1000), float(v)) for t, v in row["values"]]
            want = [(self.start_ms + k * EVERY_MS, value_of(int(row["metric"]["series"]), k)) for k in range(SAMPLES)]
            if got != want:
                return f"series {row['metric']['series']}: {len(got)} samples, {len(set(want) - set(got))} missing"
        return None


def value_of(series: int, k: int) -> float:
    return float(series * 1000 + k)


def push(cluster: Cluster, start_ms: int, numbers: range) -> None:
    for k in numbers:
        body = remote_write.body(
            *(
                remote_write.series(
                    {"__name__": "kept", "part": str(n % 10), "series": str(n)},
                    [(start_ms + k * EVERY_MS, value_of(n, k))],
                )
                for n in range(SERIES)
            )
        )
        answer = request(f"{cluster.url}/api/v1/push", data=body, headers=HEADERS, method="POST")
        assert answer.status // 100 == 2, answer.body


def progress(cluster: Cluster, name: str) -> dict[str, object]:
    found: dict[str, object] = request(
        f"{cluster.nodes[name].url}/ingester/hand-over", headers={"Accept": "application/json"}
    ).json()
    return found


class Leaving(threading.Thread):
    """POST /ingester/shutdown, and its answer."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{cluster.nodes[name].url}/ingester/shutdown"
        self.answer: Answer | None = None
        self.start()

    def run(self) -> None:
        self.answer = request(self._url, method="POST", timeout=240)


def until(holds: Callable[[], bool], what: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, per_zone=2, readers=2, flags=FLAGS)
    base = made.layout.nodes[-1].http_port
    for number, (name, target, zone) in enumerate(
        [("querier-x", "querier", ""), ("gateway-x", "store-gateway", "zone-c")], 1
    ):
        node = Node(name, target, zone, "127.0.0.1", base + number)
        made.nodes[name] = made._process(node)
    try:
        yield made.start(*FIRST, *OTHERS, "querier-x", "gateway-x")
    finally:
        made.close()


LEAVE = (("write-a-1", "querier-x", 1), ("write-b-1", "gateway-x", 2), ("write-c-1", "querier-x", 6))
"""Who leaves, who is frozen meanwhile, and from which step on."""


def test_no_query_misses_a_sample_while_all_that_took_them_leave(cluster: Cluster) -> None:
    start_ms = (int(time.time() * 1000) - 60_000) // 1000 * 1000
    half = SAMPLES // 2
    push(cluster, start_ms, range(half))
    cluster.kill("write-c-1")
    push(cluster, start_ms, range(half, SAMPLES))  # these are in two zones only
    cluster.restart("write-c-1", *SECOND)
    cluster.route(*FIRST, *SECOND, *OTHERS)
    watch = Watch(cluster.url, start_ms)
    until(lambda: all(watch.check(part) is None for part in range(10)), lambda: "not whole at first")
    watch.start()
    try:
        for name, victim, step in LEAVE:
            leave(cluster, watch, name, victim, step)
    finally:
        watch.stop()
    print(f"\n{watch.asked} answers compared, {len(watch.failed)} questions without one")
    assert not watch.wrong, f"{len(watch.wrong)} of {watch.asked}: {watch.wrong[:3]}\n{cluster.logs()}"
    assert watch.asked > 200
    assert [watch.check(part) for part in range(10)] == [None] * 10


def leave(cluster: Cluster, watch: Watch, name: str, victim: str, step: int) -> None:
    leaving = Leaving(cluster, name)
    until(lambda: int(str(progress(cluster, name)["step"])) >= step or not leaving.is_alive(), lambda: leaving.answer)
    cluster.freeze(victim)
    time.sleep(FROZEN_S)
    assert not watch.wrong, watch.wrong[:3]
    cluster.thaw(victim)
    leaving.join(200)
    assert leaving.answer is not None, f"{progress(cluster, name)}\n{cluster.logs()}"
    assert leaving.answer.status == 204, f"{leaving.answer.body!r}\n{cluster.nodes[name].log_tail()}"
    left = [other for other in (*FIRST, *SECOND, *OTHERS) if other != name and (cluster.layout.data / other).exists()]
    cluster.route(*left)
    assert cluster.terminate(name) == 0
    shutil.rmtree(cluster.layout.data / name)
