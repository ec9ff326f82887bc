"""`make bench`: ingest and query cost of mimir-rw beside its peers, in one run, as one table; then what restarts of a
cluster's processes cost those who use it, and gossip at rest.

CPU is of all server processes together (/proc), read after a query that counts every sample and two idle seconds.
Memory is what the load added to the empty process. Results of our queries are compared with Prometheus'.
Absolute figures vary from machine to machine; the ratios within a run are what counts.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.bench import client, gossip_bench, query_lanes, storage_lanes
from tests.bench.families import FAMILIES
from tests.bench.load import Load, bodies, series_created
from tests.bench.rolling import Rolling, rolling_restarts
from tests.bench.servers import Recipe, Server, mimir_rw, mimir_rw_cluster, peers, prometheus, running
from tests.differential.peers import reference_binary, version_of

KIB = 1024
FAMILY_LANES = ("week", "wide")
STORAGE = "storage"
STORAGE_LANES = ("blocks", "compacting", "compaction")
LANES = ("ordered", "shuffled", "churning", "large", "rolling", "gossip", *FAMILY_LANES, STORAGE, *STORAGE_LANES)
PACED_STEPS = 20
PACED_CONNECTIONS = 16
CLUSTER = "mimir-rw RF 3"
RF3_HOLD = 1.6
PUSH_SPREAD_HOLD = 3.0
GOSSIP_HOLD = 1.0
"""Per cent of a core."""


@dataclass(slots=True)
class Ingest:
    load: Load
    samples_per_second: float
    cpu_us: float
    rss: int
    bytes_per_series: float
    wal_per_sample: float | None
    complete: bool


@dataclass(slots=True)
class Column:
    """Everything measured of one server."""

    name: str
    ingest: dict[str, Ingest] = field(default_factory=dict)
    queries: dict[str, client.QueryCost] = field(default_factory=dict)
    push_ms: tuple[float, float] | None = None
    """p50 and p99 of a push at half of the highest throughput."""
    rolling: Rolling | None = None


def measure_ingest(server: Server, load: Load, steps: list[list[bytes]], connections: int) -> Ingest:
    cpu = server.cpu_seconds()
    seconds = client.replay(server, steps, connections)
    # Some servers show samples a second late; a count that comes too early would have to be repeated, at their cost.
    time.sleep(2)
    window = (load.end_ms - load.start_ms) // 1000 + 60
    seen = client.count_samples(server, load.end_ms, window, load.samples)
    time.sleep(2)
    cpu = server.cpu_seconds() - cpu
    wal = server.wal_bytes()
    rss = server.rss()
    return Ingest(
        load,
        load.samples / seconds,
        cpu * 1e6 / load.samples,
        rss,
        (rss - server.rss_empty) / series_created(load),
        None if wal is None else wal / load.samples,
        seen == load.samples,
    )


def lanes(args: argparse.Namespace, end_ms: int) -> dict[str, Load]:
    def load(variant: str, series: int, steps: int) -> Load:
        return Load(variant, series, steps, end_ms - steps * 15_000)  # type: ignore[arg-type]

    small, large = args.series, args.series_large
    out = {v: load(v, small, args.steps) for v in ("ordered", "shuffled", "churning")}
    if large:
        out["large"] = load("ordered", large, args.steps)
    return {
        name: lane
        for name, lane in out.items()
        if wanted(args, name) or (name == "ordered" and wanted(args, "rolling"))
    }


def wanted(args: argparse.Namespace, lane: str) -> bool:
    return not args.lane or lane in args.lane or (lane in STORAGE_LANES and STORAGE in args.lane)


def run_server(recipe: Recipe, args: argparse.Namespace, end_ms: int, work: Path, console: Console) -> Column:
    column = Column(recipe.name)
    for lane, load in lanes(args, end_ms).items():
        if lane == "large" and recipe.name.startswith(("newest", "prometheus")) and not args.large_everywhere:
            continue
        if lane == "large" and recipe.cluster:
            continue
        data = work / f"{recipe.name.replace(' ', '-')}-{lane}"
        console.print(f"[dim]{recipe.name}: {lane}, {load.series:,} series x {load.steps} steps[/dim]")
        steps = list(bodies(load))
        with running(recipe, data) as server:
            column.ingest[lane] = measure_ingest(server, load, steps, args.connections)
            if lane == "ordered":
                for item in client.QUERIES:
                    column.queries[item["name"]] = client.query_cost(
                        server, item["q"], load.start_ms, load.end_ms, args.runs
                    )
                if recipe.cluster:
                    highest = column.ingest[lane].samples_per_second
                    column.push_ms = push_percentiles(server, load, highest)
                    if wanted(args, "rolling"):
                        start_ms = load.end_ms + (PACED_STEPS + 2) * load.interval_ms
                        column.rolling = rolling_restarts(
                            server, load, start_ms=start_ms, samples_per_second=highest / 2
                        )
        shutil.rmtree(data)
    return column


def push_percentiles(server: Server, load: Load, highest: float) -> tuple[float, float]:
    """p50 and p99 (ms) of pushes at half of `highest` samples a second, of the steps that follow the load."""
    later = Load(load.variant, load.series, PACED_STEPS, load.end_ms + load.interval_ms)
    seconds = client.paced(server, list(bodies(later)), PACED_CONNECTIONS, highest / 2 / load.per_request)
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
    return float(p50), float(p99)


def ingest_table(columns: list[Column]) -> Table:
    table = Table(title="ingest", title_justify="left")
    for title in ("server", "lane", "samples/s", "CPU µs/sample", "RSS MiB", "KiB/series", "WAL B/sample", "all there"):
        table.add_column(title, justify="left" if title in ("server", "lane") else "right")
    for column in columns:
        for lane, m in column.ingest.items():
            table.add_row(
                column.name, lane, f"{m.samples_per_second:,.0f}", f"{m.cpu_us:.3f}", f"{m.rss / KIB / KIB:.0f}",
                f"{m.bytes_per_series / KIB:.2f}", "-" if m.wal_per_sample is None else f"{m.wal_per_sample:.1f}",
                "yes" if m.complete else "NO",
            )  # fmt: skip
    return table


def query_table(columns: list[Column]) -> Table:
    table = Table(title="range queries: CPU ms (wall ms)", title_justify="left")
    table.add_column("query")
    for column in columns:
        table.add_column(column.name, justify="right")
    for item in client.QUERIES:
        cells = [column.queries.get(item["name"]) for column in columns]
        table.add_row(item["name"], *(f"{c.cpu_ms:.1f} ({c.wall_ms:.1f})" if c else "-" for c in cells))
    return table


def verdicts(columns: list[Column]) -> list[tuple[str, bool]]:
    """What the project holds itself to, with the figures of this run."""
    ours = columns[0]
    by_name = {c.name: c for c in columns[1:]}
    vm = next((c for n, c in by_name.items() if n.startswith("victoria")), None)
    prom = next((c for n, c in by_name.items() if n.startswith("prometheus")), None)
    newest = next((c for n, c in by_name.items() if n.startswith("newest prometheus")), None)
    out: list[tuple[str, bool]] = []
    if vm:
        for lane, m in ours.ingest.items():
            if lane in vm.ingest:
                ratio = m.cpu_us / vm.ingest[lane].cpu_us
                out.append((f"{lane}: CPU per sample {ratio:.2f} x {vm.name} (hold 0.80)", ratio <= 0.8))
    for lane, m in ours.ingest.items():
        kib = m.bytes_per_series / KIB
        out.append((f"{lane}: memory {kib:.2f} KiB per series (hold 1.50)", kib <= 1.5))
        out.append((f"{lane}: every sample counted", m.complete))
    if {"ordered", "large"} <= ours.ingest.keys():
        ratio = ours.ingest["large"].cpu_us / ours.ingest["ordered"].cpu_us
        out.append((f"large: CPU per sample {ratio:.2f} x ordered (hold 1.50)", ratio <= 1.5))
    # Versions extrapolate a counter's first window to zero in ways of their own: compare from five minutes on.
    since = next(iter(lane.load.start_ms for lane in ours.ingest.values())) / 1000 + 300
    for reference, tolerance in ((prom, 1e-9), (newest, 1e-12)):
        if reference is None or not ours.queries:
            continue
        for name, cost in ours.queries.items():
            theirs = reference.queries[name]
            if reference is prom:
                ratio = cost.cpu_ms / max(theirs.cpu_ms, 0.1)
                out.append((f"{name}: CPU {ratio:.2f} x {prom.name} (hold 1.00)", ratio <= 1.0))
            diff = client.differences(cost.result, theirs.result, tolerance, since)
            equal = "equals" if not diff else f"DIFFERS from ({diff[0]})"
            out.append((f"{name}: answer {equal} {reference.name}, tolerance {tolerance:g}", not diff))
    return out


def cluster_verdicts(columns: list[Column]) -> list[tuple[str, bool]]:
    """What three zones behind nginx are held to, with the figures of this run."""
    ours = next((c for c in columns if c.name == CLUSTER), None)
    if ours is None:
        return []
    out = []
    vm = next((c for c in columns if c.name.startswith("victoria")), None)
    for lane, m in ours.ingest.items():
        out.append((f"{CLUSTER}, {lane}: every sample counted", m.complete))
        if vm and lane in vm.ingest:
            ratio = m.cpu_us / vm.ingest[lane].cpu_us
            out.append(
                (f"{CLUSTER}, {lane}: CPU per sample {ratio:.2f} x {vm.name} (hold {RF3_HOLD:.2f})", ratio <= RF3_HOLD)
            )
    if ours.push_ms:
        p50, p99 = ours.push_ms
        text = f"{CLUSTER}: push p99 {p99:.1f} ms is {p99 / p50:.1f} x p50 {p50:.1f} ms at half of the highest rate"
        out.append((f"{text} (hold {PUSH_SPREAD_HOLD:.1f})", p99 <= PUSH_SPREAD_HOLD * p50))
    if ours.rolling:
        out += rolling_verdicts(ours.rolling)
    single = columns[0]
    for name, cost in ours.queries.items():
        if single is not ours and name in single.queries:
            diff = client.differences(cost.result, single.queries[name].result, 1e-12)
            equal = "equals" if not diff else f"DIFFERS from ({diff[0]})"
            out.append((f"{CLUSTER}, {name}: answer {equal} one process's", not diff))
    return out


def rolling_verdicts(seen: Rolling) -> list[tuple[str, bool]]:
    slowest = max(seen.restart_s, key=lambda name: seen.restart_s[name])
    out = [
        (f"rolling restarts: {what} p50 {p50:.1f} ms, p99 {p99:.1f} ms, slowest {worst:.0f} ms of {len(seconds)}", True)
        for what, seconds in (("pushes", seen.push_s), ("queries", seen.query_s))
        for p50, p99, worst in (np.percentile(seconds, (50, 99, 100)) * 1e3,)
    ]
    mean = sum(seen.restart_s.values()) / len(seen.restart_s)
    took = f"{mean:.1f} s each, most {seen.restart_s[slowest]:.1f} s ({slowest})"
    out.append((f"rolling restarts: {len(seen.restart_s)} processes, {took}", True))
    first = f", first: {seen.failures[0][:200]}" if seen.failures else ""
    out.append((f"rolling restarts: {len(seen.failures)} failures (hold 0){first}", not seen.failures))
    return out


def gossip_verdict(parts: list[float]) -> tuple[str, bool]:
    return f"gossip: {gossip_bench.in_words(parts)} (hold {GOSSIP_HOLD:.2f})", parts[-1] <= GOSSIP_HOLD


def family_lane(name: str, args: argparse.Namespace, end_ms: int, console: Console) -> list[tuple[str, bool]]:
    """Prints the tables of a lane of operator families; what is held of it."""
    results: list[tuple[str, bool]] = []
    recipes = family_recipes(args)
    for lane in query_lanes.lanes_of(name, args.days):
        with tempfile.TemporaryDirectory(prefix="mimir-rw-bench-") as work:
            queries = args.query or list(FAMILIES)
            columns = [query_lanes.measure(recipe, lane, queries, end_ms, Path(work), console) for recipe in recipes]
            console.print(query_lanes.table(lane, columns))
            if columns[0].name == "mimir-rw":
                results += query_lanes.verdicts(lane, columns)
    return results


def family_recipes(args: argparse.Namespace) -> list[Recipe]:
    """Ourselves in one process, VictoriaMetrics, and the reference."""
    binary = args.prometheus or reference_binary()
    major, minor = version_of(binary)
    experimental = ("--enable-feature=promql-experimental-functions",) if major > 2 else ()
    vm = [recipe for recipe in peers(args.newest if args.newest.is_dir() else None) if "victoria" in recipe.name]
    recipes = [
        mimir_rw("mimir-rw", "-query-frontend.enabled-promql-experimental-functions=all", *args.extra.split()),
        *vm,
        prometheus(f"prometheus {major}.{minor}", binary, *experimental),
    ]
    return [r for r in recipes if not args.only or r.name.startswith(tuple(args.only))]


def storage_lane(name: str, args: argparse.Namespace, console: Console) -> list[tuple[str, bool]]:
    binary = args.prometheus or reference_binary()
    with tempfile.TemporaryDirectory(prefix="mimir-rw-bench-") as place:
        work = Path(place)
        if name == "compaction":
            storage_lanes.compaction_lane(binary, args.series_blocks * 5, work, console)
            return []
        used = storage_lanes.recipes(binary, args.only, args.extra.split())
        compact = name == "compacting"
        return storage_lanes.blocks_lane(used, args.series_blocks, args.runs, work, console, compact=compact)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--series", type=int, default=50_000)
    parser.add_argument("--series-large", type=int, default=500_000, help="0: no large lane")
    parser.add_argument("--large-everywhere", action="store_true", help="run the large lane on every peer")
    parser.add_argument("--series-blocks", type=int, default=10_000, help="of the storage lanes; compacted are 5 x it")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--runs", type=int, default=10, help="counted runs of each query")
    parser.add_argument("--lane", action="append", choices=LANES)
    parser.add_argument("--only", action="append", help="servers whose name begins with this (mimir-rw, prometheus …)")
    parser.add_argument("--newest", type=Path, default=Path(".bench/newest/usr/bin"), help="directory of newer peers")
    parser.add_argument("--days", type=float, default=7.0, help="of the lane week")
    parser.add_argument("--query", action="append", choices=FAMILIES, help="of the lanes week and wide")
    parser.add_argument("--prometheus", default="", help="the reference of these lanes, else the newest found")
    parser.add_argument("--extra", default="", help="more flags for mimir-rw, separated by blanks")
    args = parser.parse_args()
    console = Console(width=max(120, Console().width), highlight=False)

    extra = args.extra.split()
    recipes = [mimir_rw("mimir-rw", *extra), mimir_rw_cluster(CLUSTER, *extra)]
    recipes += peers(args.newest if args.newest.is_dir() else None)
    recipes = [r for r in recipes if not args.only or r.name.startswith(tuple(args.only))] if lanes(args, 0) else []
    if recipes and not any(r.name.startswith("newest") for r in recipes):
        console.print(f"[dim]no newer peers in {args.newest} (scripts/newest-peers fetches them)[/dim]")
    end_ms = int(time.time() * 1000) // 15_000 * 15_000
    with tempfile.TemporaryDirectory(prefix="mimir-rw-bench-") as work:
        columns = [run_server(recipe, args, end_ms, Path(work), console) for recipe in recipes]
    results: list[tuple[str, bool]] = []
    if columns and columns[0].name == "mimir-rw":
        results += verdicts(columns)
    results += cluster_verdicts(columns)
    for name in FAMILY_LANES:
        if wanted(args, name):
            results += family_lane(name, args, end_ms, console)
    for name in STORAGE_LANES:
        if wanted(args, name):
            results += storage_lane(name, args, console)
    if wanted(args, "gossip"):
        console.print("[dim]gossip at rest[/dim]")
        results.append(gossip_verdict(gossip_bench.measure()))
    if columns:
        console.print(ingest_table(columns))
        console.print(query_table([c for c in columns if c.queries]))
    failed = 0
    for text, held in results:
        console.print(f"{'[green]ok  [/green]' if held else '[red]FAIL[/red]'} {text}")
        failed += not held
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
