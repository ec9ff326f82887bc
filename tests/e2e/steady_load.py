"""A load whose every answer can be checked: writers push numbered steps through a gateway, readers compare answers.

Series i of `chaos` has at step k the value k * series + i, so that a sample says which one it is: one that is lost
shows as an older value, one that is doubled or invented as a wrong sum. A step is complete when every push of it was
acknowledged; readers ask only of complete steps, whose sums are known. Series of `newcomer`, if there are any, become
more with each step.
"""

from __future__ import annotations

import http.client
import json
import queue
import random
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mimir_rw.testing.remote_write import labels
from tests.bench.load import Template

SHARDS = 100
NEWCOMERS = -1
"""Stands for the push of the newcomers among the spans of a step."""
PUSH_TIMEOUT_S = 30
QUERY_TIMEOUT_S = 30


@dataclass(slots=True)
class Outcome:
    """What went wrong, each as a line with its time; empty is what a test wants."""

    writes: int = 0
    queries: int = 0
    failed_writes: list[str] = field(default_factory=list)
    failed_queries: list[str] = field(default_factory=list)
    wrong_answers: list[str] = field(default_factory=list)
    slowest_write_s: float = 0.0
    slowest_query_s: float = 0.0

    def complaint(self) -> str:
        kinds = (("failed writes", self.failed_writes), ("failed queries", self.failed_queries),
                 ("wrong answers", self.wrong_answers))  # fmt: skip
        return "\n".join(f"{len(found)} {kind}, first: {found[0]}" for kind, found in kinds if found)


