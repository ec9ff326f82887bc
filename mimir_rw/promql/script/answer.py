"""What an engine answers, in the form in which scripts compare it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union

from mimir_rw.promql.script.commands import Labels
from mimir_rw.storage.contract import Queryable

if TYPE_CHECKING:
    from mimir_rw._native import HistogramParts

AnswerValue: TypeAlias = Union[float, "HistogramParts"]


class AnswerKind(enum.StrEnum):
    VECTOR = "vector"
    MATRIX = "matrix"
    SCALAR = "scalar"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class AnswerSeries:
    """One series, points ascending in time: (ms, value). A scalar is one series without labels."""

    labels: Labels
    points: tuple[tuple[int, AnswerValue], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """series in the engine's order; text: of a string. warnings, infos: texts with kind prefix and position."""

    kind: AnswerKind
    series: tuple[AnswerSeries, ...] = ()
    text: str = ""
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


class ScriptEngine(Protocol):
    """An engine under test, with all syntax allowed and delayed name removal on; lookback 5 m, subquery step 1 m.

    Both raise a MimirError for a query that fails.
    """

    async def instant(self, data: Queryable, query: str, time_ms: int) -> Answer: ...

    async def range(self, data: Queryable, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """At start, start + step, ... <= end; a matrix."""
        ...
