"""The main job: a real Prometheus scrapes itself and remote-writes for a minute; its answers and ours are equal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.equality import assert_ten_queries_equal
from tests.e2e.processes import Process, mimir_rw, prometheus

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


def test_ten_range_queries_equal_prometheus(tmp_path: Path, keep: Callable[[Process], Process]) -> None:
    ours = keep(mimir_rw(tmp_path, "-log.level=warn"))
    ours.start()
    theirs = keep(prometheus(tmp_path, CONFIG % ours.port))
    theirs.start()
    assert_ten_queries_equal(theirs.url, ours.url + "/prometheus")
