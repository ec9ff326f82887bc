"""A tenant's lane: the only writer of its head.

Pushes queue here; one task takes everything that waits (up to a bound) and appends it as one group, so that pushes
which arrive together share a WAL write. Results keep the order of the pushes. Lives on one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from mimir_rw._native import AppendResult, WriteBatch
from mimir_rw.model.errors import Unavailable

WAITING_BATCHES_MAX = 10_000
"""Pushes that may wait in one lane."""
WAITING_SAMPLES_MAX = 8_000_000
"""Samples that may wait in one lane."""
GROUP_SAMPLES_MAX = 200_000
"""Samples after which a group is closed: what a push may have to wait for at most, and what a selection may."""

AppendGroup = Callable[[Sequence[WriteBatch]], Awaitable[list[AppendResult]]]

_Waiting = tuple[WriteBatch, "asyncio.Future[AppendResult]"]


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
        self._waiting: deque[_Waiting] = deque()
        self._waiting_batches_max = waiting_batches_max
        self._waiting_samples_max = waiting_samples_max
        self._group_samples_max = group_samples_max
        self._samples = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed: str | None = None

    async def push(self, batch: WriteBatch) -> AppendResult:
        """Append a batch in its turn. Raises Unavailable when too much waits or the lane is closed.

        A caller that is cancelled leaves; its batch may be stored all the same.
        """
        if self._closed is not None:
            raise Unavailable(self._closed)
        samples = batch.sample_count
        full = len(self._waiting) >= self._waiting_batches_max
        if full or (self._waiting and self._samples + samples > self._waiting_samples_max):
            raise Unavailable("too many pushes of this tenant are waiting; try again later")
        future: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        self._samples += samples
        self._idle.clear()
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Append groups for as long as the task lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._append_group(self._take_group())
            self._idle.set()

    def close(self, reason: str) -> None:
        """Refuse pushes from now on with Unavailable(reason); those waiting are still appended."""
        self._closed = reason

    def fail(self, reason: str) -> None:
        """Close, and refuse those that wait too."""
        self.close(reason)
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(Unavailable(reason))
        self._waiting.clear()
        self._samples = 0
        self._idle.set()

    async def drained(self) -> None:
        """Wait until nothing waits and no group is being appended."""
        await self._idle.wait()

    def _take_group(self) -> list[_Waiting]:
        group = [self._waiting.popleft()]
        samples = group[0][0].sample_count
        while self._waiting and samples + self._waiting[0][0].sample_count <= self._group_samples_max:
            group.append(self._waiting.popleft())
            samples += group[-1][0].sample_count
        self._samples -= samples
        return group

    async def _append_group(self, group: list[_Waiting]) -> None:
        try:
            results = await self._append([batch for batch, _ in group])
        except Exception as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(group, results, strict=True):
            if not future.done():
                future.set_result(result)
