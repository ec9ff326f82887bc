"""A supervised group of background tasks with one owner.

Unlike asyncio.TaskGroup it does not bind its tasks to one `async with` block: a service opens it when it starts and
cancels it when it stops. The first task that fails is reported once, through `failure`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

from mimir_rw.kit.trace import untraced

T = TypeVar("T")


class Interrupted(Exception):
    """What `unless` was to watch for came first."""


async def unless(work: Coroutine[Any, Any, T], interrupt: Coroutine[Any, Any, object]) -> T:
    """The result of `work`, or what it raises. When `interrupt` ends first, work is cancelled and Interrupted raised.

    Whichever is left over has ended when this returns.
    """
    loop = asyncio.get_running_loop()
    working, watching = loop.create_task(work), loop.create_task(interrupt)
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Interrupted
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.wait((working, watching))


@contextlib.asynccontextmanager
async def alongside(work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run `work` while the block runs; it is cancelled at the end of the block. What it raises is dropped."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all at once; the results in order. The first that fails is raised as it is, and the others have ended then."""
    tasks = [asyncio.get_running_loop().create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        unfinished = [task for task in tasks if not task.done()]
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished)


class TaskSupervisor:
    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], None] = {}  # a dict keeps the order of starting
        self._failed = asyncio.Event()
        self.failure: BaseException | None = None
        """What the first failed task raised."""

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str, traced: bool = True) -> asyncio.Task[Any]:
        """Start a task that this group owns. It may end by itself; when it raises, `wait_failure` wakes. traced: it
        works for the request that the caller works for (trace.py)."""
        task = asyncio.get_running_loop().create_task(work, name=name, context=None if traced else untraced())
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    async def wait_failure(self) -> BaseException:
        """Wait until a task has failed; the exception it raised."""
        await self._failed.wait()
        assert self.failure is not None
        return self.failure

    async def cancel(self) -> None:
        """Cancel all tasks, newest first, and wait until each has ended."""
        for task in reversed(list(self._tasks)):
            task.cancel()
            await asyncio.wait([task])

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and self.failure is None:
            self.failure = error
            self._failed.set()
