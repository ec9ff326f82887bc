"""`make bench ARGS='--lane week'` and `--lane wide`: every operator family beside Prometheus and VictoriaMetrics.

*week*: 10 and 1,000 series of each metric over seven days at 15 s, asked at steps of 300 s over all of it; *wide*:
100,000 series over one hour, at steps of 15 s. Series and queries are those of `families.py`. Each server is filled
alone with the same bodies; CPU is that of its process, memory how much its peak is above what it held before the
query. Answers are compared with Prometheus'.
"""

from __future__ import annotations

import json
import pickle
import re
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tests.bench import client
from tests.bench.families import FAMILIES, INTERVAL_MS, METRICS, NATIVE, FamilyLoad, bodies
from tests.bench.servers import Recipe, Server, running

CPU_HOLD = 0.5
"""Of Prometheus' CPU, from a thousand series on."""
MEMORY_HOLD = 1 / 3
"""Of how much Prometheus grows, of the query below over a hundred thousand series."""
WIDE_QUERY = "sum_by_rate"
CPU_SECONDS_MIN = 0.2
RUNS_MAX = 20
TOLERANCE = 1e-9
_AGGREGATES = re.compile(r"(sum|avg|min|max|count|group|stddev|topk|bottomk|limitk|quantile|count_values|absent)\b[^_]")


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    series: int
    steps: int
    """Scrapes."""
    step_s: int
    """Of the queries."""

    def load(self, end_ms: int, queries: list[str], *, native: bool) -> FamilyLoad:
        """Only the metrics that the queries ask for."""
        asked = [metric for metric in METRICS if any(metric in FAMILIES[name] for name in queries)]
        return FamilyLoad(self.series, self.steps, end_ms, tuple(m for m in asked if native or m != NATIVE))

    def query(self, name: str) -> str:
        """A hundred thousand series as an answer would measure JSON and little else: they are added up."""
        query = FAMILIES[name]
        return query if self.name != "wide" or _AGGREGATES.match(query) else f"sum by (job) ({query})"


def lanes_of(name: str, days: float) -> list[Lane]:
    week = int(days * 86_400_000) // INTERVAL_MS
    return (
        [Lane("week", 10, week, 300), Lane("week", 1_000, week, 300)]
        if name == "week"
        else [Lane("wide", 100_000, 240, 15)]
    )


@dataclass(frozen=True, slots=True)
class Matrix:
    """An answer: times and values of each series by its labels as JSON; histograms as they came."""

    floats: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    histograms: dict[str, list[list[Any]]]

    @classmethod
    def of(cls, result: list[dict[str, Any]]) -> Matrix:
        floats, histograms = {}, {}
        for row in result:
            key = json.dumps(row["metric"], sort_keys=True)
            if "values" in row:
                times = np.array([point[0] for point in row["values"]], dtype=np.float64)
                floats[key] = times, np.array([point[1] for point in row["values"]]).astype(np.float64)
            if "histograms" in row:
                histograms[key] = row["histograms"]
        return cls(floats, histograms)


@dataclass(frozen=True, slots=True)
class Cost:
    cpu_ms: float
    wall_ms: float
    growth: int
    """Bytes."""
    answer: Path
    """A pickled `Matrix`: all of them together are gigabytes."""


@dataclass(slots=True)
class Column:
    name: str
    ingest_s: float = 0.0
    costs: dict[str, Cost | str] = field(default_factory=dict)
    """By query; a text where there was no answer."""


def measure(recipe: Recipe, lane: Lane, queries: list[str], end_ms: int, work: Path, console: Console) -> Column:
    column = Column(recipe.name)
    place = recipe.name.replace(" ", "-")
    console.print(f"[dim]{recipe.name}: {lane.name}, {lane.series:,} series x {lane.steps:,} scrapes[/dim]")
    load = lane.load(end_ms, queries, native=recipe.native_histograms)
    with running(recipe, work / place) as server:
        column.ingest_s = client.replay(server, bodies(load), 2)
        settle(server)
        for name in queries:
            if NATIVE in FAMILIES[name] and not recipe.native_histograms:
                column.costs[name] = "no native histograms"
                continue
            column.costs[name] = ask(server, load, lane, name, work / f"{place}.{name}")
    return column


def settle(server: Server) -> None:
    """Wait until what the load has started (compactions, flushes) is over: two idle seconds, at most five minutes."""
    for _ in range(150):
        before = server.cpu_seconds()
        time.sleep(2)
        if server.cpu_seconds() - before < 0.1:
            return