class SteadyLoad:
    """Threads that write one step of all series every `interval_s` and ask a query every `query_interval_s`."""

    def __init__(
        self,
        url: str,
        *,
        series: int = 50_000,
        per_request: int = 2_000,
        interval_s: float = 2.0,
        query_interval_s: float = 0.1,
        writers: int = 4,
        readers: int = 3,
        newcomers: int = 0,
        tenant: str = "anonymous",
        seed: int = 1,
    ) -> None:
        """newcomers: series that each step has more than the one before."""
        self._host = urllib.parse.urlsplit(url).netloc
        self.series = series
        self.interval_ms = int(interval_s * 1000)
        self._query_interval_s = query_interval_s
        self._headers = {"X-Scope-OrgID": tenant}
        self._shard = np.arange(series) % SHARDS
        shard_members = [np.flatnonzero(self._shard == shard) for shard in range(SHARDS)]
        self._shard_count = np.array([len(m) for m in shard_members], dtype=float)
        self._shard_sum = np.array([m.sum() for m in shard_members], dtype=float)
        heads = [
            labels({"__name__": "chaos", "shard": str(i % SHARDS), "series": f"s{i:06d}", "job": "steady"})
            for i in range(series)
        ]
        self._spans = [(lo, min(lo + per_request, series)) for lo in range(0, series, per_request)]
        self._templates = [Template(heads[lo:hi]) for lo, hi in self._spans]
        self.start_ms = int(time.time() * 1000) // self.interval_ms * self.interval_ms
        self._newcomers = newcomers
        self._pushes = [*range(len(self._spans)), *([NEWCOMERS] if newcomers else [])]
        self.outcome = Outcome()
        self.oldest = 0
        """Steps before this one are not asked about any more."""
        self.complete = -1
        """The newest step up to which every step is wholly acknowledged."""
        self._acked: dict[int, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._work: queue.Queue[tuple[int, int] | None] = queue.Queue(maxsize=len(self._spans) * 4)
        self._rng = random.Random(seed)
        self._threads = [threading.Thread(target=self._pace, daemon=True)]
        self._threads += [threading.Thread(target=self._write, daemon=True) for _ in range(writers)]
        self._questions: queue.Queue[None] = queue.Queue(maxsize=64)
        self._threads.append(threading.Thread(target=self._pace_queries, daemon=True))
        self._threads += [threading.Thread(target=self._read, daemon=True) for _ in range(readers)]

    def time_ms(self, step: int) -> int:
        return self.start_ms + step * self.interval_ms

    def start(self) -> SteadyLoad:
        for thread in self._threads:
            thread.start()
        self.wait_steps(2)
        return self

    def wait_steps(self, steps: int, seconds: float = 120) -> None:
        """Until that many more steps are complete, which none is after a failed write."""
        target = self.complete + steps
        deadline = time.monotonic() + seconds
        while self.complete < target:
            assert not self.outcome.failed_writes, self.outcome.complaint()
            assert time.monotonic() < deadline, f"no progress: {self.outcome.complaint() or 'pushes hang'}"
            time.sleep(0.05)

    def run_for(self, seconds: float) -> None:
        time.sleep(seconds)

    def stop(self) -> Outcome:
        """End the load after the pushes and queries under way; what was seen."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PUSH_TIMEOUT_S + 10)
            assert not thread.is_alive(), "a request hangs"
        return self.outcome

    # -- writing ----------------------------------------------------------------------------------------------------

    def _pace(self) -> None:
        step = 0
        while not self._stop.is_set():
            delay = self.time_ms(step) / 1000 - time.time()
            if delay > 0 and self._stop.wait(delay):
                break
            for span in self._pushes:
                self._work.put((step, span))
            step += 1
        for _ in self._threads:
            self._work.put(None)

    def _write(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=PUSH_TIMEOUT_S)
        while (item := self._work.get()) is not None:
            step, span = item
            body = self._body(step, span)
            began = time.monotonic()
            problem = ""
            try:
                status, text = exchange(connection, "POST", "/api/v1/push", body, self._headers)
                if status // 100 != 2:
                    problem = f"{status} {text[:300]!r}"
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
                connection.close()
            took = time.monotonic() - began
            with self._lock:
                self.outcome.writes += 1
                self.outcome.slowest_write_s = max(self.outcome.slowest_write_s, took)
                if problem:
                    self.outcome.failed_writes.append(f"{_now()} after {took:.1f} s: {problem}")
                else:
                    self._acked[step] = self._acked.get(step, 0) + 1
                    while self._acked.get(self.complete + 1) == len(self._pushes):
                        self.complete += 1
        connection.close()

    def _body(self, step: int, span: int) -> bytes:
        if span == NEWCOMERS:
            count = (step + 1) * self._newcomers
            heads = [labels({"__name__": "newcomer", "series": f"n{i:06d}", "job": "steady"}) for i in range(count)]
            return Template(heads).body(np.full(count, float(step)), self.time_ms(step))
        lo, hi = self._spans[span]
        values = np.arange(lo, hi, dtype=np.float64) + float(step) * self.series
        return self._templates[span].body(values, self.time_ms(step))

    # -- reading ----------------------------------------------------------------------------------------------------

    def _pace_queries(self) -> None:
        while not self._stop.wait(self._query_interval_s):
            if self.complete >= 0:
                try:
                    self._questions.put_nowait(None)
                except queue.Full:
                    continue
        for _ in self._threads:
            self._questions.put(None)

    def _read(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=QUERY_TIMEOUT_S)
        while not self._stop.is_set():
            self._questions.get()
            with self._lock:
                newest, shard, back = self.complete, self._rng.randrange(SHARDS), self._rng.randrange(1, 30)
            oldest = max(self.oldest, newest - back)
            if newest < oldest or self._stop.is_set():
                continue
            params = {"query": f'sum(chaos{{shard="{shard}"}})', "start": self.time_ms(oldest) / 1000,
                      "end": self.time_ms(newest) / 1000, "step": self.interval_ms / 1000}  # fmt: skip
            began = time.monotonic()
            try:
                data = self._ask(connection, "query_range", params)
                problem, wrong = "", self._check(data, shard, oldest, newest)
            except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
                problem, wrong = f"{type(error).__name__}: {error}", ""
                connection.close()
            took = time.monotonic() - began
            with self._lock:
                self.outcome.queries += 1
                self.outcome.slowest_query_s = max(self.outcome.slowest_query_s, took)
                if problem:
                    self.outcome.failed_queries.append(f"{_now()} after {took:.1f} s: {problem}")
                if wrong:
                    self.outcome.wrong_answers.append(f"{_now()}: {wrong}")
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, path: str, params: dict[str, Any]) -> Any:
        url = f"/prometheus/api/v1/{path}?{urllib.parse.urlencode(params)}"
        status, body = exchange(connection, "GET", url, None, self._headers)
        assert status == 200, f"{status} {body[:300]!r}"
        return json.loads(body)["data"]["result"]

    def _check(self, result: Any, shard: int, oldest: int, newest: int) -> str:
        """ "" when the sums are right, else what differs."""
        if len(result) != 1:
            return f"{len(result)} series for shard {shard}"
        got = {round(float(t) * 1000): float(v) for t, v in result[0]["values"]}
        for step in range(oldest, newest + 1):
            want = self._shard_sum[shard] + self._shard_count[shard] * step * self.series
            if got.get(self.time_ms(step)) != want:
                return f"shard {shard} step {step} (of {oldest}..{newest}): {got.get(self.time_ms(step))}, not {want}"
        return ""

    # -- the end ----------------------------------------------------------------------------------------------------

    def audit(self, shards: range = range(SHARDS)) -> list[str]:
        """Read every sample of every series and hold it against what was acknowledged; the complaints. Of steps before
        `oldest` samples may be missing.

        Steps that were not wholly acknowledged may be there in part; no sample may be wrong, doubled or invented.
        """
        connection = http.client.HTTPConnection(self._host, timeout=120)
        window_s = (int(time.time() * 1000) - self.start_ms) // 1000 + 60
        at = (self.start_ms + window_s * 1000) / 1000
        complaints: list[str] = []
        for shard in shards:
            params = {"query": f'chaos{{shard="{shard}"}}[{window_s + 60}s]', "time": at}
            result = self._ask(connection, "query", params)
            if len(result) != self._shard_count[shard]:
                complaints.append(f"shard {shard}: {len(result)} series, not {self._shard_count[shard]:.0f}")
            for row in result:
                complaints += self._audit_series(int(row["metric"]["series"][1:]), row["values"])
        if self._newcomers:
            complaints += self._audit_newcomers(connection)
        connection.close()
        return complaints

    def _audit_newcomers(self, connection: http.client.HTTPConnection) -> list[str]:
        params = {"query": "count(newcomer)", "time": self.time_ms(self.complete) / 1000}
        result = self._ask(connection, "query", params)
        got, want = [int(row["value"][1]) for row in result], (self.complete + 1) * self._newcomers
        return [] if got == [want] else [f"{got} newcomers, not {want}"]

    def _audit_series(self, series: int, values: list[tuple[float, str]]) -> list[str]:
        steps = [(round(float(t) * 1000) - self.start_ms) / self.interval_ms for t, _ in values]
        if len(set(steps)) != len(steps):
            return [f"series {series}: a step twice"]
        bad = [(t, v) for t, (_, v) in zip(steps, values, strict=True) if float(v) != t * self.series + series]
        if bad:
            return [f"series {series}: step {bad[0][0]} has {bad[0][1]}"]
        missing = set(range(self.oldest, self.complete + 1)) - {int(t) for t in steps}
        return [f"series {series}: acknowledged steps {sorted(missing)[:5]} are gone"] if missing else []


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    """Status and body. A kept connection that the server has closed meanwhile, as nginx does when it takes another
    configuration, is opened anew once, as every HTTP client does."""
    kept = connection.sock is not None
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
    except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
        connection.close()
        if not kept:
            raise
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
    return answer.status, answer.read()


def _now() -> str:
    return time.strftime("%H:%M:%S")
