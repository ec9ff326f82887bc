"""Every evaluation of the acceptance scripts passes, or is on the list of exceptions and fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promql.acceptance import MODES, SCRIPTS, WHOLE, read_exceptions, run_file

FILES = sorted(SCRIPTS.glob("*.test"))

if not FILES:
    pytest.skip(f"the acceptance scripts are not at {SCRIPTS}", allow_module_level=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_script(path: Path, mode: str) -> None:
    cases = run_file(path, mode)
    listed = {name for name in read_exceptions() if name.startswith(f"{path.name}:")}
    broken = [f"{case.name}: {case.problem}" for case in cases if not case.passed and case.name not in listed]
    assert not broken, "\n".join(broken)
    assert [case.name for case in cases if case.passed and case.name in listed] == []
    assert listed <= {case.name for case in cases}


def test_some_scripts_pass_whole() -> None:
    assert [name for name in read_exceptions() if name.split(".test:", maxsplit=1)[0] in WHOLE] == []
