"""Simulated machines and the processes on them.

A process is told from others by a context variable: every task, timer and callback inherits the context in which it
was made, so whatever a process starts is its own. The loop looks at the life of its process before it runs a callback:

    RUNNING ──freeze()──► FROZEN ──thaw()──► RUNNING        callbacks wait meanwhile, in order
       └───────kill()───────┴──────► DEAD                   callbacks are dropped, no `finally` runs

A host keeps its address, clock skew and directory while processes on it come and go.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimir_rw.testing.loop import SimLoop, _SimHandle
    from mimir_rw.testing.stream import SimTransport

PROCESS: ContextVar[SimProcess | None] = ContextVar("simulated_process", default=None)
"""The process whose code runs now; None: the simulation itself."""


def current_process() -> SimProcess:
    """The process that the caller is part of."""
    process = PROCESS.get()
    assert process is not None, "only a simulated process has a network; spawn one"
    return process


class SimHost:
    """A machine: one address, one clock, one directory."""

    def __init__(self, *, name: str, address: str, zone: str, directory: Path | None) -> None:
        self.name = name
        self.address = address
        self.zone = zone
        self.directory = directory
        self.skew_ms = 0
        """Added to the true wall time by this machine's clock."""

    def __repr__(self) -> str:
        return f"<host {self.name}>"


class Life(enum.Enum):
    RUNNING = "running"
    FROZEN = "frozen"
    DEAD = "dead"


class SimProcess:
    """One life of a program on a host."""

    def __init__(self, *, loop: SimLoop, host: SimHost, number: int) -> None:
        """number: unique in the run; later lives have higher ones."""
        self.loop = loop
        self.host = host
        self.number = number
        self.life = Life.RUNNING
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)
        self.transports: dict[SimTransport, None] = {}
        """Open connections, in the order in which they were made."""
        self.on_death: list[Callable[[], None]] = []
        """What the kernel gives back when the process ends in any way: locks, ports."""
        self._parked: deque[_SimHandle] = deque()

    @property
    def name(self) -> str:
        return f"{self.host.name}#{self.number}"

    def run(self, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task of this process."""
        return self.loop.create_task(main, context=self.context.copy())

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.loop.call_soon(callback, *args, context=self.context)

    def put_off(self, handle: _SimHandle) -> None:
        """A callback comes up while the process does not run: a frozen one keeps it for later, a dead one never runs
        it."""
        if self.life is Life.FROZEN:
            self._parked.append(handle)

    def freeze(self) -> None:
        """As SIGSTOP does: nothing runs, the kernel still takes bytes and connections."""
        if self.life is Life.RUNNING:
            self.life = Life.FROZEN
            self.loop.trace.event(self.loop.time(), f"freeze {self.name}")

    def thaw(self) -> None:
        """As SIGCONT does."""
        if self.life is Life.FROZEN:
            self.life = Life.RUNNING
            self.loop.trace.event(self.loop.time(), f"thaw {self.name}")
            self.loop.resume(self._parked)
            self._parked = deque()

    def kill(self) -> None:
        """As SIGKILL does: no code of the process runs again. Its files are as it left them."""
        if self.life is Life.DEAD:
            return
        self.life = Life.DEAD
        self._parked.clear()
        self.loop.trace.event(self.loop.time(), f"kill {self.name}")
        self.loop.bury(self)
        for release in self.on_death:
            release()
