"""An event loop of its own on a thread of its own, for work that must go on whatever the main loop is doing.

`LoopHome` is where a service lets such work live: a thread in life, the caller's own loop in simulation.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class LoopHome(Protocol):
    def start(self) -> None: ...

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the home's loop; its result, or what it raises. Cancelling the caller cancels it."""
        ...

    async def close(self) -> None:
        """End the loop. Nothing may be running on it."""
        ...


class CallersLoop:
    """No thread: work runs on the loop of whoever asks."""

    def start(self) -> None:
        pass

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        return await work

    async def close(self) -> None:
        pass


class EventLoopThread:
    def __init__(self, *, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._tell_end: Callable[[], None] | None = None

    def start(self) -> None:
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def close(self) -> None:
        if self._thread.is_alive():
            ended = asyncio.Event()
            self._tell_end = functools.partial(call_on, asyncio.get_running_loop(), ended.set)
            self._loop.call_soon_threadsafe(self._loop.stop)
            await ended.wait()
        elif not self._loop.is_closed():
            self._loop.close()

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
            if self._tell_end is not None:
                self._tell_end()


def call_on(loop: asyncio.AbstractEventLoop, fn: Callable[[], object]) -> None:
    """Call `fn` soon on `loop`, whichever loop this thread runs. Dropped when the loop has been closed."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        loop.call_soon(fn)
        return
    try:
        loop.call_soon_threadsafe(fn)
    except RuntimeError:
        return
