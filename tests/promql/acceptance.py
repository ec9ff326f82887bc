"""The scripts of ../shared/promql-tests against our engine, and the list of evaluations that may still fail.

An evaluation may be on the list only by rule: a native histogram in its data or answer, an expected annotation, or a
feature newer than the float engine. `python -m tests.promql.acceptance` writes the list anew from what fails now.
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

NEWER_FEATURES = frozenset({"start timestamps", "trim operators"})
"""Features that the engine does not have yet, by the runner's names."""

_HEADER = """\
# Evaluations of ../shared/promql-tests that do not pass yet: why each may be here, a tab, its name.
# Written by `python -m tests.promql.acceptance`; a test fails when one of them passes.
"""


MODES = {"plain": EngineOptions(delayed_name_removal=True)}
"""How the engine is told to evaluate: the answers must be the same."""
MODES["batches"] = replace(MODES["plain"], batch_bytes=1)


def run_file(path: Path, mode: str = "plain") -> list[CaseResult]:
    engine = Engine(clock=SystemClock(), offload=InlineOffload(), options=MODES[mode])
    commands = parse_script(path.read_bytes().decode("utf-8", "surrogateescape"))
    return asyncio.run(run_script(commands, file=path.name, engine=EngineUnderTest(engine)))


def excuse(case: CaseResult) -> str:
    """Why the case may fail, or ""."""
    if case.traits.has_native_histogram:
        return "native histogram"
    newer = sorted(NEWER_FEATURES.intersection(case.traits.features))
    if newer:
        return ", ".join(newer)
    return "annotation" if case.traits.expects_annotation else ""


def read_exceptions() -> dict[str, str]:
    """Excuse by name."""
    lines = EXCEPTIONS.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    pairs = (line.split("\t", 1) for line in lines if line and not line.startswith("#"))
    return {name: reason for reason, name in pairs}


def main() -> None:
    failing = [case for path in sorted(SCRIPTS.glob("*.test")) for case in run_file(path) if not case.passed]
    inexcusable = [case for case in failing if not excuse(case)]
    listed = "".join(f"{excuse(case)}\t{case.name}\n" for case in failing if excuse(case))
    EXCEPTIONS.write_bytes((_HEADER + listed).encode("utf-8", "surrogateescape"))
    print(f"{len(failing) - len(inexcusable)} listed")
    for case in inexcusable:
        print(f"FAIL {case.name}: {case.problem}\nexpected {case.expected}\ngot {case.got}\n")
    sys.exit(1 if inexcusable else 0)


if __name__ == "__main__":
    main()
