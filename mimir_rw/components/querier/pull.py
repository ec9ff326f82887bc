"""The querier's side of one query-scheduler: streams of queries, each query a task of its own.

There is one stream, but for a while after the number of slots has changed: then the scheduler sends to the newest one
and ends the others once their queries are finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from mimir_rw.kit.logging import Logger
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import MimirError
from mimir_rw.rpc.contracts.scheduler import CancelledQuery, QueuedQuery, SchedulerTarget

_AGAIN_S = 0.05
_AGAIN_S_MAX = 0.2

_Running = dict[tuple[str, str], "asyncio.Task[None]"]


class SchedulerPull:
    def __init__(
        self,
        *,
        target: SchedulerTarget,
        querier_id: str,
        slots: int,
        carry_out: Callable[[SchedulerTarget, QueuedQuery], Awaitable[None]],
        tasks: TaskSupervisor,
        rng: Rng,
        log: Logger,
    ) -> None:
        """carry_out: does all that a query needs and never raises; cancelled when the query is recalled or lost."""
        self.target = target
        self.wanted = True
        """Whether a stream that ended is opened again."""
        self._id = querier_id
        self._slots = slots
        self._carry_out = carry_out
        self._tasks = tasks
        self._rng = rng
        self._log = log
        self._resized = asyncio.Event()

    def want(self, slots: int) -> None:
        """From now on with so many slots."""
        self.wanted = True
        if slots != self._slots:
            self._slots = slots
            self._resized.set()

    async def live(self) -> None:
        """Pull while it is wanted; then until the last stream has ended."""
        failures = 0
        while self.wanted:
            self._resized.clear()
            stream = self._tasks.spawn(self._stream(), name=f"queries of {self.target.address}")
            resized = self._tasks.spawn(self._resized.wait(), name=f"slots at {self.target.address}")
            try:
                await asyncio.wait((stream, resized), return_when=asyncio.FIRST_COMPLETED)
            finally:
                resized.cancel()
            if not stream.done():
                continue
            failures = 0 if stream.result() else failures + 1
            if self.wanted:
                longest = min(_AGAIN_S_MAX, _AGAIN_S * float(1 << min(failures, 10)))
                await asyncio.sleep(longest * (1 - self._rng.random() / 2))

    async def leave(self) -> None:
        """Ask for no more queries. The streams end by themselves."""
        self.wanted = False
        try:
            await self.target.scheduler.leave(self._id)
        except MimirError as error:
            self._log.debug("query-scheduler not told", address=self.target.address, err=str(error))

    async def _stream(self) -> bool:
        """Whether anything came."""
        running: _Running = {}
        came = False
        try:
            async with aclosing(self.target.scheduler.pull(self._id, self._slots)) as items:
                async for item in items:
                    came = True
                    self._take(item, running)
        except MimirError as error:
            self._log.debug("query-scheduler lost", address=self.target.address, err=str(error))
        finally:
            for task in list(running.values()):
                task.cancel()
        return came

    def _take(self, item: QueuedQuery | CancelledQuery, running: _Running) -> None:
        key = (item.frontend_address, item.query_id)
        if isinstance(item, CancelledQuery):
            if key in running:
                running[key].cancel()
            return
        task = self._tasks.spawn(self._run(item, running), name=f"query {item.query_id}")
        running[key] = task

    async def _run(self, query: QueuedQuery, running: _Running) -> None:
        try:
            await self._carry_out(self.target, query)
        finally:
            running.pop((query.frontend_address, query.query_id), None)
