"""An event loop whose time is virtual: it jumps to the next timer when nothing is left to do now.

Order is fixed: callbacks run first in, first out; timers by time, then in the order in which they were set. There is no
selector and no thread: connections live in `SimNetwork`, and what would go to an executor runs at once. Garbage is
collected at fixed points of virtual time only, so that finalizers run at the same moment in equal runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import socket
import traceback
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from contextvars import Context, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from mimir_rw.testing.process import PROCESS, Life, SimProcess, current_process
from mimir_rw.testing.trace import Trace

if TYPE_CHECKING:
    from mimir_rw.testing.network import SimNetwork

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEPS_PER_INSTANT_MAX = 500_000
"""Callbacks run at one moment of virtual time before the run is taken for one that spins."""
COLLECT_PERIOD_S = 300.0


class SimStuck(Exception):
    """Nothing is left that could happen, or so much happens that time stands still."""


class _SimTask(asyncio.Task[Any]):
    """Knows its process, so that the tasks of one that is killed can be kept from being finalised."""

    __slots__ = ("process",)
    process: SimProcess | None


def _make_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: Context | None = None,
) -> _SimTask:
    task = _SimTask(work, loop=loop, context=context)
    task.process = PROCESS.get() if context is None else context.get(PROCESS)
    return task


class _SimHandle(asyncio.TimerHandle):
    """A callback. Made for each of them, and so without what its base keeps for checks and debugging."""

    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Sequence[Any],
        context: Context | None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._callback: Any = callback
        self._args: Any = args
        self._cancelled = False
        self._when = when

    def cancel(self) -> None:
        """A cancelled timer stays in the heap until its time; most are timeouts of a few seconds."""
        self._cancelled = True
        self._callback = self._args = None


class SimLoop(asyncio.BaseEventLoop):
    """Made, used and closed by one `Simulation`."""

    network: SimNetwork

    def __init__(self, *, trace: Trace, start_s: float = 1_000.0) -> None:
        super().__init__()
        self.trace = trace
        self.steps = 0
        """Callbacks run so far."""
        self.complaints: list[str] = []
        """Exceptions that nobody took care of."""
        self._now = start_s
        self._queue: deque[_SimHandle] = deque()
        self._timers: list[tuple[float, int, _SimHandle]] = []
        self._timer_number = 0
        self._instant_steps = 0
        self._collect_at = start_s + COLLECT_PERIOD_S
        self._graveyard: list[_SimTask] = []
        self._ended = False
        """What tasks that are thrown away still want to have called is not."""
        self.set_task_factory(_make_task)
        self.set_exception_handler(_complain)

    # -- time and order ---------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _SimHandle(0.0, callback, args, context)
        if not self._ended:
            self._queue.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = _SimHandle(when, callback, args, context)
        if not self._ended:
            self._timer_number += 1
            heapq.heappush(self._timers, (when, self._timer_number, handle))
        return handle

    def resume(self, handles: Iterable[_SimHandle]) -> None:
        """Run callbacks that waited, in their order."""
        self._queue.extend(handles)

    def _run_once(self) -> None:
        """Until the loop is told to stop. Callbacks are run in place: there are hundreds of thousands in a run."""
        queue, popleft, running = self._queue, self._queue.popleft, Life.RUNNING
        while True:
            if not queue and not self._stopping:  # type: ignore[attr-defined]
                self._advance()
            run = 0
            for _ in range(len(queue)):
                handle = popleft()
                if handle._cancelled:
                    continue
                context = handle._context
                process = context.get(PROCESS)
                if process is not None and process.life is not running:
                    process.put_off(handle)
                    continue
                run += 1
                try:
                    context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    message = f"exception in {_callback_name(handle)}"
                    self.call_exception_handler({"message": message, "exception": error})
            self._instant_steps += run
            if self._instant_steps > STEPS_PER_INSTANT_MAX:
                raise SimStuck(f"time stands still at {self._now:.6f}: {self._busy()}")
            if self._stopping:  # type: ignore[attr-defined]
                return

    def _advance(self) -> None:
        """Go to the next timer's time and queue all that are due then."""
        timers, pop = self._timers, heapq.heappop
        while timers and timers[0][2]._cancelled:
            pop(timers)
        if not timers:
            raise SimStuck("nothing is left that could happen")
        if timers[0][0] > self._now:
            self._now = timers[0][0]
        self.steps += self._instant_steps
        self._instant_steps = 0
        while timers and timers[0][0] <= self._now:
            self._queue.append(pop(timers)[2])
        if self._now >= self._collect_at:
            self._collect_at = self._now + COLLECT_PERIOD_S
            gc.collect()

    def _busy(self) -> str:
        """The callbacks that wait most often."""
        names = Counter(_callback_name(handle) for handle in self._queue)
        return ", ".join(f"{count} × {name}" for name, count in names.most_common(5))

    # -- the end of processes ---------------------------------------------------------------------------------------

    def bury(self, process: SimProcess) -> None:
        """Keep the tasks of a killed process, so that no `finally` of theirs runs while the simulation goes on."""
        for task in asyncio.all_tasks(self):
            if isinstance(task, _SimTask) and task.process is process:
                self._graveyard.append(task)

    def close(self) -> None:
        """End the run. What is left of tasks is thrown away; what their `finally` blocks want is refused."""
        self._ended = True
        left = [task for task in asyncio.all_tasks(self) if isinstance(task, _SimTask)]
        self._queue.clear()
        self._timers.clear()
        super().close()
        for task in {*left, *self._graveyard}:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        self._graveyard.clear()

    # -- network and threads ----------------------------------------------------------------------------------------

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        **options: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Over the simulated network, from the current process. Options of sockets mean nothing here."""
        assert not ssl, "the simulated network has no TLS"
        assert options.get("sock") is None, "the simulated network has no sockets"
        assert host is not None, "a connection needs a host"
        assert port is not None, "a connection needs a port"
        return await self.network.connect(current_process(), protocol_factory, host, port)

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        **options: Any,
    ) -> asyncio.AbstractServer:
        """Listen on the current process's host. Raises OSError (in use) as the real one."""
        assert not ssl, "the simulated network has no TLS"
        assert options.get("sock") is None, "the simulated network has no sockets"
        return self.network.listen(current_process(), protocol_factory, port or 0)

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        stream, tcp = socket.SOCK_STREAM, socket.IPPROTO_TCP
        found = await self.network.resolve(str(name))
        return [(socket.AF_INET, stream, tcp, "", (address, int(port or 0))) for address in found]

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """At once, on this thread."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _process_events(self, event_list: Any) -> None:
        """There is no selector."""


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, SimLoop)
    error = context.get("exception")
    detail = f": {type(error).__name__}: {error}, {_place(error)}" if error is not None else ""
    loop.complaints.append(f"{context.get('message')}{detail}")


def _place(error: BaseException) -> str:
    """Where it was raised, innermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " in ".join(f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})" for frame in reversed(frames))


def _callback_name(handle: _SimHandle) -> str:
    callback = handle._callback
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return str(getattr(owner.get_coro(), "__qualname__", "task"))
    return str(getattr(callback, "__qualname__", type(callback).__name__))
