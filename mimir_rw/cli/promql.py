"""`mimir-rw promql`: run test scripts, format and check expressions. None needs a server."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.promql.ast import position
from mimir_rw.promql.engine import Engine, EngineOptions
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.lint import Finding, lint
from mimir_rw.promql.literals import parse_duration_ms
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.printer import pretty
from mimir_rw.promql.script.engine import EngineUnderTest
from mimir_rw.promql.script.language import ScriptError, parse_script
from mimir_rw.promql.script.runner import CaseResult, run_script

promql_app = typer.Typer(help="Test, format and check PromQL.", no_args_is_help=True)


@promql_app.callback()
def promql() -> None:
    """Test, format and check PromQL."""


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
    text = _text(expr)
    try:
        print(pretty(parse_expression(text)))
    except ParseError as error:
        _print_parse_error(text, error)
        raise typer.Exit(1) from None


@promql_app.command(name="lint")
def lint_expression(
    expr: Annotated[str | None, typer.Argument(help="The expression; standard input without it.")] = None,
    scrape_interval: Annotated[str, typer.Option(help="How far samples are apart.")] = "15s",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Name what is valid and probably not meant, such as rate of a gauge. Exit status 1 if there is anything."""
    try:
        interval_ms = parse_duration_ms(scrape_interval)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--scrape-interval") from None
    text = _text(expr)
    try:
        found = lint(parse_expression(text), scrape_interval_ms=interval_ms)
    except ParseError as error:
        found = [Finding("parse-error", error.message, error.span)]
        if not as_json:
            _print_parse_error(text, error)
            raise typer.Exit(1) from None
    if as_json:
        print(json.dumps([_finding_object(text, finding) for finding in found], indent=2))
    else:
        for finding in found:
            print(f"{position(text, finding.span.start)}: {finding.rule}: {finding.message}")
    if found:
        raise typer.Exit(1)


def _text(expr: str | None) -> str:
    return sys.stdin.read().strip() if expr is None else expr


def _print_parse_error(text: str, error: ParseError) -> None:
    """The message, and below it the line it speaks of with the place marked."""
    print(error, file=sys.stderr)
    start = text.rfind("\n", 0, error.span.start) + 1
    line = text[start:].partition("\n")[0]
    if line and len(line) <= _MARKED_CHARACTERS_MAX and line.isprintable():
        length = max(1, min(error.span.end, start + len(line)) - error.span.start)
        print(f"  {line}\n  {' ' * (error.span.start - start)}{'^' * length}", file=sys.stderr)


_MARKED_CHARACTERS_MAX = 200


def _finding_object(text: str, finding: Finding) -> dict[str, object]:
    start, end = finding.span
    place = position(text, start)
    return {"rule": finding.rule, "message": finding.message, "position": place, "start": start, "end": end}


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
