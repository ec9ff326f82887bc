"""The text of a PromQL test script to commands.

A command begins in column 0, or after a blank line with one of the command words; what is indented under it belongs to
it. `#` begins a comment line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from mimir_rw.model.errors import BadRequest
from mimir_rw.promql.literals import parse_duration_ms, parse_number
from mimir_rw.promql.quoting import unquote
from mimir_rw.promql.script.commands import (
    Clear,
    Command,
    Evaluation,
    Expectation,
    Labels,
    Load,
    LoadedSeries,
    Point,
    RangeVector,
    TextPattern,
)
from mimir_rw.promql.script.notation import parse_labels, parse_series, parse_start_offsets

Line = tuple[int, str]

_COMMAND_WORD = re.compile(r"(?:clear|load(?:_with_nhcb)?|eval(?:_(?:fail|warn|info|ordered))?)(?:\s|$)")
_LOAD = re.compile(r"load(_with_nhcb)?\s+(\S+)")
_INSTANT = re.compile(r"eval(?:_(fail|warn|info|ordered))?\s+instant\s+at\s+(\S+)\s+(.+)")
_RANGE = re.compile(r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)")
_EXPECT = re.compile(r"expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(msg|regex):(.*))?")
_EXPECT_STRING = re.compile(r"expect\s+string\s+(.*)")
_EXPECT_RANGE = re.compile(r"expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)")
_OLD_FAIL = re.compile(r"expected_fail_(message|regexp)\s+(.*)")
_START_LINE = re.compile(r"(.*\S)@st\s+(.*)")


class ScriptError(BadRequest):
    """The script itself is wrong; the text names the line."""


def parse_script(text: str) -> list[Command]:
    """Raises ScriptError."""
    commands: list[Command] = []
    for head, body in _blocks(text):
        try:
            commands.append(_command(head, body))
        except ScriptError:
            raise
        except ValueError as error:
            raise ScriptError(f"line {head[0]}: {error}") from None
    return commands


def _blocks(text: str) -> Iterator[tuple[Line, list[Line]]]:
    """Each command's first line and the lines under it, all stripped."""
    head: Line | None = None
    body: list[Line] = []
    after_blank = True
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            after_blank = after_blank or not line
            continue
        if raw[0] not in " \t" or (after_blank and _COMMAND_WORD.match(line)):
            if head is not None:
                yield head, body
            head, body = (number, line), []
        elif head is None:
            raise ScriptError(f"line {number}: {line!r} belongs to no command")
        else:
            body.append((number, line))
        after_blank = False
    if head is not None:
        yield head, body


def _command(head: Line, body: list[Line]) -> Command:
    number, line = head
    word = line.split(None, 1)[0].lower()
    if word == "clear":
        return Clear(number)
    if word.startswith("load"):
        return _load(number, line, body)
    if word.startswith("eval"):
        return _evaluation(number, line, body)
    raise ValueError(f"unknown command {line!r}")


def _load(number: int, line: str, body: list[Line]) -> Load:
    match = _LOAD.fullmatch(line)
    if not match:
        raise ValueError("write: load[_with_nhcb] <step>")
    step_ms = _duration(match.group(2))
    series: list[LoadedSeries] = []
    starts: tuple[int, LoadedSeries] | None = None
    for at, text in body:
        start_line = _START_LINE.fullmatch(text)
        if start_line:
            starts = (at, LoadedSeries(parse_labels(start_line[1]), (), parse_start_offsets(start_line[2])))
            continue
        labels, points = _at_line(at, text)
        offsets: tuple[int | None, ...] = ()
        if starts is not None:
            offsets = starts[1].start_offsets
            if starts[1].labels != labels or len(offsets) != len(points):
                raise ScriptError(f"line {starts[0]}: the @st line does not fit the series under it")
        starts = None
        series.append(LoadedSeries(labels, points, offsets))
    if starts is not None:
        raise ScriptError(f"line {starts[0]}: the @st line has no series under it")
    return Load(number, step_ms, tuple(series), bool(match.group(1)))


