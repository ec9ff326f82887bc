"""Our engine as a script's engine under test."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import SampleColumns
from mimir_rw.promql.engine import Engine
from mimir_rw.promql.exec.values import Scalar, String, Vector
from mimir_rw.promql.result import RangeSamples, Result
from mimir_rw.promql.script.answer import Answer, AnswerKind, AnswerSeries, AnswerValue
from mimir_rw.storage.contract import Queryable


@dataclass(frozen=True, slots=True)
class EngineUnderTest:
    """engine: with delayed name removal on, otherwise default options."""

    engine: Engine

    async def instant(self, data: Queryable, query: str, time_ms: int) -> Answer:
        return _answer(await self.engine.instant(data, query, time_ms))

    async def range(self, data: Queryable, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        return _answer(await self.engine.range(data, query, start_ms, end_ms, step_ms))


def _answer(result: Result) -> Answer:
    value = result.value
    text = value.value if isinstance(value, String) else ""
    return Answer(AnswerKind(result.type.value), _series(result), text, result.warnings, result.infos)


def _series(result: Result) -> tuple[AnswerSeries, ...]:
    value, times = result.value, result.steps.times()
    if isinstance(value, Scalar):
        return (AnswerSeries((), tuple(zip(times.tolist(), value.values.tolist(), strict=True))),)
    if isinstance(value, Vector):
        rows = value.labels.rows()
        return tuple(AnswerSeries(_labels(labels), _cells(value, row, times)) for row, labels in enumerate(rows))
    return _range_series(value) if isinstance(value, RangeSamples) else ()


def _cells(vector: Vector, row: int, times: NDArray[np.int64]) -> tuple[tuple[int, AnswerValue], ...]:
    mask = vector.mask[row]
    points: list[tuple[int, AnswerValue]] = list(
        zip(times[mask].tolist(), vector.values[row][mask].tolist(), strict=True)
    )
    if vector.histograms is not None:
        index, column = vector.histograms.index[row], vector.histograms.column
        points += [(int(times[step]), column.part(int(index[step]))) for step in np.flatnonzero(index >= 0)]
        points.sort(key=itemgetter(0))
    return tuple(points)


def _range_series(value: RangeSamples) -> tuple[AnswerSeries, ...]:
    columns, rows = value.columns, value.labels.rows()
    return tuple(AnswerSeries(_labels(labels), _samples(columns, row)) for row, labels in enumerate(rows))


def _samples(columns: SampleColumns, row: int) -> tuple[tuple[int, AnswerValue], ...]:
    span = slice(int(columns.offsets[row]), int(columns.offsets[row + 1]))
    points: list[tuple[int, AnswerValue]] = list(
        zip(columns.ts[span].tolist(), columns.values[span].tolist(), strict=True)
    )
    if columns.histogram_count:
        offsets, ts, column = columns.histogram_offsets, columns.histogram_ts, columns.histogram_column
        points += [(int(ts[at]), column.part(at)) for at in range(int(offsets[row]), int(offsets[row + 1]))]
        points.sort(key=itemgetter(0))
    return tuple(points)


def _labels(row: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(row.items()))
