"""kill -9 under load at random moments: whatever was acknowledged is there afterwards, once, and nothing else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.processes import Process, mimir_rw
from tests.e2e.remote_write import Sender

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 10


def test_kill_nine_under_load(tmp_path: Path, keep: Callable[[Process], Process]) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    server = keep(mimir_rw(tmp_path, "-log.level=warn"))
    server.start()
    start_ms = int(time.time() * 1000) - 600_000
    senders = [Sender(server.port, f"s{n}", 50, start_ms) for n in range(4)]
    for sender in senders:
        sender.start()
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.2, 1.5))
        server.kill()
        server.start()
        for sender in senders:
            assert sender.is_alive()
    time.sleep(0.5)
    for sender in senders:
        sender.finish()
    assert sum(len(s.acknowledged) for s in senders) > 200
    for sender in senders:
        sender.check(server.url + "/prometheus")
    assert server.stop() == 0
    server.start()
    for sender in senders:
        sender.check(server.url + "/prometheus")


def test_stop_and_start_keeps_everything(tmp_path: Path, keep: Callable[[Process], Process]) -> None:
    server = keep(mimir_rw(tmp_path, "-log.level=warn"))
    server.start()
    sender = Sender(server.port, "calm", 20, int(time.time() * 1000) - 600_000)
    sender.start()
    time.sleep(1)
    assert server.stop() == 0
    time.sleep(0.3)
    server.start()
    time.sleep(0.5)
    sender.finish()
    assert len(sender.acknowledged) > 20
    sender.check(server.url + "/prometheus")
