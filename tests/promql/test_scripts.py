"""The project's own scripts (*.test in this folder), each evaluation a test of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.promql.engine import Engine, EngineOptions
from mimir_rw.promql.script.engine import EngineUnderTest
from mimir_rw.promql.script.language import parse_script
from mimir_rw.promql.script.runner import CaseResult, run_script


def _results() -> list[CaseResult]:
    engine = EngineUnderTest(
        Engine(clock=SystemClock(), offload=InlineOffload(), options=EngineOptions(delayed_name_removal=True))
    )
    results: list[CaseResult] = []
    for path in sorted(Path(__file__).parent.glob("*.test")):
        results += asyncio.run(run_script(parse_script(path.read_text()), file=path.name, engine=engine))
    return results


@pytest.mark.parametrize("result", _results(), ids=lambda result: result.name)
def test_script(result: CaseResult) -> None:
    assert result.passed, f"{result.problem}\nexpected:\n{result.expected}\ngot:\n{result.got}"
