"""How long a query takes to end after it has reached its memory limit: from the refusal to the answer.

usage: python -m tests.bench.limit_bench [--limit-mib 1024]

The query is that of tests/e2e/test_memory_limit.py: sixty vectors of 2,000 series by 11,000 steps, 11 GB in all. The
engine runs in this process over a head, so that what is measured is unwinding the evaluation and letting its memory go.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time

from mimir_rw._native import KnownSeries, decode_remote_write
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import LimitExceeded
from mimir_rw.promql.engine import Engine, EngineOptions, QueryLimits
from mimir_rw.promql.exec.memory import MemoryAccount
from mimir_rw.testing.remote_write import body, series
from tests.bench.engine_bench import HeadQueryable
from tests.bench.head_bench import KEY, LIMITS, START_MS, replay
from tests.e2e.test_memory_limit import GREEDY, SERIES, STEPS


class Refusals:
    """When a query was refused memory first; 0: never."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def watch(self) -> None:
        check = MemoryAccount._check

        def watched(account: MemoryAccount, nbytes: int) -> None:
            try:
                check(account, nbytes)
            except LimitExceeded:
                self.at_s = self.at_s or time.perf_counter()
                raise

        MemoryAccount._check = watched  # type: ignore[method-assign]


async def measure(queryable: HeadQueryable, limit_bytes: int) -> tuple[float, float]:
    """Seconds up to the refusal, and from there to the answer."""
    engine = Engine(clock=SystemClock(), offload=InlineOffload(), options=EngineOptions(samples_max=1 << 40))
    refusals, began = Refusals(), time.perf_counter()
    refusals.watch()
    start_ms = START_MS - 100_000
    try:
        await engine.range(
            queryable, GREEDY, start_ms, start_ms + (STEPS - 1) * 25, 25,
            limits=QueryLimits(memory_bytes_max=limit_bytes),
        )  # fmt: skip
    except LimitExceeded:
        return refusals.at_s - began, time.perf_counter() - refusals.at_s
    raise SystemExit("the query was not refused")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit-mib", type=int, default=1024)
    limit_mib = parser.parse_args().limit_mib
    directory = tempfile.mkdtemp(prefix="limit-bench-")
    try:
        head, _ = replay(directory)
        rows = [series({"__name__": "wide", "i": str(i)}, [(START_MS, float(i))]) for i in range(SERIES)]
        push = decode_remote_write(
            body(*rows), tenant="bench", key=KEY, known=KnownSeries(entries_max=0), limits=LIMITS,
            now_ms=START_MS, bytes_max=1 << 28,
        )  # fmt: skip
        head.append([push.batch])
        until, after = asyncio.run(measure(HeadQueryable(head), limit_mib << 20))
        print(f"refused after {until:.2f} s at {limit_mib} MiB; from the refusal to the answer {after * 1e3:.1f} ms")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
