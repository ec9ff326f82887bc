"""The project's own scripts (*.test in this folder), each evaluation a test of its own, in every mode of evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mimir_rw.promql.script.runner import CaseResult
from tests.promql.modes import MODES, run_file


def _results() -> Iterator[tuple[str, CaseResult]]:
    for mode in MODES:
        for path in sorted(Path(__file__).parent.glob("*.test")):
            for result in run_file(path, mode):
                yield mode, result


@pytest.mark.parametrize("result", [pytest.param(result, id=f"{mode}:{result.name}") for mode, result in _results()])
def test_script(result: CaseResult) -> None:
    assert result.passed, f"{result.problem}\nexpected:\n{result.expected}\ngot:\n{result.got}"
