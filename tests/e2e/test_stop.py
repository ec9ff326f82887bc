"""Stopping: in order, and whatever became of the log's reader."""

import os
import select
import time
from pathlib import Path

import pytest

from tests.e2e.processes import mimir_rw, request

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_sigterm_stops_a_server_whose_log_nobody_reads(tmp_path: Path, keep, unbuffered: str) -> None:
    server = keep(mimir_rw(tmp_path, "-log.level=debug"))
    server.env["PYTHONUNBUFFERED"] = unbuffered
    os.mkfifo(server.log_path)
    reader = os.open(server.log_path, os.O_RDONLY | os.O_NONBLOCK)
    server.spawn()
    deadline = time.monotonic() + 60
    said = b""
    while b"is ready" not in said:
        assert time.monotonic() < deadline, said
        if select.select([reader], [], [], 0.1)[0]:
            said += os.read(reader, 1 << 16)
    os.close(reader)
    assert request(server.url + "/prometheus/api/v1/query?query=1").status == 200
    assert server.stop(30) == 0
