"""Work off the event loop: the only place where threads are made.

`Offload.run` takes a function with immutable arguments, runs it elsewhere and gives its result to the caller's loop.
A caller that is cancelled leaves at once; work that has begun goes on to its end (native kernels cannot be stopped)
and its result is dropped, so whoever changes a shared native object serialises its own calls.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class OffloadFull(Exception):
    """Too much work waits for a thread already; the same may pass later."""


class Offload(Protocol):
    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """The result of fn(*args), or what it raises. Raises OffloadFull when too much is waiting already."""
        ...


class InlineOffload:
    """Runs at once on the calling thread: for simulation and tests."""

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        return fn(*args)


_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class ThreadOffload:
    """A bounded pool of threads behind a bounded queue. Bound to the event loop that uses it.

    Cheaper than concurrent.futures (one lock-free queue, no conditions), which counts: a push passes here twice.
    """

    def __init__(self, *, name: str, threads: int | None = None, queue_max: int = 4096) -> None:
        """threads: defaults to the number of cores this process may use. queue_max: jobs waiting or running."""
        self._queue_max = queue_max
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.pending = 0
        """Jobs waiting or running."""
        self.threads = threads if threads is not None else usable_cores()
        self._workers = [
            threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(self.threads)
        ]
        self._started = False

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        if self.pending >= self._queue_max:
            raise OffloadFull("too much work is waiting for a thread; try again later")
        if not self._started:
            self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self.pending += 1
        self._jobs.put((loop, future, fn, args))
        return await future

    def close(self) -> None:
        """Let the threads end after what is queued. Does not wait."""
        for _ in self._workers:
            self._jobs.put(None)

    def _start(self) -> None:
        self._started = True
        for worker in self._workers:
            worker.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, fn, args = job
            result: Any = None
            error: BaseException | None = None
            if not future.cancelled():
                try:
                    result = fn(*args)
                except BaseException as raised:
                    error = raised
            try:
                loop.call_soon_threadsafe(self._finish, future, result, error)
            except RuntimeError:
                return  # the loop is closed: the process is on its way out
            # Hold no reference to a finished job's buffers while waiting for the next one.
            del job, future, fn, args, result, error

    def _finish(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self.pending -= 1
        if future.done():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):
            future.set_exception(RuntimeError("offloaded function raised StopIteration"))
        else:
            future.set_exception(error)


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
