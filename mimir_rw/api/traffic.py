"""The gate before the components: open while all of them run, closed before and after.

The HTTP server itself runs longer than the components, so that /ready, /metrics and the admin pages tell what goes on
while they start and stop. As a service the gate depends on every component: it opens last, and when the process stops
it is the first, waiting until the requests in flight have ended before anything below them goes away.

    closed ("starting") ──start_up──► open ──shut_down──► draining ──in flight = 0 or too late──► closed ("stopping")
"""

from __future__ import annotations

import asyncio
import contextlib

from mimir_rw.kit.service import Service


class TrafficGate(Service):
    """Changed on the event loop only."""

    def __init__(self, *, delay_s: float, graceful_s: float) -> None:
        """delay_s: how long traffic is still taken as usual, with /ready already failing, so that whoever sends it
        can turn away; graceful_s: how long requests in flight may take."""
        super().__init__("api")
        self._delay_s = delay_s
        self._graceful_s = graceful_s
        self._idle = asyncio.Event()
        self._opened = asyncio.Event()
        self.open = False
        self.closing = False
        """True from the moment the process stops: answers then ask for their connection to be closed."""
        self.inflight = 0

    async def start_up(self) -> None:
        self.open = True
        self._opened.set()

    async def wait_open(self, seconds: float) -> None:
        """Return when it is open, and after so many seconds at the latest; at once when the process stops."""
        if self.closing:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._opened.wait()

    async def shut_down(self) -> None:
        if self.open and self._delay_s:
            await asyncio.sleep(self._delay_s)
        self.closing = True
        self._idle.clear()
        if self.inflight:
            try:
                async with asyncio.timeout(self._graceful_s):
                    await self._idle.wait()
            except TimeoutError:
                pass
        self.open = False

    def left(self) -> None:
        """A request that had entered (`inflight += 1`) has ended."""
        self.inflight -= 1
        if self.inflight == 0 and self.closing:
            self._idle.set()

    def refusal(self) -> str:
        """Why it is closed."""
        return "this process is stopping" if self.closing else "this process is starting and not ready yet"
