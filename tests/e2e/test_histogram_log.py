"""A real Prometheus started on our log answers the histograms that it answers from its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.differential.peers import reference_binary, reference_since
from tests.e2e.processes import Process, free_port, query
from tests.golden.histograms import record
from tests.unit.tsdb.histogram_heads import filled, recorded

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]


def answer(data: Path) -> list[Any]:
    config, port = data.with_suffix(".yml"), free_port()
    config.write_text(record.CONFIG)
    argv = [
        reference_binary(), f"--config.file={config}", f"--storage.tsdb.path={data}", "--log.level=warn",
        f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y",
    ]  # fmt: skip
    end_s = (record.START_MS + record.STEPS * record.STEP_MS) / 1000
    process = Process(argv, port, "/-/ready", data.with_suffix(".log")).start()
    try:
        found = query(process.url, "query", query='{__name__=~".+"}[3h]', time=end_s)
    finally:
        process.stop()
    return sorted(found["result"], key=lambda series: str(series["metric"]))


def test_prometheus_reads_histograms_from_our_log(tmp_path: Path) -> None:
    reference_since((3, 0), "has no custom buckets")
    filled(tmp_path / "ours").close()
    ours, theirs = answer(tmp_path / "ours"), answer(recorded(tmp_path / "theirs"))
    assert sum(len(series.get("histograms", ())) for series in ours) > 3_000
    assert sum(len(series.get("values", ())) for series in ours) > 100
    assert ours == theirs
