"""Restarts of every process of a cluster, one after another, under pushes and queries at a steady rate."""

from __future__ import annotations

import http.client
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.bench import client
from tests.bench.load import Load, bodies
from tests.bench.servers import Server

CONNECTIONS = 16
QUERY_INTERVAL_S = 0.2
SETTLE_S = 2.0
"""Between two restarts, and before the first."""
STEPS_MAX = 100_000
_PREFETCHED_STEPS = 4


@dataclass(slots=True)
class Rolling:
    """Seconds of each push from the moment it was due, of each query, and of each restart from SIGTERM to readiness."""

    push_s: list[float] = field(default_factory=list)
    query_s: list[float] = field(default_factory=list)
    restart_s: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def rolling_restarts(server: Server, load: Load, *, start_ms: int, samples_per_second: float) -> Rolling:
    """load: what the queries ask about. start_ms: time of the first sample pushed; from then on samples keep to the
    clock, as they would be too far in the future or old otherwise."""
    assert server.cluster is not None
    seen = Rolling()
    interval_ms = max(1, round(1000 * load.series / samples_per_second))
    later = Load(load.variant, load.series, STEPS_MAX, start_ms, load.per_request, interval_ms)
    stop = threading.Event()
    due = _Due(later, samples_per_second / load.per_request, stop)
    threads = [threading.Thread(target=_push, args=(server, due, seen), daemon=True) for _ in range(CONNECTIONS)]
    threads.append(threading.Thread(target=_query, args=(server, load, stop, seen), daemon=True))
    for thread in threads:
        thread.start()
    try:
        for name in server.cluster.names():
            time.sleep(SETTLE_S)
            began = time.perf_counter()
            server.cluster.terminate(name)
            server.cluster.restart(name)
            seen.restart_s[name] = time.perf_counter() - began
        time.sleep(SETTLE_S)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return seen


class _Due:
    """Bodies, each with the moment when it is to be sent, for several threads; made a little ahead."""

    def __init__(self, load: Load, per_second: float, stop: threading.Event) -> None:
        self._load, self._per_second, self._stop = load, per_second, stop
        self._made: queue.Queue[bytes] = queue.Queue(_PREFETCHED_STEPS * -(-load.series // load.per_request))
        self._lock = threading.Lock()
        self._taken = 0
        threading.Thread(target=self._make, daemon=True).start()
        self._began = time.perf_counter()

    def __iter__(self) -> Iterator[tuple[float, bytes]]:
        while not self._stop.is_set():
            with self._lock:
                moment = self._began + self._taken / self._per_second
                self._taken += 1
                try:
                    body = self._made.get(timeout=1)
                except queue.Empty:
                    continue
            time.sleep(max(0.0, moment - time.perf_counter()))
            yield moment, body

    def _make(self) -> None:
        for step in bodies(self._load):
            for body in step:
                while True:
                    try:
                        self._made.put(body, timeout=1)
                        break
                    except queue.Full:
                        if self._stop.is_set():
                            return


def _push(server: Server, due: _Due, seen: Rolling) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for moment, body in due:
        try:
            client.post(server, connection, body)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            seen.failures.append(f"push: {type(error).__name__}: {error}")
            connection.close()
        seen.push_s.append(time.perf_counter() - moment)
    connection.close()


def _query(server: Server, load: Load, stop: threading.Event, seen: Rolling) -> None:
    number = 0
    while not stop.wait(QUERY_INTERVAL_S):
        asked = client.QUERIES[number % len(client.QUERIES)]["q"]
        number += 1
        began = time.perf_counter()
        try:
            client.ask(
                server, "/api/v1/query_range", query=asked, start=load.start_ms / 1000, end=load.end_ms / 1000, step=15
            )
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            seen.failures.append(f"query: {type(error).__name__}: {error}")
        seen.query_s.append(time.perf_counter() - began)
