"""Drives one server: posts bodies over a few connections, asks queries, counts."""

from __future__ import annotations

import http.client
import json
import queue
import statistics
import time
import urllib.parse
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.load import METRICS
from tests.bench.servers import Server

QUERIES: list[dict[str, str]] = json.loads((Path(__file__).parent / "queries.json").read_text())
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": "mimir-rw-bench",
    "X-Scope-OrgID": "anonymous",
}


@dataclass(frozen=True, slots=True)
class QueryCost:
    cpu_ms: float
    wall_ms: float
    result: list[dict[str, Any]]


def replay(server: Server, steps: Iterable[list[bytes]], connections: int) -> float:
    """Post every body, steps one after another; raise on the first refusal. Returns the seconds spent posting."""
    spent = 0.0
    with ThreadPoolExecutor(connections) as pool:
        clients = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=120) for _ in range(connections)]
        for bodies in steps:
            shares = [bodies[i::connections] for i in range(connections)]
            start = time.perf_counter()
            for done in [pool.submit(_post_all, server, c, s) for c, s in zip(clients, shares, strict=True)]:
                done.result()
            spent += time.perf_counter() - start
        for c in clients:
            c.close()
    return spent


def _post_all(server: Server, client: http.client.HTTPConnection, bodies: list[bytes]) -> None:
    for body in bodies:
        post(server, client, body)


def post(server: Server, client: http.client.HTTPConnection, body: bytes) -> None:
    """Raises RuntimeError when it is refused."""
    client.request("POST", server.recipe.push_path, body, HEADERS)
    answer = client.getresponse()
    text = answer.read()
    if answer.status // 100 != 2:
        raise RuntimeError(f"{server.recipe.name} answered {answer.status}: {text[:500]!r}")


def paced(server: Server, steps: Iterable[list[bytes]], connections: int, per_second: float) -> list[float]:
    """Post the bodies at a steady rate, each at its own moment over whichever connection is free; the seconds that each
    took from the moment it was due (waiting for a connection counts)."""
    bodies = [body for step in steps for body in step]
    clients: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()
    for _ in range(connections):
        clients.put(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120))

    def send(due: float, body: bytes) -> float:
        client = clients.get()
        try:
            post(server, client, body)
        finally:
            clients.put(client)
        return time.perf_counter() - due

    began = time.perf_counter()
    waiting = []
    with ThreadPoolExecutor(connections) as pool:
        for i, body in enumerate(bodies):
            due = began + i / per_second
            time.sleep(max(0.0, due - time.perf_counter()))
            waiting.append(pool.submit(send, due, body))
        seconds = [each.result() for each in waiting]
    while not clients.empty():
        clients.get().close()
    return seconds


def ask(server: Server, path: str, **params: str | float) -> Any:
    """POST a query; returns `data` of a success answer."""
    body = urllib.parse.urlencode(params) + (f"&{server.recipe.query_extra}" if server.recipe.query_extra else "")
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Scope-OrgID": "anonymous",
        "Cache-Control": "no-store",
        "Accept-Encoding": "identity",
    }
    client.request("POST", server.recipe.query_prefix + path, body, headers)
    answer = client.getresponse()
    text = answer.read()
    client.close()
    if answer.status != 200:
        raise RuntimeError(f"{server.recipe.name} answered {answer.status} to {params}: {text[:500]!r}")
    return json.loads(text)["data"]


def count_samples(server: Server, end_ms: int, window_s: int, expected: int) -> int:
    """Samples that a query sees; waits up to ten seconds for servers that show new samples late."""
    deadline = time.monotonic() + 10
    while True:
        query = " + ".join(f"sum(count_over_time({name}[{window_s}s]))" for name in METRICS)
        result = ask(server, "/api/v1/query", query=query, time=end_ms / 1000 + 1)["result"]
        seen = int(float(result[0]["value"][1])) if result else 0
        if seen == expected or time.monotonic() > deadline:
            return seen
        time.sleep(0.5)


def query_cost(server: Server, query: str, start_ms: int, end_ms: int, runs: int, step_s: int = 15) -> QueryCost:
    """Cost of a range query, once to warm and then `runs` times, each over a range of its own so that no cache of
    results answers. The steps lie between the samples, where left-open and closed windows agree."""
    walls: list[float] = []
    cpu = 0.0
    result: list[dict[str, Any]] = []
    for run in range(runs + 1):
        if run == 1:
            cpu = server.cpu_seconds()
        start = start_ms / 1000 + 1.5 + 0.25 * run
        began = time.perf_counter()
        data = ask(
            server, "/api/v1/query_range", query=query, start=f"{start:.3f}", end=f"{end_ms / 1000:.3f}", step=step_s
        )
        walls.append(time.perf_counter() - began)
        result = data["result"]
    return QueryCost((server.cpu_seconds() - cpu) / runs * 1e3, statistics.median(walls[1:]) * 1e3, result)


def differences(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], tolerance: float, since_s: float = 0
) -> list[str]:
    """What differs between two matrices, at most a few lines; [] when equal within a relative tolerance. Points before
    `since_s` are passed over."""

    def index(rows: list[dict[str, Any]]) -> dict[str, list[list[Any]]]:
        points = ((row["metric"], [v for v in row["values"] if v[0] >= since_s]) for row in rows)
        return {json.dumps(metric, sort_keys=True): values for metric, values in points if values}

    a, b = index(ours), index(theirs)
    out = [f"only ours: {k}" for k in sorted(a.keys() - b.keys())[:2]]
    out += [f"only theirs: {k}" for k in sorted(b.keys() - a.keys())[:2]]
    for key in sorted(a.keys() & b.keys()):
        if [t for t, _ in a[key]] != [t for t, _ in b[key]]:
            out.append(f"{key}: other timestamps")
        else:
            pairs = zip(a[key], b[key], strict=True)
            bad = [(t, v, w) for (t, v), (_, w) in pairs if not equal(v, w, tolerance)]
            if bad:
                out.append(f"{key}: at {bad[0][0]} ours {bad[0][1]}, theirs {bad[0][2]}")
        if len(out) > 4:
            break
    return out


def equal(a: Any, b: Any, tolerance: float) -> bool:
    """Numbers, or lists and objects of them, within a relative tolerance."""
    if a == b:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key], tolerance) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y, tolerance) for x, y in zip(a, b, strict=True))
    x, y = float(a), float(b)
    return abs(x - y) <= tolerance * max(abs(x), abs(y))
