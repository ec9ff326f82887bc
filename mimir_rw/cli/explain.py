"""`mimir-rw query --explain`: what each operator of a query did, as a tree with columns. Pure: decoded JSON in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from mimir_rw.cli.query_text import clock, duration_text, size_text

Operator = Mapping[str, Any]
_EXPRESSION_CHARACTERS_MAX = 300


def explanation(data: Mapping[str, Any], width: int) -> list[Table | Text]:
    """What to print, so many characters wide, for the `data` of an answer with `explain` and `stats`."""
    explain = data["explain"]
    parts: list[Table | Text] = []
    if explain["plan"] is not None:
        parts += [_operators(explain["plan"], width), Text()]
    if explain["selects"]:
        parts += [_selects(explain["selects"]), Text()]
    if explain["rewrites"]:
        parts.append(Text(f"rewrites: {', '.join(explain['rewrites'])}"))
    return [*parts, _totals(data)]


def _operators(plan: Operator, width: int) -> Table:
    """The tree, and as many columns as fit beside it."""
    walked = list(_walk(plan))
    whole = plan["seconds"] or 1.0
    cells = {name: [show(operator, whole) for _, operator in walked] for name, show in _COLUMNS.items()}
    wide = {name: max(map(len, (name, *texts))) + _GAP for name, texts in cells.items()}
    texts = [_operator_text(branch, operator) for branch, operator in walked]
    tree = min(max(text.cell_len for text in texts), _TREE_WIDTH_MIN)
    shown: set[str] = set()
    for name in _BY_IMPORTANCE:
        if tree + sum(wide[each] for each in (*shown, name)) <= width:
            shown.add(name)
    columns = [name for name in _COLUMNS if name in shown]
    room = width - sum(wide[name] for name in columns)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("operator", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row, text in enumerate(texts):
        text.truncate(room, overflow="ellipsis")
        table.add_row(text, *(cells[name][row] for name in columns))
    return table


_GAP = 2
_TREE_WIDTH_MIN = 40
_COLUMNS: dict[str, Callable[[Operator, float], str]] = {
    "rows in": lambda operator, _: f"{operator['rowsIn']:,}",
    "rows out": lambda operator, _: f"{operator['rowsOut']:,}",
    "steps": lambda operator, _: f"{operator['steps']:,}",
    "samples": lambda operator, _: f"{operator['samples']:,}",
    "bytes": lambda operator, _: size_text(operator["bytes"]),
    "peak": lambda operator, _: size_text(operator["peakBytes"]),
    "time": lambda operator, _: duration_text(operator["seconds"]),
    "own": lambda operator, _: duration_text(operator["ownSeconds"]),
    "own %": lambda operator, whole: f"{100 * operator['ownSeconds'] / whole:.0f}%",
}
_BY_IMPORTANCE = ("rows out", "time", "own %", "bytes", "samples", "rows in", "own", "steps", "peak")


def _operator_text(branch: str, operator: Operator) -> Text:
    """Branch, name, what the plan did to it, expression."""
    text = Text(branch, "dim")
    text.append(operator["operator"], "bold not dim")
    if operator["evaluations"] != 1:
        text.append(f" x{operator['evaluations']:,}", "not dim")
    if operator["notes"]:
        text.append(f" [{', '.join(operator['notes'])}]", "italic not dim")
    if operator["operator"] not in ("number", "string") or operator["children"]:
        text.append(f"  {_shown(operator['expression'])}")
    else:
        text.append(f" {_shown(operator['expression'])}", "not dim")
    return text


def _shown(expression: str) -> str:
    return " ".join(expression[:_EXPRESSION_CHARACTERS_MAX].split())


def _walk(plan: Operator) -> Iterator[tuple[str, Operator]]:
    """Operators from the outermost on, each with the lines that lead to it."""
    stack: list[tuple[str, str, Operator]] = [("", "", plan)]
    while stack:
        branch, below, operator = stack.pop()
        yield branch, operator
        children: Sequence[Operator] = operator["children"]
        for number, child in reversed(list(enumerate(children))):
            last = number == len(children) - 1
            stack.append((below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), child))


def _selects(selects: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("select", overflow="fold", ratio=1, min_width=20)
    table.add_column("from", no_wrap=True)
    table.add_column("to", no_wrap=True)
    for column in ("series", "samples"):
        table.add_column(column, justify="right", no_wrap=True)
    for select in selects:
        counts = (f"{select[name]:,}" for name in ("series", "samples"))
        table.add_row(Text(select["matchers"]), clock(select["start"]), clock(select["end"]), *counts)
    return table


def _totals(data: Mapping[str, Any]) -> Text:
    timings, samples = data["stats"]["timings"], data["stats"]["samples"]
    result = data["result"]
    series = f"{len(result):,} series, " if data["resultType"] in ("vector", "matrix") else ""
    return Text(
        f"{series}{samples['samplesRead']:,} samples read; {duration_text(timings['execTotalTime'])} in all: "
        f"queued {duration_text(timings['execQueueTime'])}, prepared {duration_text(timings['queryPreparationTime'])}, "
        f"evaluated {duration_text(timings['innerEvalTime'])}"
    )
