"""The scripts of ../shared/promql-tests against our engine, and the list of evaluations that may still fail.

`python -m tests.promql.acceptance` takes from the list what passes by now; it never grows.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.promql.engine import Engine, EngineOptions
from mimir_rw.promql.script.engine import EngineUnderTest
from mimir_rw.promql.script.language import parse_script
from mimir_rw.promql.script.runner import CaseResult, run_script

SCRIPTS = Path(__file__).parents[2].parent / "shared" / "promql-tests"
EXCEPTIONS = Path(__file__).parent / "exceptions.txt"
WHOLE = ("literals", "selectors", "staleness", "at_modifier", "trig_functions")
"""Scripts that pass whole."""

_HEADER = """\
# Evaluations of ../shared/promql-tests that do not pass yet.
# Written by `python -m tests.promql.acceptance`; a test fails when one of them passes.
"""


MODES = {"plain": EngineOptions(delayed_name_removal=True)}
"""How the engine is told to evaluate: the answers must be the same."""
MODES["batches"] = replace(MODES["plain"], batch_bytes=1)
MODES["sharded"] = replace(MODES["plain"], shards=3)
MODES["split"] = replace(MODES["plain"], steps_max=2)


def run_file(path: Path, mode: str = "plain") -> list[CaseResult]:
    options = replace(MODES[mode], start_timestamps=path.stem == "start_timestamps")
    engine = Engine(clock=SystemClock(), offload=InlineOffload(), options=options)
    commands = parse_script(path.read_bytes().decode("utf-8", "surrogateescape"))
    return asyncio.run(run_script(commands, file=path.name, engine=EngineUnderTest(engine)))


def read_exceptions() -> list[str]:
    """Names."""
    lines = EXCEPTIONS.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def main() -> None:
    failing = {
        case.name: case
        for path in sorted(SCRIPTS.glob("*.test"))
        for mode in MODES
        for case in run_file(path, mode)
        if not case.passed
    }
    known = read_exceptions()
    listed = "".join(f"{name}\n" for name in known if name in failing)
    EXCEPTIONS.write_bytes((_HEADER + listed).encode("utf-8", "surrogateescape"))
    broken = [case for name, case in failing.items() if name not in known]
    print(f"{len(failing) - len(broken)} listed")
    for case in broken:
        print(f"FAIL {case.name}: {case.problem}\nexpected {case.expected}\ngot {case.got}\n")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
