"""A program on a host, as an operator sees it: started, stopped, killed, frozen, seen to be ready or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from mimir_rw.kit.service import ServiceFailed, ServiceSet
from mimir_rw.testing.network import SimNetwork
from mimir_rw.testing.process import Life, SimHost, SimProcess

P = TypeVar("P")


class Node(Generic[P]):
    """`build` is called in the context of each new process; it makes the parts that live as long as that process."""

    def __init__(
        self,
        *,
        network: SimNetwork,
        host: SimHost,
        build: Callable[[SimProcess], P],
        services: Callable[[P], ServiceSet],
    ) -> None:
        self.host = host
        self.process: SimProcess | None = None
        self.failure: str | None = None
        """Why a process ended that nobody had stopped."""
        self._network = network
        self._build = build
        self._services_of = services
        self._parts: P | None = None
        self._ended: asyncio.Event = asyncio.Event()

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def alive(self) -> bool:
        """Running and not frozen."""
        return self.process is not None and self.process.life is Life.RUNNING

    @property
    def parts(self) -> P:
        """Of the process that runs now."""
        assert self.process is not None, f"{self.name} is not running"
        assert self._parts is not None, f"{self.name} has not begun yet"
        return self._parts

    def start(self) -> None:
        assert self.process is None, f"{self.name} runs already"
        self._ended = asyncio.Event()
        self.process = self._network.spawn(self.host)
        self.process.run(self._live(self.process))

    def kill(self) -> None:
        """As SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self._gone()

    async def stop(self) -> None:
        """As SIGTERM; returns when the process has ended."""
        if self.process is not None:
            self.process.call_soon(self._services_of(self.parts).request_stop)
            await self._ended.wait()

    def freeze(self) -> None:
        if self.process is not None:
            self.process.freeze()

    def thaw(self) -> None:
        if self.process is not None:
            self.process.thaw()

    def not_ready(self) -> str | None:
        """Why /ready would not say yes; None when it does."""
        if not self.alive or self._parts is None:
            return f"{self.name} is not running"
        reason = self._services_of(self._parts).not_ready()
        return None if reason is None else f"{self.name}: {reason}"

    async def _live(self, process: SimProcess) -> None:
        self._parts = self._build(process)
        try:
            await self._services_of(self._parts).run()
        except ServiceFailed as error:
            self.failure = f"{self.name} ended by itself: {error}"
        # The rest is the kernel's: nothing of the process runs after its main coroutine.
        self._network.loop.call_soon(self._exit, process, context=self._network.context)

    def _exit(self, process: SimProcess) -> None:
        if self.process is process:
            process.kill()
            self._gone()

    def _gone(self) -> None:
        self.process = None
        self._parts = None
        self._ended.set()
