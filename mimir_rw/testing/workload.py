"""Clients of a simulated cluster: writers that push known samples, readers that hold every answer against the history.

A write that fails at the gateway is a complaint, and is sent again as Prometheus does it; so is a query that fails, or
whose answer cannot be true.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from mimir_rw.testing.clock import EPOCH_MS
from mimir_rw.testing.gateway import Gateway, Reply
from mimir_rw.testing.history import History, Points, Window
from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.samples import METRIC

READ_BACK = 0.3
"""Chance that a writer looks at once whether what it wrote is there."""
RETRY_S = 1.0
RETRIES_MAX = 30
WINDOW_MS_MAX = 240_000
COUNTED_MS = 60_000
STEP_MS = 15_000
STEPS = 12
_COUNT = f"sum(count_over_time({METRIC}[{COUNTED_MS}ms]))"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back is asked: for how long, and until how long ago."""

    window_ms: int = WINDOW_MS_MAX
    ago_ms: int = 300_000


NEAR = Reach()


class Workload:
    def __init__(
        self,
        *,
        loop: SimLoop,
        rng: Random,
        gateway: Gateway,
        history: History,
        writers: Callable[[], Sequence[str]],
        readers: Sequence[str],
        forgiving: bool = False,
        excused: Callable[[float], bool] = lambda begun_s: False,
        reach: Reach = NEAR,
    ) -> None:
        """writers, readers: hosts that take writes and queries. forgiving: a request may fail; an answer is held to the
        truth all the same. excused: whether a query that began then may fail."""
        self.complaints: list[str] = []
        self.writes = 0
        self.reads = 0
        self._loop = loop
        self._rng = rng
        self._gateway = gateway
        self._history = history
        self._plan = history.plan
        self._writers = writers
        self._readers = list(readers)
        self.forgiving = forgiving
        self._excused = excused
        self._reach = reach
        self._questions = (self._read_points, self._read_points, self._count, self._count_steps, self._read_names)

    # -- writes -----------------------------------------------------------------------------------------------------

    async def write(self, share: int, shares: int, *, until_s: float) -> None:
        """Push every shares-th series, at each tick all samples that are due, until that time of the loop."""
        sent_ticks = 0
        while self._loop.time() < until_s:
            tick = int((self._now_ms() - self._plan.start_ms) // self._plan.interval_ms)
            if tick >= sent_ticks:
                await self._push(share, shares, range(sent_ticks, tick + 1))
                sent_ticks = tick + 1
            next_ms = self._plan.start_ms + sent_ticks * self._plan.interval_ms
            # Half of the pushes come at one moment, for those that share a message.
            late_s = self._rng.choice((0.0, 0.2 * self._rng.random()))
            await asyncio.sleep(max(0.0, (next_ms - self._now_ms()) / 1000) + late_s)

    async def _push(self, share: int, shares: int, ticks: range) -> None:
        plan = self._plan
        rows = []
        for series in range(share, plan.series_at(ticks[-1]), shares):
            sequences = [tick - plan.born(series) for tick in ticks if tick >= plan.born(series)]
            rows.append((series, sequences))
            for sequence in sequences:
                self._history.sent(series, sequence, self._loop.time())
        body = plan.body(rows)
        if not await self._taken(body):
            return
        self.writes += 1
        for series, sequences in rows:
            for sequence in sequences:
                self._history.acknowledged(series, sequence, self._loop.time())
        if self._readers and self._rng.random() < READ_BACK:
            asked = sorted(series for series, _ in self._rng.sample(rows, min(3, len(rows))))
            await self.read_points(asked, end_ms=self._now_ms() + 1_000, window_ms=WINDOW_MS_MAX)

    async def _taken(self, body: bytes) -> bool:
        """Send until it is taken; False when it is refused for its own fault, or nobody would take it."""
        for _ in range(RETRIES_MAX):
            reply = await self._gateway.ask(self._writers(), "push", self._plan.tenant, body)
            if reply.status == 200:
                return True
            self._complain("write", reply)
            if 400 <= reply.status < 500 and reply.status != 429:
                return False
            await asyncio.sleep(RETRY_S)
        return False

    # -- reads ------------------------------------------------------------------------------------------------------

    async def read(self, *, every_s: float, until_s: float) -> None:
        """Ask questions of all kinds, again and again."""
        while self._loop.time() < until_s:
            await asyncio.sleep(every_s * (0.5 + self._rng.random()))
            await self._rng.choice(self._questions)()

    async def _read_points(self) -> None:
        series = self._history.series
        if series:
            asked = sorted(self._rng.sample(series, self._rng.randint(1, min(6, len(series)))))
            await self.read_points(asked, end_ms=self._moment(), window_ms=self._window_ms())

    async def read_points(
        self, asked: Sequence[int], *, end_ms: int, window_ms: int, readers: Sequence[str] = ()
    ) -> None:
        """Ask for the samples of these series, and complain about what is wrong with the answer."""
        text = f'{METRIC}{{series=~"{"|".join(map(str, asked))}"}}[{window_ms}ms]'
        answer, window = await self._ask(text, end_ms, window_ms, readers)
        if answer is None:
            return
        points = {int(row["metric"]["series"]): _points(row["values"]) for row in answer}
        if len(points) != len(answer):
            self.complaints.append(f"{text} at {end_ms}: a series is there twice")
        for complaint in self._history.complaints(points, window, asked):
            self.complaints.append(f"{text} at {end_ms}, asked at {window.begun_s:.3f}: {complaint}")

    async def _count(self) -> None:
        end_ms = self._moment()
        answer, window = await self._ask(_COUNT, end_ms, COUNTED_MS)
        if answer is not None:
            self._check_count(float(answer[0]["value"][1]) if answer else 0.0, window)

    async def _count_steps(self) -> None:
        end_ms, begun_s = self._moment(), self._loop.time()
        start_ms = end_ms - STEPS * STEP_MS
        reply = await self._gateway.ask(
            self._readers, "query_range", self._plan.tenant, _COUNT, start_ms, end_ms, STEP_MS
        )  # fmt: skip
        result = self._result(f"query_range {_COUNT}", reply, begun_s)
        if result is None:
            return
        counts = {at_ms: count for row in result for at_ms, count in _points(row["values"])}
        for at_ms in range(start_ms, end_ms + 1, STEP_MS):
            window = Window(at_ms - COUNTED_MS, at_ms, begun_s, self._loop.time())
            self._check_count(counts.get(at_ms, 0.0), window)

    def _check_count(self, count: float, window: Window) -> None:
        complaint = self._history.count_complaint(count, window, self._history.series)
        if complaint is not None:
            self.complaints.append(f"{_COUNT} at {window.end_ms}, asked at {window.begun_s:.3f}: {complaint}")

    async def _read_names(self) -> None:
        """Values of the label `series`: heads know names for longer than any window, so more than asked for is fine."""
        end_ms, begun_s = self._moment(), self._loop.time()
        start_ms = end_ms - self._window_ms()
        reply = await self._gateway.ask(
            self._readers, "label_values", self._plan.tenant, "series", start_ms, end_ms
        )  # fmt: skip
        self.reads += 1
        if reply.status != 200:
            self._complain_of_query("label values", reply, begun_s)
            return
        window = Window(start_ms, end_ms, begun_s, self._loop.time())
        there = {int(value) for value in reply.answer}
        known = self._history.series
        missing = [n for n in known if n not in there and self._history.must_have(n, window)]
        if missing or not there <= set(known):
            self.complaints.append(f"label values at {end_ms} lack {missing}, invent {sorted(there - set(known))}")

    async def _ask(
        self, text: str, end_ms: int, window_ms: int, readers: Sequence[str] = ()
    ) -> tuple[list[Any] | None, Window]:
        begun_s = self._loop.time()
        reply = await self._gateway.ask(readers or self._readers, "query", self._plan.tenant, text, end_ms)
        window = Window(end_ms - window_ms, end_ms, begun_s, self._loop.time())
        return self._result(f"query {text}", reply, begun_s), window

    def _result(self, what: str, reply: Reply, begun_s: float) -> list[Any] | None:
        """The rows of an answer; None, and a complaint, if it failed."""
        self.reads += 1
        if reply.status != 200:
            self._complain_of_query(what, reply, begun_s)
            return None
        result: list[Any] = json.loads(reply.answer)["data"]["result"]
        return result

    def _complain(self, what: str, reply: Reply) -> None:
        if not self.forgiving:
            self.complaints.append(f"{what} failed at {self._loop.time():.3f}: {'; '.join(reply.tries)}")

    def _complain_of_query(self, what: str, reply: Reply, begun_s: float) -> None:
        if not self._excused(begun_s):
            self._complain(what, reply)

    def _window_ms(self) -> int:
        return self._rng.randint(1_000, self._reach.window_ms)

    def _moment(self) -> int:
        """Mostly now, sometimes some time ago."""
        ago_ms = 0 if self._rng.random() < 0.6 else self._rng.randint(0, self._reach.ago_ms)
        return max(self._plan.start_ms, self._now_ms() - ago_ms)

    def _now_ms(self) -> int:
        return EPOCH_MS + int(self._loop.time() * 1000)


def _points(values: Sequence[tuple[float, str]]) -> Points:
    return [(round(time_s * 1000), float(value)) for time_s, value in values]
