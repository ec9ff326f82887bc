"""Heads with the histograms and exemplars of tests/golden/histograms: pushed, or in the log of a Prometheus."""

from __future__ import annotations

import shutil
from pathlib import Path

from mimir_rw._native import Head
from tests.golden.histograms import record
from tests.unit.tsdb.batches import KEY, batch_of

OOO_MS = 30 * 60_000
RECORDED = Path(record.__file__).parent


def opened(directory: Path) -> Head:
    head = Head(str(directory), tenant="t", hash_key=KEY, exemplars_max=1000)
    done, total = 0, 1
    while done < total:
        done, total = head.replay_step(1 << 20)
    return head


def filled(directory: Path) -> Head:
    head = opened(directory)
    for body in record.bodies():
        (result,) = head.append([batch_of(body)], ooo_window_ms=OOO_MS, exemplars_max=1000)
        assert not result.refused
        assert not result.exemplars_refused
    return head


def recorded(directory: Path) -> Path:
    """The directory of the Prometheus, but for its memory-mapped chunks."""
    for log in ("wal", "wbl"):
        (directory / log).mkdir(parents=True)
        shutil.copy(RECORDED / f"{log}.bin", directory / log / "00000000")
    return directory
