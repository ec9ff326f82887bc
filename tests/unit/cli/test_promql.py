"""`mimir-rw promql` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mimir_rw.cli.promql import promql_app

GOOD = "load 1m\n up 1 2\neval instant at 1m up * 2\n {} 4\n"
BAD = "eval instant at 0 1 + 1\n 3\neval instant at 0 1\n 1\n"


def run(*arguments: str, text: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(promql_app, list(arguments), input=text)
    return result.exit_code, result.stdout, result.stderr


def test_scripts_in_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "bad.test").write_text(BAD)
    (tmp_path / "good.test").write_text(GOOD)
    code, out, _ = run("test", str(tmp_path / "good.test"))
    assert (code, out) == (0, "1 passed, 0 failed\n")
    code, out, _ = run("test", str(tmp_path))
    assert code == 1
    assert f"FAIL {tmp_path}/deep/bad.test:1 1 + 1\n" in out
    assert "  expected:\n    3\n  got:\n    2\n" in out
    assert out.endswith("\n2 passed, 1 failed\n")


def test_unusable_scripts_are_failures(tmp_path: Path) -> None:
    broken = tmp_path / "broken.test"
    broken.write_text("loud 5m\n")
    code, out, _ = run("test", str(broken), str(tmp_path / "missing.test"))
    assert code == 1
    assert "line 1: unknown command" in out
    assert out.endswith("\n0 passed, 2 failed\n")


def test_empty_folder(tmp_path: Path) -> None:
    code, out, _ = run("test", str(tmp_path))
    assert code == 1
    assert "no *.test file" in out
    assert out.endswith("\n0 passed, 1 failed\n")


@pytest.mark.parametrize("as_argument", [True, False])
def test_format(as_argument: bool) -> None:
    arguments = ["format", "sum( up )by(job)"] if as_argument else ["format"]
    assert run(*arguments, text=None if as_argument else "sum( up )by(job)\n") == (0, "sum by (job) (up)\n", "")


def test_format_says_what_is_wrong() -> None:
    assert run("format", "sum(") == (1, "", "1:5: parse error: unclosed left parenthesis\n")
