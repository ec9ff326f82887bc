"""One simulated run: a seed, and what is made from it.

    with Simulation(seed) as sim:
        host = sim.network.add_host("a", zone="zone-a")
        process = sim.network.spawn(host)
        process.run(program())
        sim.run(script())          # the test itself: belongs to no process, has no network

Everything random comes from `rng(name)`: one generator for each name, whatever the others draw.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from random import Random
from types import TracebackType
from typing import Any, TypeVar

from mimir_rw.testing.clock import SimClock
from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.network import SimNetwork
from mimir_rw.testing.process import SimHost
from mimir_rw.testing.trace import Trace

T = TypeVar("T")


class Simulation:
    def __init__(self, seed: int, *, trace: Trace | None = None) -> None:
        self.seed = seed
        self.trace = trace if trace is not None else Trace()
        self.loop = SimLoop(trace=self.trace)
        self.network = SimNetwork(loop=self.loop, rng=self.rng("network"))
        self.clock = SimClock(loop=self.loop)
        """True time."""
        self._collects = gc.isenabled()

    def __enter__(self) -> Simulation:
        gc.disable()  # the loop says when
        gc.collect()
        gc.freeze()  # what is there now is not looked at again and again
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def rng(self, name: str) -> Random:
        """A generator of its own for the name; the same for the same seed and name."""
        return Random(f"{self.seed}/{name}")

    def clock_of(self, host: SimHost) -> SimClock:
        return SimClock(loop=self.loop, host=host)

    def run(self, script: Coroutine[Any, Any, T]) -> T:
        """Run until the script ends; processes stop where they are then."""
        return self.loop.run_until_complete(script)

    def close(self) -> None:
        """Throw away what is left. Nothing of the simulated processes runs in order after this."""
        self.loop.close()
        asyncio.set_event_loop(None)
        gc.unfreeze()
        if self._collects:
            gc.enable()