def ask(server: Server, load: FamilyLoad, lane: Lane, name: str, answer: Path) -> Cost | str:
    """Once to warm, then until it has cost enough CPU to be told. Each run has a range of its own, which no cache has,
    with steps between the samples, where left-open and closed windows agree."""
    walls: list[float] = []
    cpu, growth = 0.0, 0
    while len(walls) < 3 or (server.cpu_seconds() - cpu < CPU_SECONDS_MIN and len(walls) < RUNS_MAX):
        if len(walls) == 1:
            cpu = server.cpu_seconds()
        server.forget_peak()
        resting, began = server.rss(), time.perf_counter()
        try:
            data = client.ask(
                server, "/api/v1/query_range", query=lane.query(name), step=lane.step_s,
                start=f"{load.start_ms / 1000 + 1201.5 + 0.25 * len(walls):.3f}", end=f"{load.end_ms / 1000:.3f}",
            )  # fmt: skip
        except RuntimeError as error:
            return str(error)
        walls.append(time.perf_counter() - began)
        growth = max(growth, server.peak_rss() - resting)
        if len(walls) == 1:
            answer.write_bytes(pickle.dumps(Matrix.of(data["result"])))
        del data
    runs = len(walls) - 1
    return Cost((server.cpu_seconds() - cpu) / runs * 1e3, statistics.median(walls[1:]) * 1e3, growth, answer)


def difference(ours: Matrix, theirs: Matrix, *, choosing: bool) -> str:
    """The first difference in words, "" for none. choosing: which of equals is taken is the server's choice, so only
    how many there are at each step counts, and their values."""
    if choosing:
        return "" if _values_by_step(ours) == _values_by_step(theirs) else "other values are chosen"
    for what, a, b in (
        ("floats", ours.floats.keys(), theirs.floats.keys()),
        ("histograms", ours.histograms.keys(), theirs.histograms.keys()),
    ):
        if a != b:
            return f"{what} of {min(a ^ b)} on one side only"
    for key, (times, values) in ours.floats.items():
        other_times, others = theirs.floats[key]
        if not np.array_equal(times, other_times):
            return f"{key}: other times"
        wrong = ~np.isclose(values, others, rtol=TOLERANCE, atol=0, equal_nan=True)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            return f"{key} at {times[at]}: {values[at]} instead of {others[at]}"
    wrong_keys = (
        key for key, points in ours.histograms.items() if not client.equal(points, theirs.histograms[key], TOLERANCE)
    )
    return next((f"{key}: other histograms" for key in wrong_keys), "")


def _values_by_step(matrix: Matrix) -> dict[float, list[float]]:
    out: dict[float, list[float]] = {}
    for times, values in matrix.floats.values():
        for at, value in zip(times.tolist(), values.tolist(), strict=True):
            out.setdefault(at, []).append(value)
    return {at: sorted(values) for at, values in out.items()}


def table(lane: Lane, columns: list[Column]) -> Table:
    title = f"{lane.name}, {lane.series:,} series: CPU ms (MiB of memory)"
    out = Table(title=title, title_justify="left")
    out.add_column("query")
    for column in columns:
        out.add_column(column.name, justify="right")
    for name in columns[0].costs:
        cells = [column.costs[name] for column in columns]
        texts = [f"{c.cpu_ms:.1f} ({c.growth / 2**20:.0f})" if isinstance(c, Cost) else "-" for c in cells]
        out.add_row(name, *texts)
    return out


def verdicts(lane: Lane, columns: list[Column]) -> list[tuple[str, bool]]:
    """What the project holds itself to, with the figures of this run. Our column is the first, Prometheus' the last."""
    ours, prometheus = columns[0], columns[-1]
    if not prometheus.name.startswith("prometheus"):
        return []
    out: list[tuple[str, bool]] = []
    for name, cost in ours.costs.items():
        where = f"{lane.name}, {lane.series:,} series, {name}"
        theirs = prometheus.costs[name]
        if not isinstance(cost, Cost) or not isinstance(theirs, Cost):
            out.append((f"{where}: no answer: {cost if isinstance(cost, str) else theirs}", False))
            continue
        if lane.series >= 1_000:
            ratio = cost.cpu_ms / max(theirs.cpu_ms, 0.1)
            out.append((f"{where}: CPU {ratio:.2f} x {prometheus.name} (hold {CPU_HOLD:.2f})", ratio <= CPU_HOLD))
        found = difference(
            _read(cost.answer), _read(theirs.answer), choosing=name.startswith(("topk", "bottomk", "limit"))
        )
        out.append((f"{where}: answer {f'DIFFERS ({found}) from' if found else 'equals'} {prometheus.name}", not found))
        if lane.name == "wide" and name == WIDE_QUERY:
            out += _wide_verdicts(where, cost, theirs, columns)
    return out


def _wide_verdicts(where: str, cost: Cost, theirs: Cost, columns: list[Column]) -> list[tuple[str, bool]]:
    share = cost.growth / max(theirs.growth, 1)
    text = f"{where}: memory grows by {share:.2f} x {columns[-1].name} (hold {MEMORY_HOLD:.2f})"
    out = [(text, share <= MEMORY_HOLD)]
    for other in columns[1:-1]:
        peer = other.costs[WIDE_QUERY]
        if isinstance(peer, Cost):
            ratio = cost.cpu_ms / peer.cpu_ms
            out.append((f"{where}: CPU {ratio:.2f} x {other.name} (hold 1.00)", ratio <= 1.0))
    return out


def _read(answer: Path) -> Matrix:
    matrix = pickle.loads(answer.read_bytes())
    assert isinstance(matrix, Matrix)
    return matrix
