"""Random queries: our engine and a real Prometheus give the same answers, or both fail."""

from __future__ import annotations

import math
import random
import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import MimirError
from mimir_rw.promql.engine import Engine
from mimir_rw.promql.exec.values import Vector
from tests.e2e.processes import Process, free_port, need, request
from tests.e2e.random_promql import SPAN_S, START_MS, QueryMaker, Series, make_series
from tests.unit.promql.memory_storage import MemoryQueryable

pytestmark = pytest.mark.e2e

QUERIES = 600
SEED = 20_261_120
FAILS = "fails"
# Prometheus 2.42 asks for unique matches only among the pairs that a filter keeps.
_LATER_CHECKS = ("multiple matches for labels: many-to-one",)

Answer = dict[tuple[tuple[str, str], ...], dict[int, float]] | str


def prometheus_with(rows: list[Series], directory: Path) -> Process:
    """A Prometheus over one block made of the series; not started."""
    text = directory / "series.om"
    with text.open("w") as file:
        for name in sorted({labels["__name__"] for labels, _ in rows}):
            file.write(f"# TYPE {name} unknown\n")
            file.writelines(_lines(name, rows))
        file.write("# EOF\n")
    data = directory / "data"
    tool = need("promtool", "prometheus")
    subprocess.run([tool, "tsdb", "create-blocks-from", "openmetrics", text, data], check=True, capture_output=True)
    port = free_port()
    config = directory / "prometheus.yml"
    config.write_text("")
    argv = [
        need("prometheus", "prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y",
        "--enable-feature=promql-at-modifier,promql-negative-offset",
    ]  # fmt: skip
    return Process(argv, port, "/-/ready", directory / "prometheus.log")


def _lines(name: str, rows: list[Series]) -> list[str]:
    lines = []
    for labels, points in rows:
        if labels["__name__"] == name:
            pairs = ",".join(f'{k}="{v}"' for k, v in labels.items() if k != "__name__")
            lines += [f"{name}{{{pairs}}} {_number(value)} {t / 1000:.3f}\n" for t, value in points]
    return lines


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def theirs(server: Process, query: str, times: tuple[int, int, int]) -> Answer:
    start, end, step = (t / 1000 for t in times)
    params = {"query": query, "start": f"{start}", "end": f"{end}", "step": f"{step}"}
    body = urllib.parse.urlencode(params).encode()
    answer = request(f"{server.url}/api/v1/query_range", data=body).json()
    if answer["status"] != "success":
        return FAILS
    return {
        tuple(sorted(row["metric"].items())): {round(t * 1000): float(v) for t, v in row["values"]}
        for row in answer["data"]["result"]
    }


async def ours(engine: Engine, data: MemoryQueryable, query: str, times: tuple[int, int, int]) -> tuple[Answer, str]:
    """The answer, or FAILS and why."""
    try:
        result = await engine.range(data, query, *times)
    except MimirError as error:
        return FAILS, str(error)
    assert isinstance(result.value, Vector)
    vector, at = result.value, result.steps.times()
    rows = zip(vector.labels.rows(), vector.values, vector.mask, strict=True)
    return {
        tuple(sorted(labels.items())): dict(zip(at[mask].tolist(), values[mask].tolist(), strict=True))
        for labels, values, mask in rows
    }, ""


def difference(a: Answer, b: Answer) -> str:
    if isinstance(a, str) or isinstance(b, str):
        return "" if a == b else "one of them fails"
    if a.keys() != b.keys():
        return f"series {sorted(a.keys() ^ b.keys())[:3]}"
    for labels, points in a.items():
        if points.keys() != b[labels].keys():
            return f"steps of {labels}: {sorted(points.keys() ^ b[labels].keys())[:3]}"
        wrong = [t for t, value in points.items() if not _equal(value, b[labels][t])]
        if wrong:
            return f"{labels} at {wrong[0]}: {points[wrong[0]]!r} and {b[labels][wrong[0]]!r}"
    return ""


def _equal(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


async def test_random_queries_equal_prometheus(tmp_path: Path, keep: Callable[[Process], Process]) -> None:
    rng = random.Random(SEED)
    rows = make_series(rng)
    server = keep(prometheus_with(rows, tmp_path)).start()
    engine = Engine(clock=SystemClock(), offload=InlineOffload())
    data, maker = MemoryQueryable(rows), QueryMaker(rng)
    answered, failures = 0, []
    for _ in range(QUERIES):
        query = maker.vector(rng.randint(1, 3))
        start, step = START_MS + rng.randint(0, SPAN_S) * 1000, rng.randint(1, 70) * 1000
        times = (start, start + step * rng.randint(0, 30), step)
        mine, why = await ours(engine, data, query, times)
        if why.startswith(_LATER_CHECKS):
            continue
        reference = theirs(server, query, times)
        found = difference(reference, mine)
        if found:
            failures.append(f"{query} at {times}: {found} {why}")
        answered += reference not in (FAILS, {})
    assert not failures, "\n".join(failures)
    assert answered > QUERIES // 3
