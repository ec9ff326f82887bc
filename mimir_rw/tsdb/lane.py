"""A tenant's lane: the only writer of its head.

Pushes queue here; one task takes everything that waits (up to a bound) and appends it as one group, so that pushes
which arrive together share a WAL write. Other changes of the head take their turn among them. Results keep the order
of the pushes. Lives on one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mimir_rw._native import AppendResult, WriteBatch
from mimir_rw.model.errors import Unavailable

WAITING_BATCHES_MAX = 10_000
"""Pushes that may wait in one lane."""
WAITING_SAMPLES_MAX = 8_000_000
"""Samples that may wait in one lane."""
GROUP_SAMPLES_MAX = 200_000
"""Samples after which a group is closed: what a push may have to wait for at most, and what a selection may."""

AppendGroup = Callable[[Sequence[WriteBatch]], Awaitable[list[AppendResult]]]
Change = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Push:
    batch: WriteBatch
    future: asyncio.Future[AppendResult]


@dataclass(frozen=True, slots=True)
class _Turn:
    change: Change
    future: asyncio.Future[None]


class Lane:
    def __init__(
        self,
        *,
        append: AppendGroup,
        waiting_batches_max: int = WAITING_BATCHES_MAX,
        waiting_samples_max: int = WAITING_SAMPLES_MAX,
        group_samples_max: int = GROUP_SAMPLES_MAX,
    ) -> None:
        """append: stores a group, one result per batch in order; what it raises is raised to every push of it."""
        self._append = append
        self._waiting: deque[_Push | _Turn] = deque()
        self._waiting_batches_max = waiting_batches_max
        self._waiting_samples_max = waiting_samples_max
        self._group_samples_max = group_samples_max
        self._samples = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed: str | None = None

    def push(self, batch: WriteBatch) -> asyncio.Future[AppendResult]:
        """Append a batch in its turn, which is taken at once. Raises Unavailable when too much waits or the lane is
        closed; the future may raise it too.

        A caller that is cancelled leaves; its batch may be stored all the same.
        """
        if self._closed is not None:
            raise Unavailable(self._closed)
        samples = batch.sample_count
        full = len(self._waiting) >= self._waiting_batches_max
        if full or (self._waiting and self._samples + samples > self._waiting_samples_max):
            raise Unavailable("too many pushes of this tenant are waiting; try again later")
        future: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        self._samples += samples
        self._enqueue(_Push(batch, future))
        return future

    def change(self, change: Change) -> asyncio.Future[None]:
        """Run something else that changes the head, in its turn, which is taken at once. Raises Unavailable when the
        lane is closed; the future raises what `change` does."""
        if self._closed is not None:
            raise Unavailable(self._closed)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._enqueue(_Turn(change, future))
        return future

    async def run(self) -> None:
        """Append groups for as long as the task lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._next()
            self._idle.set()

    def close(self, reason: str) -> None:
        """Refuse pushes from now on with Unavailable(reason); those waiting are still appended."""
        self._closed = reason

    def fail(self, reason: str) -> None:
        """Close, and refuse those that wait too."""
        self.close(reason)
        for waiting in self._waiting:
            if not waiting.future.done():
                waiting.future.set_exception(Unavailable(reason))
        self._waiting.clear()
        self._samples = 0
        self._idle.set()

    async def drained(self) -> None:
        """Wait until nothing waits and no group is being appended."""
        await self._idle.wait()

    def _enqueue(self, waiting: _Push | _Turn) -> None:
        self._waiting.append(waiting)
        self._idle.clear()
        self._wake.set()

    async def _next(self) -> None:
        first = self._waiting.popleft()
        if isinstance(first, _Push):
            await self._append_group(self._group(first))
        else:
            await _run(first)

    def _group(self, first: _Push) -> list[_Push]:
        """The pushes that follow without a change between them, as far as they fit."""
        group = [first]
        samples = first.batch.sample_count
        while self._waiting:
            following = self._waiting[0]
            if isinstance(following, _Turn) or samples + following.batch.sample_count > self._group_samples_max:
                break
            self._waiting.popleft()
            group.append(following)
            samples += following.batch.sample_count
        self._samples -= samples
        return group

    async def _append_group(self, group: list[_Push]) -> None:
        try:
            results = await self._append([push.batch for push in group])
        except Exception as error:
            for push in group:
                if not push.future.done():
                    push.future.set_exception(error)
            return
        for push, result in zip(group, results, strict=True):
            if not push.future.done():
                push.future.set_result(result)


async def _run(turn: _Turn) -> None:
    try:
        await turn.change()
    except Exception as error:
        if not turn.future.done():
            turn.future.set_exception(error)
        return
    if not turn.future.done():
        turn.future.set_result(None)
