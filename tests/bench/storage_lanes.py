"""`make bench ARGS='--lane storage'`: what data costs that is in blocks, beside Prometheus on the very same blocks.

*blocks*: range queries over a day in one block, in a bucket of ours and in Prometheus' data directory. *compacting*: a
small query, asked steadily over that block before three blocks of two hours are put beside it and while they are
compacted. *compaction*: those of `compaction_bench`, alone.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mimir_rw.formats.ulid import make_ulid
from tests.bench import client, compaction_bench
from tests.bench.blocks import BEGIN_MS, DAY_MS, RANGE_MS, TENANT, bytes_of, meta_of, write_block, write_index
from tests.bench.servers import Recipe, Server, mimir_rw, prometheus, running

METRIC = "container_metric_00_total"
QUERIES = {
    "sum_by_rate": f"sum by (job) (rate({METRIC}[5m]))",
    "max_over_time": f"max by (job) (max_over_time({METRIC}[10m]))",
    "topk": f"topk(5, {METRIC})",
    "quantile": f"quantile by (job) (0.9, {METRIC})",
    "count": f"count({METRIC})",
    "one_series": f'{METRIC}{{instance="10.0.0.7:9100"}}',
}
SMALL = f'sum(rate({METRIC}{{job="job-7"}}[5m]))'
STEP_MS = 60_000
STEP_S = 300
CPU_HOLD = 1.0
CPU_MS_MIN = 200
"""Of all runs of a query; the clock of /proc counts tens of milliseconds."""
RUNS_OF_CHEAP = 100
BEFORE = 200
"""How often the small query is asked before the compaction."""
PAUSE_S = 0.02
COMPACTION_SECONDS_MAX = 240
KEEP = ("--storage.tsdb.retention.time=100y",)
EAGER = (
    "-compactor.compaction-interval=5s", "-compactor.first-level-compaction-wait-period=0s",
    "-compactor.block-ranges=2h,6h,24h",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    cpu_ms: float
    wall_ms: float
    peak: int
    answer: list[dict[str, object]]


@dataclass(slots=True)
class Waits:
    """Seconds of the small query."""

    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)


def day_block(root: Path, series: int) -> Path:
    ulid = make_ulid(BEGIN_MS, b"\0" * 10)
    return write_block(root, ulid, BEGIN_MS, series, STEP_MS, range_ms=DAY_MS, metrics=1)


def earlier_blocks(root: Path, series: int) -> list[Path]:
    """Three times two hours that end where the day begins."""
    begins = [BEGIN_MS - n * RANGE_MS for n in (3, 2, 1)]
    return [write_block(root, make_ulid(at, b"\0" * 10), at, series, STEP_MS) for at in begins]


def home_of(server: Server) -> Path:
    return home(server.data, ours=server.recipe.name.startswith("mimir-rw"))


def home(data: Path, *, ours: bool) -> Path:
    """Where a server has its blocks."""
    return data / "blocks" / TENANT if ours else data / "data"


def filler(block: Path, *, ours: bool) -> Callable[[Path], None]:
    def fill(data: Path) -> None:
        place = home(data, ours=ours)
        shutil.copytree(block, place / block.name)
        if ours:
            write_index(place.parent, [block])

    return fill


def recipes(binary: str, only: list[str] | None, extra: list[str]) -> list[Recipe]:
    all_of_them = [mimir_rw("mimir-rw", *EAGER, *extra), prometheus("prometheus", binary, *KEEP)]
    return [recipe for recipe in all_of_them if not only or recipe.name.startswith(tuple(only))]


def measure_queries(server: Server, runs: int) -> dict[str, Cost]:
    out = {}
    for name, query in QUERIES.items():
        server.forget_peak()
        cost = client.query_cost(server, query, BEGIN_MS, BEGIN_MS + DAY_MS, runs, STEP_S)
        if cost.cpu_ms * runs < CPU_MS_MIN:
            cost = client.query_cost(server, query, BEGIN_MS, BEGIN_MS + DAY_MS, RUNS_OF_CHEAP, STEP_S)
        out[name] = Cost(cost.cpu_ms, cost.wall_ms, server.peak_rss(), cost.result)
    return out


def query_verdicts(ours: dict[str, Cost], theirs: dict[str, Cost]) -> list[tuple[str, bool]]:
    out = []
    for name, cost in ours.items():
        other = theirs[name]
        ratio = cost.cpu_ms / max(other.cpu_ms, 0.1)
        out.append((f"blocks, {name}: CPU {ratio:.2f} x prometheus (hold {CPU_HOLD:.2f})", ratio <= CPU_HOLD))
        diff = client.differences(cost.answer, other.answer, 1e-9)
        equal = "equals" if not diff else f"DIFFERS from ({diff[0]})"
        out.append((f"blocks, {name}: answer {equal} prometheus", bool(cost.answer) and not diff))
    return out


def ask_small(server: Server, number: int) -> float:
    """Seconds of the small query; each has a range of its own, which no cache has."""
    start = BEGIN_MS / 1000 + 3600 + 0.25 * number
    began = time.perf_counter()
    found = client.ask(server, "/api/v1/query_range", query=SMALL, start=start, end=start + 3600, step=60)
    took = time.perf_counter() - began
    if not found["result"]:
        raise RuntimeError(f"{server.recipe.name} has no answer to the small query")
    return took


def compacting(server: Server) -> bool:
    if not server.recipe.name.startswith("mimir-rw"):
        return any(home_of(server).glob("*.tmp-for-creation"))
    tasks = Path(f"/proc/{server.pids[0]}/task").glob("*/children")
    children = [pid for task in tasks for pid in task.read_text().split()]
    return any(b"merge_process" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children)


def compacted(server: Server) -> bool:
    metas = home_of(server).glob("*/meta.json")
    return any(compaction_bench.level_of(path) == 2 for path in metas)


def measure_compacting(server: Server, blocks: list[Path]) -> Waits:
    waits, numbers = Waits(), itertools.count()
    for _ in range(BEFORE):
        waits.before.append(ask_small(server, next(numbers)))
        time.sleep(PAUSE_S)
    for block in blocks:
        aside = server.data / block.name
        shutil.copytree(block, aside)
        aside.rename(home_of(server) / block.name)
    deadline = time.monotonic() + COMPACTION_SECONDS_MAX
    while not compacted(server):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.recipe.name} has not compacted in {COMPACTION_SECONDS_MAX} s")
        busy = compacting(server)
        took = ask_small(server, next(numbers))
        if busy:
            waits.during.append(took)
        time.sleep(PAUSE_S)
    return waits


def table(title: str, head: list[str], rows: list[list[str]]) -> Table:
    out = Table(title=title, title_justify="left")
    for number, name in enumerate(head):
        out.add_column(name, justify="right" if number else "left")
    for row in rows:
        out.add_row(*row)
    return out


def query_table(block: Path, columns: dict[str, dict[str, Cost]]) -> Table:
    samples = meta_of(block).stats.samples
    title = f"{samples:,} samples, {bytes_of(block) / samples:.3f} bytes each: CPU ms (wall; MiB)"
    rows = [
        [name, *(f"{c[name].cpu_ms:.1f} ({c[name].wall_ms:.1f}; {c[name].peak >> 20})" for c in columns.values())]
        for name in QUERIES
    ]
    return table(title, ["query", *columns], rows)


def percentiles(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
    return f"{p50:.1f} / {p99:.1f} of {len(seconds)}"


def waits_table(columns: dict[str, Waits]) -> Table:
    rows = [[name, percentiles(w.before), percentiles(w.during)] for name, w in columns.items()]
    return table("a small query, p50 / p99 ms", ["server", "before", "while compacting"], rows)


def compaction_table(found: list[tuple[str, list[compaction_bench.Cost]]]) -> Table:
    rows = [
        [what, c.who, f"{c.cpu_s:.2f}", f"{c.read / c.cpu_s / 1e6:.1f}", f"{c.peak_bytes >> 20}",
         f"{c.size / c.samples:.3f}"]
        for what, costs in found
        for c in costs
    ]  # fmt: skip
    head = ["compaction of", "server", "CPU s", "M samples read/CPU s", "peak MiB", "bytes/sample"]
    return table("compaction", head, rows)


def blocks_lane(
    used: list[Recipe], series: int, runs: int, work: Path, console: Console, *, compact: bool
) -> list[tuple[str, bool]]:
    """The lane blocks, or with `compact` the lane compacting."""
    block = day_block(work / "made", series)
    more = earlier_blocks(work / "made", series * 5) if compact else []
    costs: dict[str, dict[str, Cost]] = {}
    waits: dict[str, Waits] = {}
    for recipe in used:
        ours = recipe.name.startswith("mimir-rw")
        console.print(f"[dim]{recipe.name}: {'compacting' if compact else 'blocks'}, {series:,} series[/dim]")
        with running(recipe, work / recipe.name, filler(block, ours=ours)) as server:
            if compact:
                waits[recipe.name] = measure_compacting(server, more)
            else:
                costs[recipe.name] = measure_queries(server, runs)
    if compact:
        console.print(waits_table(waits))
        return [(f"compacting: {name} was asked while it compacted", bool(w.during)) for name, w in waits.items()]
    console.print(query_table(block, costs))
    return query_verdicts(costs["mimir-rw"], costs["prometheus"]) if len(costs) > 1 else []


def compaction_lane(binary: str, series: int, work: Path, console: Console) -> None:
    console.print(f"[dim]compaction, {series:,} series[/dim]")
    console.print(compaction_table(list(compaction_bench.measure(work, series, STEP_MS, binary))))
