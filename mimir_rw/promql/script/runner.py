"""Runs the commands of a script against an engine and reports on each evaluation.

An instant evaluation is run more than once: as written; with every selector pinned by `@` and evaluated at other times,
which must not change the answer; and each of these as the middle step of a range query.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mimir_rw.model.errors import MimirError
from mimir_rw.promql.ast import Call, Expr, SubqueryExpr, VectorSelector, children, transform, walk
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.printer import format_expr
from mimir_rw.promql.script.answer import Answer, AnswerKind, AnswerSeries, ScriptEngine
from mimir_rw.promql.script.commands import Clear, Command, Evaluation, Load, RangeVector
from mimir_rw.promql.script.compare import compare, compare_value, format_answer, format_expected, is_sorted
from mimir_rw.promql.script.storage import ScriptStorage

_MINUTE_MS = 60_000
_CONTEXT_FUNCTIONS = re.compile(r"(?:start|end|range|step)\(\)")
_CALENDAR_FUNCTIONS = {"days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year"}
_TIME_FUNCTIONS = _CALENDAR_FUNCTIONS | {"predict_linear", "time", "timestamp", "start", "end", "range", "step"}
"""Functions whose answer changes with the time of evaluation although their arguments do not."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One evaluation. name: `file:line expression`. problem: "" exactly when it passed; expected and got: texts."""

    name: str
    problem: str
    expected: str
    got: str

    @property
    def passed(self) -> bool:
        return not self.problem


@dataclass(frozen=True, slots=True)
class _Difference(Exception):
    problem: str
    got: str


async def run_script(commands: Sequence[Command], *, file: str, engine: ScriptEngine) -> list[CaseResult]:
    """Run all commands in order. A failing evaluation does not stop the script. file: its name in the results."""
    storage = ScriptStorage()
    results: list[CaseResult] = []
    for command in commands:
        match command:
            case Clear():
                storage = ScriptStorage()
            case Load():
                storage.load(command)
            case Evaluation():
                results.append(await _Case(command, storage, engine).run(file))
    return results


class _Case:
    def __init__(self, case: Evaluation, storage: ScriptStorage, engine: ScriptEngine) -> None:
        self.case = case
        self.storage = storage
        self.engine = engine

    async def run(self, file: str) -> CaseResult:
        problem = got = ""
        try:
            if self.case.is_instant:
                for query, time_ms in [(self.case.expr, self.case.start_ms), *self.pinned()]:
                    await self.instant(query, time_ms)
            else:
                await self.range()
        except _Difference as difference:
            problem, got = difference.problem, difference.got
        name = f"{file}:{self.case.line} {self.case.expr}"
        return CaseResult(name, problem, format_expected(self.case.expected), got)

    async def range(self) -> None:
        case = self.case
        try:
            answer = await self.engine.range(self.storage, case.expr, case.start_ms, case.end_ms, case.step_ms)
        except Exception as error:
            self.failed(error, "")
            return
        self.check(answer, "")

    async def instant(self, query: str, time_ms: int) -> None:
        where = "" if query == self.case.expr else f", as {query} at {time_ms} ms"
        try:
            answer = await self.engine.instant(self.storage, query, time_ms)
        except Exception as error:
            self.failed(error, where)
            return
        self.check(answer, where)
        expected = self.case.expected
        if expected.range_vector is None and expected.string is None and not _CONTEXT_FUNCTIONS.search(query):
            await self.middle_of_range(query, time_ms, answer.kind)

    async def middle_of_range(self, query: str, time_ms: int, kind: AnswerKind) -> None:
        where = f", as the middle step of a range: {query} at {time_ms} ms"
        start_ms, end_ms = time_ms - _MINUTE_MS, time_ms + _MINUTE_MS
        try:
            answer = await self.engine.range(self.storage, query, start_ms, end_ms, _MINUTE_MS)
        except Exception as error:
            raise _Difference(f"fails{where}", _error_text(error)) from None
        if self.case.expected.ordered:
            return
        if not is_sorted(answer):
            raise _Difference(f"the series of a matrix are not sorted by labels{where}", self.shown(answer))
        middle = tuple(
            AnswerSeries(series.labels, tuple(point for point in series.points if point[0] == time_ms))
            for series in answer.series
            if any(at == time_ms for at, _ in series.points)
        )
        answer = replace(answer, kind=kind, series=middle)
        problem = compare_value(self.case.expected, _at(answer, self.case.start_ms), self.times())
        if problem:
            raise _Difference(problem + where, self.shown(answer))

    def check(self, answer: Answer, where: str) -> None:
        if self.case.expected.fail is not None:
            raise _Difference(f"expected an error{where}", self.shown(answer))
        moved = _at(answer, self.case.start_ms) if answer.kind is AnswerKind.VECTOR else answer
        problem = compare(self.case, moved)
        if problem:
            raise _Difference(problem + where, self.shown(answer))

    def failed(self, error: Exception, where: str) -> None:
        fail = self.case.expected.fail
        text = _error_text(error)
        if fail is None:
            raise _Difference(f"fails{where}", text) from None
        if not isinstance(error, MimirError) or not fail.accepts(str(error)):
            raise _Difference(f"another error than expected{where}", text) from None

    def times(self) -> RangeVector:
        case = self.case
        return case.expected.range_vector or RangeVector(case.start_ms, case.end_ms, case.step_ms)

    def shown(self, answer: Answer) -> str:
        return format_answer(answer, self.times())

    def pinned(self) -> list[tuple[str, int]]:
        """The same query with its selectors fixed in time, at times that must not matter."""
        time_ms = self.case.start_ms
        try:
            expr = parse_expression(self.case.expr)
        except MimirError:
            return []
        if any(isinstance(node, Call) and node.func.name in _TIME_FUNCTIONS for node in _outside_subqueries(expr)):
            return []
        query = format_expr(_pin(expr, time_ms))
        if time_ms == 0:
            return [(query, -1000), (query, 0), (query, 1000)]
        return [(query, at) for at in (-10 * time_ms, 0, time_ms // 5, time_ms, 10 * time_ms)]


def _error_text(error: Exception) -> str:
    return str(error) if isinstance(error, MimirError) else f"internal error: {error!r}"


def _at(answer: Answer, time_ms: int) -> Answer:
    """A vector or scalar answer with its points moved to another time."""
    moved = (AnswerSeries(series.labels, ((time_ms, series.points[0][1]),)) for series in answer.series)
    return replace(answer, series=tuple(moved))


def _outside_subqueries(expr: Expr) -> list[Expr]:
    """Nodes that no subquery encloses."""
    found: list[Expr] = []
    stack = [expr]
    while stack:
        node = stack.pop()
        found.append(node)
        if not isinstance(node, SubqueryExpr):
            stack.extend(children(node))
    return found


def _pin(expr: Expr, time_ms: int) -> Expr:
    """Every selector and subquery that no subquery encloses gets `@ time`, unless it is fixed already."""
    enclosed = {
        id(inner) for node in _outside_subqueries(expr) if isinstance(node, SubqueryExpr) for inner in walk(node.expr)
    }

    def rewrite(node: Expr) -> Expr:
        if id(node) in enclosed or not isinstance(node, VectorSelector | SubqueryExpr) or isinstance(node.at, int):
            return node
        return replace(node, at=time_ms)

    return transform(expr, rewrite)