def _at_line(number: int, text: str) -> tuple[Labels, tuple[Point, ...]]:
    try:
        return parse_series(text)
    except ValueError as error:
        raise ScriptError(f"line {number}: {error}") from None


def _evaluation(number: int, line: str, body: list[Line]) -> Evaluation:
    instant = _INSTANT.fullmatch(line)
    if instant:
        start_ms = end_ms = _duration(instant.group(2))
        step_ms = 0
    else:
        ranged = _RANGE.fullmatch(line)
        if not ranged:
            raise ValueError(
                "write: eval instant at <time> <expr>, or eval range from <time> to <time> step <step> <expr>"
            )
        start_ms, end_ms, step_ms = (_duration(ranged.group(group)) for group in (2, 3, 4))
        if end_ms < start_ms or step_ms <= 0:
            raise ValueError("the range ends before it starts, or its step is not positive")
        instant = ranged
    expected = _MODES[instant.group(1)]
    for at, text in body:
        try:
            expected = _expect(expected, text)
        except ValueError as error:
            raise ScriptError(f"line {at}: {error}") from None
    _check(expected)
    return Evaluation(number, instant.group(instant.re.groups), start_ms, end_ms, step_ms, expected)


_MODES = {
    None: Expectation(),
    "fail": Expectation(fail=TextPattern()),
    "warn": Expectation(warn=(TextPattern(),)),
    "info": Expectation(info=(TextPattern(),)),
    "ordered": Expectation(ordered=True),
}


def _expect(expected: Expectation, line: str) -> Expectation:
    """`expected` with what one line under an eval adds."""
    match = _EXPECT_RANGE.fullmatch(line)
    if match:
        start_ms, end_ms, step_ms = (_duration(text) for text in match.groups())
        return replace(expected, range_vector=RangeVector(start_ms, end_ms, step_ms))
    match = _EXPECT_STRING.fullmatch(line)
    if match:
        if not re.fullmatch(r'".*"|`.*`', match.group(1)):
            raise ValueError("expect string needs a quoted string")
        return replace(expected, string=unquote(match.group(1)))
    match = _OLD_FAIL.fullmatch(line)
    if match:
        return replace(expected, fail=_pattern("msg" if match[1] == "message" else "regex", match[2]))
    if line.split(None, 1)[0] == "expect":
        return _expect_line(expected, line)
    try:
        return replace(expected, scalar=parse_number(line.lstrip("+-")) * (-1 if line.startswith("-") else 1))
    except ValueError:
        labels, points = parse_series(line)
        return replace(expected, series={**expected.series, labels: points})


def _expect_line(expected: Expectation, line: str) -> Expectation:
    match = _EXPECT.fullmatch(line)
    if not match:
        raise ValueError(f"not an expectation: {line!r}")
    kind, form, text = match.groups()
    pattern = _pattern(form, text)
    if kind == "ordered":
        return replace(expected, ordered=True)
    if kind == "fail":
        return replace(expected, fail=pattern)
    if kind == "warn":
        return replace(expected, warn=(*expected.warn, pattern))
    if kind == "info":
        return replace(expected, info=(*expected.info, pattern))
    return replace(expected, no_warn=True) if kind == "no_warn" else replace(expected, no_info=True)


def _pattern(form: str | None, text: str | None) -> TextPattern:
    if form is None or text is None:
        return TextPattern()
    if form == "msg":
        return TextPattern(text=text.strip())
    try:
        return TextPattern(pattern=re.compile(text.strip()))
    except re.error as error:
        raise ValueError(f"bad regular expression {text.strip()!r}: {error}") from None


def _check(expected: Expectation) -> None:
    if (expected.warn and expected.no_warn) or (expected.info and expected.no_info):
        raise ValueError("an annotation is expected and forbidden at once")


def _duration(text: str) -> int:
    """A time or step in ms: a duration, or seconds."""
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        return round(float(text) * 1000)
    return parse_duration_ms(text)
