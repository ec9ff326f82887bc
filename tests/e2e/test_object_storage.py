"""A process whose blocks go to an S3 server: they arrive whole, and while it is away ingest and queries go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Process, mimir_rw, query, request
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
