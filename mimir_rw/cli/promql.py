"""`mimir-rw promql`: run test scripts, format expressions. Neither needs a server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.promql.engine import Engine, EngineOptions
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.printer import pretty
from mimir_rw.promql.script.engine import EngineUnderTest
from mimir_rw.promql.script.language import ScriptError, parse_script
from mimir_rw.promql.script.runner import CaseResult, run_script

promql_app = typer.Typer(help="Test and format PromQL.", no_args_is_help=True)


@promql_app.callback()
def promql() -> None:
    """Test and format PromQL."""


@promql_app.command()
def test(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="Scripts, or folders with *.test files.")],
) -> None:
    """Run PromQL test scripts. Names each failure with what was expected and what came; exit status 1 if any fails."""
    passed = failed = 0
    engine = EngineUnderTest(
        Engine(clock=SystemClock(), offload=InlineOffload(), options=EngineOptions(delayed_name_removal=True))
    )
    for path in _scripts(paths):
        if path.is_dir():
            print(f"FAIL {path}: no *.test file in this folder\n")
            failed += 1
            continue
        try:
            commands = parse_script(path.read_bytes().decode("utf-8", "surrogateescape"))
            results = asyncio.run(run_script(commands, file=str(path), engine=engine))
        except (OSError, ScriptError) as error:
            print(f"FAIL {path}: {error}\n")
            failed += 1
            continue
        for result in results:
            if not result.passed:
                _print_failure(result)
        passed += sum(result.passed for result in results)
        failed += sum(not result.passed for result in results)
    print(f"{passed} passed, {failed} failed")
    if failed:
        raise typer.Exit(1)


@promql_app.command(name="format")
def format_expression(
    expr: Annotated[str | None, typer.Argument(help="The expression; standard input without it.")] = None,
) -> None:
    """Print an expression in the usual layout. Exit status 1 if it is not valid."""
    try:
        print(pretty(parse_expression(sys.stdin.read().strip() if expr is None else expr)))
    except ParseError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


def _scripts(paths: list[Path]) -> list[Path]:
    """The files, and those found in the folders, each folder's in order of name; a folder without any, as it is."""
    files: list[Path] = []
    for path in paths:
        found = sorted(path.rglob("*.test")) if path.is_dir() else [path]
        files += found or [path]
    return files


def _print_failure(result: CaseResult) -> None:
    print(f"FAIL {result.name}")
    print(f"  {result.problem}")
    for title, text in (("expected", result.expected), ("got", result.got)):
        print(f"  {title}:")
        for line in text.split("\n"):
            print(f"    {line}")
    print()
