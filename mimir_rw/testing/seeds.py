"""Runs seeds of a scenario and tells what became of them: `make sim SEED=7`, `make sim SEEDS=50`.

A scenario is a coroutine function over a `Simulation` that returns what is wrong. Each seed is run in a worker process;
the exit status is 1 if any complains. With one seed the trace may be written to a file.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO, cast

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.logging import configure
from mimir_rw.testing.process import PROCESS
from mimir_rw.testing.simulation import Simulation
from mimir_rw.testing.trace import Trace

Scenario = Callable[[Simulation, Path], Awaitable[list[str]]]
"""Given an empty directory; returns complaints."""

SCENARIOS = {
    "rpc": "mimir_rw.testing.rpc_scenario:run",
    "cluster": "mimir_rw.testing.cluster_scenario:run",
    "gossip": "mimir_rw.testing.gossip_scenario:run",
    "growth": "mimir_rw.testing.growth_scenario:run",
    "rings": "mimir_rw.testing.ring_scenario:run",
    "storage": "mimir_rw.testing.storage_scenario:run",
}
DEFAULT = "cluster"
_BAR = 40
_SHOWN_MAX = 20
_SEEDS_PER_WORKER = 25


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    complaints: tuple[str, ...]
    digest: str
    events: int
    virtual_s: float
    real_s: float


def scenario(place: str) -> Scenario:
    """place: module:function."""
    module, _, function = place.partition(":")
    found: Scenario = getattr(importlib.import_module(module), function)
    return found


def run_seed(place: str, seed: int, trace_path: str | None = None) -> Outcome:
    """Run one seed of the scenario at `place`, here and now.

    trace_path: where the text of the trace goes, log lines included."""
    clock = SystemClock()
    begun_s = clock.monotonic()
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="sim-", dir=shared) as directory, _opened(trace_path) as out:
        trace = Trace(write=out.write if trace_path else None)
        with Simulation(seed, trace=trace) as sim:
            configure(level="info" if trace_path else "error", stream=cast("TextIO", _LogLines(sim)))
            complaints = _judge(sim, scenario(place), Path(directory))
            virtual_s = sim.loop.time()
        for complaint in complaints:
            trace.note(virtual_s, f"COMPLAINT {complaint}")
        digest = trace.digest()
    return Outcome(seed, tuple(complaints), digest, trace.events, virtual_s, clock.monotonic() - begun_s)


def _judge(sim: Simulation, run: Scenario, directory: Path) -> list[str]:
    async def script() -> list[str]:
        return await run(sim, directory)

    try:
        complaints = sim.run(script())
    except Exception as error:  # the run itself broke: as bad as a complaint, and the seed is what counts
        complaints = [f"the run broke: {type(error).__name__}: {error}"]
    return [*complaints, *(f"unhandled: {text}" for text in sim.loop.complaints)]


def _opened(path: str | None) -> TextIO:
    return open(path or os.devnull, "w", encoding="utf-8")


class _LogLines:
    """What the processes log goes into the text of the trace."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim

    def write(self, text: str) -> int:
        if self._sim.loop.is_closed():
            return len(text)  # what is thrown away at the end has nothing to say any more
        process = PROCESS.get()
        self._sim.trace.note(self._sim.loop.time(), f"log {process.name if process else '-'} {text.rstrip()}")
        return len(text)

    def flush(self) -> None:
        """Nothing waits here."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make sim", description="Simulated clusters from seeds.")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default=DEFAULT)
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--seeds", type=int, default=10, help="run so many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--trace", help="with --seed: write what happens to this file")
    options = parser.parse_args(argv)
    if options.seed is not None:
        outcome = run_seed(SCENARIOS[options.scenario], options.seed, options.trace)
        _tell(outcome, options.scenario)
        sys.stderr.write(
            f"seed {outcome.seed}: {outcome.events} events in {outcome.virtual_s:.0f} virtual seconds, "
            f"{outcome.real_s:.1f} s, trace {outcome.digest}\n"
        )
        return 1 if outcome.complaints else 0
    return _many(options.scenario, range(options.first, options.first + options.seeds), options.jobs)


def _many(name: str, seeds: Sequence[int], jobs: int) -> int:
    clock = SystemClock()
    begun_s, failed = clock.monotonic(), 0
    # Not an executor of concurrent.futures: one that replaces its workers comes to a standstill in Python 3.11.
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=_SEEDS_PER_WORKER) as pool:
        outcomes = pool.imap_unordered(partial(run_seed, SCENARIOS[name]), seeds)
        for done, outcome in enumerate(outcomes, start=1):
            failed += bool(outcome.complaints)
            _tell(outcome, name)
            _progress(done, len(seeds), failed, clock.monotonic() - begun_s)
    return 1 if failed else 0


def _tell(outcome: Outcome, name: str) -> None:
    if not outcome.complaints:
        return
    lines = [f"\nseed {outcome.seed} of {name} complains:"]
    lines += [f"  {text}" for text in outcome.complaints[:_SHOWN_MAX]]
    more = len(outcome.complaints) - _SHOWN_MAX
    if more > 0:
        lines.append(f"  and {more} more")
    flags = f"SEED={outcome.seed}" + ("" if name == DEFAULT else f" SCENARIO={name}")
    lines.append(f"  again, with a trace: make sim {flags} TRACE=sim-{outcome.seed}.trace\n")
    sys.stderr.write("\n".join(lines))
    sys.stderr.flush()


def _progress(done: int, total: int, failed: int, elapsed_s: float) -> None:
    """A bar on a terminal; elsewhere a line now and then."""
    filled = _BAR * done // total
    text = f"[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{total} seeds, {done / elapsed_s:.2f}/s, {failed} failed"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}" + ("\n" if done == total else ""))
    elif done == total or done % max(1, total // 10) == 0:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
