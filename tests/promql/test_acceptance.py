"""Every evaluation of the acceptance scripts, ../shared/promql-tests, passes in every mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promql.modes import MODES, run_file

SCRIPTS = Path(__file__).parents[2].parent / "shared" / "promql-tests"
FILES = sorted(SCRIPTS.glob("*.test"))

if not FILES:
    pytest.skip(f"the acceptance scripts are not at {SCRIPTS}", allow_module_level=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_script(path: Path, mode: str) -> None:
    cases = run_file(path, mode)
    broken = [f"{case.name}: {case.problem}" for case in cases if not case.passed]
    assert not broken, "\n".join(broken)
