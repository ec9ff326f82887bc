"""A process whose blocks go to an S3 server: they arrive whole, and while it is away ingest and queries go on.

MIMIR_RW_TEST_OUTAGE_S: for how long the server of the slow test is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Process, metric, metrics, mimir_rw, query, request
from tests.e2e.remote_write import body, push
from tests.s3_servers import KEY, SECRET, start_strict

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


class Storage:
    """An S3 server that can be taken away and comes back with what it had."""

    def __init__(self, place: Path) -> None:
        self._place = place
        (place / "objects" / "blocks").mkdir(parents=True)
        self.process, self.endpoint = start_strict(place)

    @property
    def flags(self) -> list[str]:
        at = "-blocks-storage.s3"
        return [
            "-blocks-storage.backend=s3", f"{at}.endpoint={self.endpoint}", f"{at}.insecure",
            f"{at}.bucket-name=blocks", f"{at}.access-key-id={KEY}", f"{at}.secret-access-key={SECRET}",
            f"{at}.max-retries=2",
        ]  # fmt: skip

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        self.process, _ = start_strict(self._place, port=int(self.endpoint.rpartition(":")[2]))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "mimir_rw", "bucket", *arguments, *self.flags]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def blocks(self) -> list[str]:
        said = self.command("ls", "anonymous", "--json")
        assert said.returncode == 0, said.stderr
        return [row["block"] for row in json.loads(said.stdout)]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    made = Storage(tmp_path / "s3")
    yield made
    made.stop()


def write(server: Process, first: int) -> None:
    now_ms = int(time.time() * 1000)
    for step in range(first, first + 20):
        samples = [({"__name__": "m", "i": str(i)}, now_ms - 60_000 + step * 1000, float(step)) for i in range(50)]
        assert push(server.port, body(samples))[0] == 200


def count(server: Process) -> str:
    answer = query(f"{server.url}/prometheus", "query", query="count(count_over_time(m[10m]))")
    return str(answer["result"][0]["value"][1])


def wait_for(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


def test_blocks_arrive_whole_and_a_store_that_is_away_stops_nobody(
    tmp_path: Path, storage: Storage, keep: Callable[[Process], Process]
) -> None:
    server = keep(mimir_rw(tmp_path, *storage.flags))
    server.start()
    write(server, 0)
    assert request(f"{server.url}/ingester/flush?wait=true", method="POST").status == 204
    wait_for(lambda: len(storage.blocks()) == 1, "the block does not arrive")
    assert storage.command("verify", "anonymous").returncode == 0

    storage.stop()
    write(server, 20)
    assert count(server) == "50"
    request(f"{server.url}/ingester/flush?wait=true", method="POST", timeout=60)
    write(server, 40)
    assert count(server) == "50"

    storage.start_again()
    request(f"{server.url}/ingester/flush?wait=true", method="POST", timeout=60)
    wait_for(lambda: len(storage.blocks()) >= 2, "what was cut meanwhile is not shipped")
    said = storage.command("verify", "anonymous")
    assert said.returncode == 0, said.stdout
    assert server.stop() == 0


OUTAGE_S = float(os.environ.get("MIMIR_RW_TEST_OUTAGE_S", "45"))
DAY_MS = 86_400_000
SERIES = 50


class Users(threading.Thread):
    """Writes a step of all series and asks for what is new, every half second; what went wrong is in `complaints`."""

    def __init__(self, server: Process) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._ended = threading.Event()
        self.steps: list[int] = []
        self.complaints: list[str] = []

    def run(self) -> None:
        while not self._ended.wait(0.5):
            now_ms = int(time.time() * 1000)
            samples = [({"__name__": "m", "i": str(i)}, now_ms, float(i)) for i in range(SERIES)]
            status, said = push(self._server.port, body(samples))
            if status != 200:
                self.complaints.append(f"push: {status} {said!r}")
                continue
            self.steps.append(now_ms)
            answer = request(f"{self._server.url}/prometheus/api/v1/query?query=sum(m)", timeout=10)
            if answer.status != 200 or float(answer.json()["data"]["result"][0]["value"][1]) != sum(range(SERIES)):
                self.complaints.append(f"query: {answer.status} {answer.body[:300]!r}")

    def finish(self) -> None:
        self._ended.set()
        self.join()


def ask_old(server: Process, at_ms: int) -> tuple[int, str]:
    """Status, and the sum of what was written at that time or the reason why there is none."""
    at = f"query=sum(sum_over_time(old[1h]))&time={at_ms / 1000}"
    answer = request(f"{server.url}/prometheus/api/v1/query?{at}", timeout=60)
    if answer.status != 200:
        return answer.status, answer.body.decode()
    rows = answer.json()["data"]["result"]
    return 200, str(rows[0]["value"][1]) if rows else "nothing"


@pytest.mark.slow
@pytest.mark.timeout(300 + int(OUTAGE_S))
def test_a_store_that_is_gone_for_long(tmp_path: Path, storage: Storage, keep: Callable[[Process], Process]) -> None:
    """Longer than any retry lasts. Nothing new fails; what needs blocks is right or says why not; all comes back."""
    server = keep(
        mimir_rw(
            tmp_path, *storage.flags,
            "-blocks-storage.bucket-store.sync-interval=1s",
            "-compactor.first-level-compaction-wait-period=0s",
            "-compactor.compaction-interval=1s", "-compactor.cleanup-interval=1s",
        )
    )  # fmt: skip
    server.start()
    cold_ms, warm_ms = (int(time.time() * 1000) - days * DAY_MS for days in (4, 2))
    for at_ms in (cold_ms, warm_ms):
        samples = [({"__name__": "old", "i": str(i)}, at_ms, float(i)) for i in range(SERIES)]
        assert push(server.port, body(samples))[0] == 200
    assert request(f"{server.url}/ingester/flush?wait=true", method="POST").status == 204
    expected = (200, str(sum(range(SERIES))))
    wait_for(lambda: ask_old(server, warm_ms) == expected, "old blocks are not served")

    users = Users(server)
    users.start()
    wait_for(lambda: len(users.steps) > 4, "no pushes")
    storage.stop()
    gone_s = time.monotonic()
    refused = []
    while time.monotonic() - gone_s < OUTAGE_S:
        for at_ms in (cold_ms, warm_ms):
            status, said = ask_old(server, at_ms)
            assert (status, said) == expected or status >= 500, (status, said)
            if status >= 500:
                refused.append(said)
        request(f"{server.url}/ingester/flush?wait=true", method="POST", timeout=60)
        time.sleep(1)
    assert refused, "the block that nobody asked for was there without its store"
    unnamed = [said for said in refused if "object storage" not in said]
    assert not unnamed, unnamed[:3]

    print(f"\n{len(refused)} refused, the first: {refused[0]}")
    back_s = time.time()
    storage.start_again()
    wait_for(lambda: ask_old(server, cold_ms) == expected, "the cold block does not come back")
    wait_for(lambda: ask_old(server, warm_ms) == expected, "the warm block does not come back")
    updated = "cortex_bucket_index_last_successful_update_timestamp_seconds"
    wait_for(lambda: metric(metrics(server.url), updated) > back_s, "the bucket index is not written")
    users.finish()
    assert not users.complaints, users.complaints[:3]
    assert request(f"{server.url}/ingester/flush?wait=true", method="POST", timeout=60).status == 204
    seconds = int(time.time() - users.steps[0] / 1000) + 5
    answer = query(f"{server.url}/prometheus", "query", query=f"sum(count_over_time(m[{seconds}s]))")
    assert answer["result"][0]["value"][1] == str(len(users.steps) * SERIES)
    wait_for(lambda: len(storage.blocks()) >= 3, "what was cut meanwhile is not shipped")
    assert storage.command("verify", "anonymous").returncode == 0
    assert server.stop() == 0
