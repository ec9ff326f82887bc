"""Scripts against our engine, told in several ways how to evaluate: the answers must be the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.promql.engine import Engine, EngineOptions
from mimir_rw.promql.script.engine import EngineUnderTest
from mimir_rw.promql.script.language import parse_script
from mimir_rw.promql.script.runner import CaseResult, run_script

_PLAIN = EngineOptions(delayed_name_removal=True)
MODES = {
    "plain": _PLAIN,
    "batches": replace(_PLAIN, batch_bytes=1),
    "sharded": replace(_PLAIN, shards=3),
    "split": replace(_PLAIN, steps_max=2),
}


def run_file(path: Path, mode: str = "plain") -> list[CaseResult]:
    """A script named start_timestamps is run with these in use, one named eager without delayed name removal."""
    eager, starts = path.stem == "eager", path.stem == "start_timestamps"
    options = replace(MODES[mode], start_timestamps=starts, delayed_name_removal=not eager)
    engine = Engine(clock=SystemClock(), offload=InlineOffload(), options=options)
    commands = parse_script(path.read_bytes().decode("utf-8", "surrogateescape"))
    return asyncio.run(run_script(commands, file=path.name, engine=EngineUnderTest(engine)))
