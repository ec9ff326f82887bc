"""CPU and memory of the query engine by family of operators (tests/bench/families.py).

usage: python -m tests.bench.engine_bench [--series 1000] [--hours 6] [--step 15] [--only NAME ...] [--profile NAME]
       python -m tests.bench.engine_bench --peer prometheus=PATH --peer victoria-metrics=PATH ...

Without a peer the engine runs over a head in this process, without HTTP: milliseconds and peak of the matrices. With
peers each server is filled alone with the same samples, then asked over HTTP; CPU is that of its process, memory is how
much its peak is above what it held before the query.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mimir_rw._native import Head, KnownSeries, decode_remote_write
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.labels import Matcher
from mimir_rw.promql.engine import Engine, EngineOptions, QueryLimits
from mimir_rw.promql.result import Result
from mimir_rw.storage.contract import SelectHints, SeriesSet
from tests.bench import client
from tests.bench.families import FAMILIES, INTERVAL_MS, FamilyLoad, bodies
from tests.bench.head_bench import KEY, LIMITS, replay
from tests.bench.servers import Recipe, Server, mimir_rw, prometheus, running, victoria_metrics

CPU_SECONDS_MIN = 0.3
_SERIES = b'{"metric":'
EXPERIMENTAL = "-query-frontend.enabled-promql-experimental-functions=all"


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


def filled_head(directory: str, load: FamilyLoad) -> Head:
    head, _ = replay(directory)
    known = KnownSeries(entries_max=0)
    for made in bodies(load):
        for body in made:
            push = decode_remote_write(
                body, tenant="bench", key=KEY, known=known, limits=LIMITS, now_ms=load.end_ms, bytes_max=1 << 28
            )
            head.append([push.batch])
    return head


@dataclass(frozen=True, slots=True)
class Cost:
    cpu_ms: float
    peak_bytes: int
    series: int


async def in_process(load: FamilyLoad, queries: dict[str, str], step_ms: int, profiled: str) -> None:
    directory = tempfile.mkdtemp(prefix="engine-bench-")
    try:
        head = filled_head(directory, load)
        engine = Engine(clock=SystemClock(), offload=InlineOffload(), options=EngineOptions(samples_max=1 << 40))
        queryable = HeadQueryable(head)
        for name, query in queries.items():

            async def run(query: str = query) -> Result:
                limits = QueryLimits()
                return await engine.range(queryable, query, load.start_ms, load.end_ms, step_ms, limits=limits)

            result, cost = await _measured(run)
            print(
                f"{name:24s} {cost.cpu_ms:9.2f} ms   samples {result.stats.samples_read:9d}   "
                f"series {cost.series:6d}   peak {cost.peak_bytes >> 10} KiB",
                flush=True,
            )
            if name == profiled:
                profile = cProfile.Profile()
                profile.enable()
                await run()
                profile.disable()
                pstats.Stats(profile).sort_stats("tottime").print_stats(20)
    finally:
        shutil.rmtree(directory)


async def _measured(run) -> tuple[Result, Cost]:  # type: ignore[no-untyped-def]
    result = await run()
    began, rounds = time.process_time(), 0
    while time.process_time() - began < CPU_SECONDS_MIN:
        await run()
        rounds += 1
    cpu_ms = (time.process_time() - began) / rounds * 1e3
    return result, Cost(cpu_ms, result.stats.peak_bytes, len(getattr(result.value, "labels", ())))


def ask_server(server: Server, load: FamilyLoad, query: str, step_ms: int) -> Cost | None:
    """None: the server does not answer the query; why is printed."""
    params: dict[str, str | float] = {
        "query": query, "start": load.start_ms / 1000, "end": load.end_ms / 1000, "step": step_ms / 1000,
    }  # fmt: skip
    (pid,) = server.pids
    before = server.rss()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    try:
        found = _series_answered(server, params)
    except RuntimeError as error:
        print(error)
        return None
    status = Path(f"/proc/{pid}/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) << 10
    began, rounds = server.cpu_seconds(), 0
    while rounds < 3 or (server.cpu_seconds() - began < CPU_SECONDS_MIN and rounds < 100):
        _series_answered(server, params)
        rounds += 1
    return Cost((server.cpu_seconds() - began) / rounds * 1e3, peak - before, found)


def _series_answered(server: Server, params: dict[str, str | float]) -> int:
    """How many series the answer has, without making objects of it. Raises RuntimeError when there is none."""
    request = urllib.request.Request(
        f"{server.url}{server.recipe.query_prefix}/api/v1/query_range",
        (urllib.parse.urlencode(params) + f"&{server.recipe.query_extra}").encode(),
        {"Cache-Control": "no-store"},
    )
    count, rest = 0, b""
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            while chunk := answer.read(1 << 20):
                count += (rest + chunk).count(_SERIES)
                rest = chunk[-len(_SERIES) + 1 :]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{server.recipe.name} answered {error.code}: {error.read(500)!r}") from None
    return count


def against(recipes: list[Recipe], load: FamilyLoad, queries: dict[str, str], step_ms: int) -> None:
    costs: dict[str, dict[str, Cost | None]] = {}
    work = Path(tempfile.mkdtemp(prefix="engine-bench-"))
    try:
        for recipe in recipes:
            with running(recipe, work / recipe.name) as server:
                client.replay(server, bodies(load), 2)
                time.sleep(2)
                costs[recipe.name] = {name: ask_server(server, load, query, step_ms) for name, query in queries.items()}
            shutil.rmtree(work / recipe.name)
    finally:
        shutil.rmtree(work)
    print(
        f"{'CPU ms / peak MiB':24s} " + " ".join(f"{recipe.name:>18s}" for recipe in recipes) + "   of the first peer"
    )
    for name in queries:
        row = [costs[recipe.name][name] for recipe in recipes]
        ours, first = row[0], row[1] if len(row) > 1 else None
        share = f"{ours.cpu_ms / first.cpu_ms:8.2f}" if ours and first and first.cpu_ms else "       -"
        counts = {cost.series for cost in row if cost}
        print(f"{name:24s} " + " ".join(map(_cell, row)) + f"   {share}" + ("" if len(counts) == 1 else f" {counts}"))


def _cell(cost: Cost | None) -> str:
    return f"{cost.cpu_ms:10.1f} /{cost.peak_bytes / 2**20:6.1f}" if cost else f"{'-':>18s}"


def _peer(text: str) -> Recipe:
    name, _, binary = text.partition("=")
    if name.startswith("victoria"):
        return victoria_metrics(name, binary)
    return prometheus(name, binary, "--enable-feature=promql-experimental-functions")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--step", type=int, default=15, help="seconds")
    parser.add_argument("--metric", action="append", default=[], help="load only these")
    parser.add_argument("--only", action="append", default=[], help="names of families")
    parser.add_argument("--profile", default="", help="name of a family to profile")
    parser.add_argument("--http", action="store_true", help="ask a server of ours, even without a peer")
    parser.add_argument("--peer", action="append", default=[], help="NAME=BINARY")
    args = parser.parse_args()
    steps = round(args.hours * 3_600_000 / INTERVAL_MS)
    end_ms = int(time.time()) // 60 * 60_000
    load = FamilyLoad(args.series, steps, end_ms, *([tuple(args.metric)] if args.metric else []))
    queries = {name: query for name, query in FAMILIES.items() if not args.only or name in args.only}
    if args.peer or args.http:
        against([mimir_rw("mimir-rw", EXPERIMENTAL), *map(_peer, args.peer)], load, queries, args.step * 1000)
    else:
        asyncio.run(in_process(load, queries, args.step * 1000, args.profile))


if __name__ == "__main__":
    main()
