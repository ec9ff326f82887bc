"""CPU of the query engine over a head, without HTTP: for each query of queries.json milliseconds by phase.

usage: python -m tests.bench.engine_bench [--series 50000] [--steps 40] [--rounds 5] [--profile NAME]

Series and values are those of head_bench. The range is the whole load at a step of 15 s, so that a query touches about
a tenth of the series at `steps` steps.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mimir_rw._native import Head
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.labels import Matcher
from mimir_rw.promql.engine import Engine
from mimir_rw.promql.result import Result
from mimir_rw.storage.contract import SelectHints, SeriesSet
from tests.bench.head_bench import START_MS, batches, replay
from tests.bench.load import Load

STEP_MS = 15_000


class HeadQueryable:
    """One head, and the CPU time that selecting took."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self.select_s = 0.0

    async def select(self, matchers: Sequence[Matcher], hints: SelectHints) -> SeriesSet:
        began = time.process_time()
        found = self._head.select([m.as_tuple() for m in matchers], hints.mint, hints.maxt)
        self.select_s += time.process_time() - began
        return found

    async def label_names(self, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return []

    async def label_values(self, name: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return []


def filled_head(directory: str, series: int, steps: int) -> Head:
    head, _ = replay(directory)
    for made in batches(Load("ordered", series, steps, START_MS)):
        head.append(made)
    return head


async def bench(head: Head, steps: int, rounds: int, profiled: str) -> None:
    engine = Engine(clock=SystemClock(), offload=InlineOffload())
    queryable = HeadQueryable(head)
    end = START_MS + (steps - 1) * STEP_MS
    for item in json.loads((Path(__file__).parent / "queries.json").read_text()):

        async def run(query: str = item["q"]) -> Result:
            return await engine.range(queryable, query, START_MS, end, STEP_MS)

        result = await run()
        queryable.select_s, began = 0.0, time.process_time()
        for _ in range(rounds):
            await run()
        total_ms = (time.process_time() - began) / rounds * 1e3
        print(
            f"{item['name']:16s} {total_ms:8.2f} ms   select {queryable.select_s / rounds * 1e3:7.2f}   "
            f"samples {result.stats.samples_read:8d}   series {len(result.value.labels):6d}   "
            f"peak {result.stats.peak_bytes >> 10} KiB"
        )
        if item["name"] == profiled:
            profile = cProfile.Profile()
            profile.enable()
            for _ in range(rounds):
                await run()
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(20)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", default="", help="name of a query to profile")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="engine-bench-")
    try:
        asyncio.run(bench(filled_head(directory, args.series, args.steps), args.steps, args.rounds, args.profile))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
