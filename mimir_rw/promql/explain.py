"""What an evaluation did, operator by operator: a tree of `OperatorTrace`, gathered only for a query that asks.

A `Tracer` listens to one evaluation, in its thread, and is then read once. Operators need not know it: the evaluation
reports each of them, the readers of selectors what they decode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mimir_rw.promql.ast import AggregateExpr, BinaryExpr, Call, Expr, UnaryExpr
from mimir_rw.promql.exec.values import Value, Vector
from mimir_rw.promql.plan.concat import Concat
from mimir_rw.promql.printer import format_expr
from mimir_rw.storage.contract import SeriesSet
from mimir_rw.storage.shard import whole_of

TEXT_CHARACTERS_MAX = 2_000
OPERATORS_MAX = 2_000
"""More of them, each with its text, are too much for an answer; the time of those left out is their parent's own."""


@dataclass(frozen=True, slots=True)
class SelectTrace:
    """One select of storage. mint, maxt: int ms, inclusive; samples: decoded, by all operators that read it."""

    matchers: str
    mint: int
    maxt: int
    series: int
    samples: int


@dataclass(frozen=True, slots=True)
class OperatorTrace:
    """One operator and, as `children`, those that it asked.

    text: the expression, as the plan has it. evaluations: how often it ran. steps: of its result; rows_in: of the
    results of its children and of the series that it read itself; rows_out: of its own. samples: decoded by it.
    bytes: of its result; peak_bytes: the most that the query held while it ran. seconds: with its children.
    notes: what the plan did to it.
    """

    kind: str
    text: str
    evaluations: int
    steps: int
    rows_in: int
    rows_out: int
    samples: int
    bytes: int
    peak_bytes: int
    seconds: float
    own_seconds: float
    notes: tuple[str, ...]
    children: tuple[OperatorTrace, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """rewrites: names of those that changed the plan, in their order."""

    rewrites: tuple[str, ...]
    selects: tuple[SelectTrace, ...]
    root: OperatorTrace | None

    def as_json(self) -> dict[str, Any]:
        """Plain dicts and lists, with the field names above."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Explanation:
        """Inverse of `as_json`. Raises KeyError, TypeError or ValueError for what is none."""
        root = data["root"]
        return Explanation(
            rewrites=tuple(str(name) for name in data["rewrites"]),
            selects=tuple(SelectTrace(**each) for each in data["selects"]),
            root=None if root is None else _operator_from_json(root),
        )


def _operator_from_json(data: Mapping[str, Any]) -> OperatorTrace:
    fields = dict(data)
    fields["notes"] = tuple(fields["notes"])
    fields["children"] = tuple(_operator_from_json(child) for child in fields["children"])
    return OperatorTrace(**fields)


@dataclass(slots=True)
class _Running:
    """An operator that has begun. Equal calls under one parent (batches of series) are one entry."""

    node: Expr
    evaluations: int = 0
    steps: int = 0
    series_read: int = 0
    rows_out: int = 0
    samples: int = 0
    bytes: int = 0
    peak_bytes: int = 0
    seconds: float = 0.0
    notes: dict[str, None] = field(default_factory=dict)
    children: dict[int, _Running] = field(default_factory=dict)


class Tracer:
    """Mutable; owned by one evaluation. monotonic: seconds. notes: what the plan did to nodes, by their ids."""

    def __init__(self, *, monotonic: Callable[[], float], notes: Mapping[int, Sequence[str]]) -> None:
        self._monotonic = monotonic
        self._notes = notes
        self._outermost: dict[int, _Running] = {}
        self._stack: list[_Running] = []
        self._operators = 0
        self._samples_by_select: dict[int, int] = {}

    def run(self, node: Expr, evaluate: Callable[[], Value], peak_bytes: Callable[[], int]) -> Value:
        """The value of `evaluate`, which carries out `node`. peak_bytes: of the query, so far."""
        siblings = self._stack[-1].children if self._stack else self._outermost
        if id(node) not in siblings:
            if self._operators >= OPERATORS_MAX:
                return evaluate()
            self._operators += 1
        entry = siblings.setdefault(id(node), _Running(node, notes=dict.fromkeys(self._notes.get(id(node), ()))))
        self._stack.append(entry)
        began = self._monotonic()
        try:
            value = evaluate()
        finally:
            entry.seconds += self._monotonic() - began
            self._stack.pop()
        entry.evaluations += 1
        entry.peak_bytes = max(entry.peak_bytes, peak_bytes())
        entry.bytes = max(entry.bytes, value.nbytes)
        if isinstance(value, Vector):
            entry.rows_out += len(value.labels)
            entry.steps = max(entry.steps, value.mask.shape[1])
        return value

    def note(self, text: str) -> None:
        """Something that the running operator did otherwise than its text says."""
        if self._stack:
            self._stack[-1].notes[text] = None

    def decoded(self, series: SeriesSet, rows: int, samples: int) -> None:
        """The running operator has read rows of a select, or of a part of it. The select stays alive."""
        select = whole_of(series)
        for entry in self._stack[-1:]:
            entry.series_read += rows
            entry.samples += samples
        self._samples_by_select[id(select)] = self._samples_by_select.get(id(select), 0) + samples

    def samples_of(self, select: object) -> int:
        return self._samples_by_select.get(id(select), 0)

    def explanation(self, rewrites: Sequence[str], selects: Sequence[SelectTrace]) -> Explanation:
        """root is None where the query is a range vector itself: no operator ran."""
        operators = [_finished(entry) for entry in self._outermost.values()]
        return Explanation(tuple(rewrites), tuple(selects), operators[0] if operators else None)


def _finished(entry: _Running) -> OperatorTrace:
    children = tuple(_finished(child) for child in entry.children.values())
    text = "" if isinstance(entry.node, Concat) else format_expr(entry.node)
    return OperatorTrace(
        kind=operator_kind(entry.node),
        text=text if len(text) <= TEXT_CHARACTERS_MAX else text[:TEXT_CHARACTERS_MAX] + "...",
        evaluations=entry.evaluations,
        steps=entry.steps,
        rows_in=entry.series_read + sum(child.rows_out for child in children),
        rows_out=entry.rows_out,
        samples=entry.samples,
        bytes=entry.bytes,
        peak_bytes=entry.peak_bytes,
        seconds=entry.seconds,
        own_seconds=max(0.0, entry.seconds - sum(child.seconds for child in children)),
        notes=tuple(entry.notes),
        children=children,
    )


def operator_kind(node: Expr) -> str:
    """What an operator is called: `sum`, `rate`, `+`, `select`."""
    match node:
        case Call():
            return node.func.name
        case AggregateExpr() | BinaryExpr():
            return str(node.op)
        case UnaryExpr():
            return f"unary {node.op}"
    return _KINDS.get(type(node).__name__, type(node).__name__)


_KINDS = {
    "VectorSelector": "select",
    "MatrixSelector": "range select",
    "SubqueryExpr": "subquery",
    "NumberLiteral": "number",
    "StringLiteral": "string",
    "Concat": "concat",
}
