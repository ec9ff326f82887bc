"""The Go-syntax regex front end against recorded answers of Go itself (tests/golden/go_regexp.go)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mimir_rw._native import CompiledMatcher, RegexError, regex_replace
from mimir_rw.model.labels import MatchType

GOLDEN = Path(__file__).parents[2] / "golden" / "go_regexp.json"


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(GOLDEN.read_text())
    assert len(loaded) > 3000
    return loaded


def matcher_answer(entry: dict[str, Any]) -> tuple[str, str]:
    """Error text and matches, as recorded."""
    try:
        matcher = CompiledMatcher(MatchType.REGEX, "l", entry["p"])
    except RegexError as error:
        return str(error), ""
    negated = CompiledMatcher(MatchType.NOT_REGEX, "l", entry["p"])
    matches = [matcher.matches(subject) for subject in entry.get("s", [])]
    assert [negated.matches(subject) for subject in entry.get("s", [])] == [not match for match in matches]
    return "", "".join("1" if match else "0" for match in matches)


def replace_answer(entry: dict[str, Any]) -> tuple[str, list[list[str | None]]]:
    """Error text of the wrapped pattern and expansions, as recorded."""
    expanded: list[list[str | None]] = []
    try:
        regex_replace([], entry["p"], "")
        for (template, _), subject in zip(entry.get("x", []), entry.get("s", []), strict=False):
            expanded.append([template, *regex_replace([subject], entry["p"], template)])
    except RegexError as error:
        return str(error), []
    return "", expanded


def test_matchers_accept_reject_and_match_as_go_does(entries: list[dict[str, Any]]) -> None:
    different = [
        (entry["p"], entry.get("s"), expected, got)
        for entry in entries
        if (got := matcher_answer(entry)) != (expected := (entry.get("e", ""), entry.get("m", "")))
    ]
    assert different == []


def test_label_replace_expands_as_go_does(entries: list[dict[str, Any]]) -> None:
    different = [
        (entry["p"], entry.get("s"), expected, got)
        for entry in entries
        if (got := replace_answer(entry)) != (expected := (entry.get("w", ""), entry.get("x", [])))
    ]
    assert different == []
