"""Microseconds of ring lookups: what a push, a heartbeat and a change of topology cost.

usage: python -m tests.bench.ring_bench [--rows 2000]
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable

import numpy as np

from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, RingDesc
from mimir_rw.ring.operations import WRITE_NO_EXTEND
from mimir_rw.ring.quorum import BatchTracker
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import RingView, ring_view

NOW_S = 1_700_000_000
SETTINGS = RingSettings(replication_factor=3, zone_awareness=True)


def ring(instances: int, tokens: int) -> RingDesc:
    drawn = random.Random(1).sample(range(1 << 32), instances * tokens)
    return RingDesc(
        InstanceDesc(
            id=f"ingester-{n}",
            addr=f"10.0.0.{n}:9095",
            zone="abc"[n % 3],
            timestamp_s=NOW_S,
            registered_s=1,
            tokens=tuple(sorted(drawn[n * tokens : (n + 1) * tokens])),
            versions={RPC_VERSION_KEY: 2},
        )
        for n in range(instances)
    )


def least_us(work: Callable[[], object], seconds: float = 0.5) -> float:
    """The fastest of many calls."""
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter_ns()
        work()
        best = min(best, time.perf_counter_ns() - start)
    return best / 1000


def answer_all(view: RingView, keys: np.ndarray) -> None:
    placement = view.replication_sets(keys, WRITE_NO_EXTEND, now_s=NOW_S)
    tracker: BatchTracker[str] = BatchTracker(placement)
    for share in placement.by_instance():
        tracker.answered(share.instance.id)
    assert tracker.outcome is not None


def works(desc: RingDesc, keys: np.ndarray) -> dict[str, Callable[[], object]]:
    view = ring_view(desc, SETTINGS)
    placement = view.replication_sets(keys, WRITE_NO_EXTEND, now_s=NOW_S)
    return {
        "place": lambda: view.replication_sets(keys, WRITE_NO_EXTEND, now_s=NOW_S),
        "rows by instance": placement.by_instance,
        "place, share, count answers": lambda: answer_all(view, keys),
        "heartbeat": lambda: ring_view(desc, SETTINGS, view),
        "new topology": lambda: ring_view(desc, SETTINGS).topology.sets(WRITE_NO_EXTEND),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2000)
    rows = parser.parse_args().rows
    keys = np.random.default_rng(1).integers(0, 1 << 32, rows, dtype=np.uint32)
    for instances, tokens in ((3, 128), (6, 128), (30, 128), (60, 512)):
        timed = works(ring(instances, tokens), keys)
        told = ", ".join(f"{name} {least_us(work):.0f}" for name, work in timed.items())
        print(f"{instances} x {tokens} tokens, {rows} rows, us: {told}", flush=True)


if __name__ == "__main__":
    main()
