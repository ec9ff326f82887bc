"""Our engine as a script's engine under test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimir_rw.promql.engine import Engine
from mimir_rw.promql.exec.values import Scalar, String, Vector
from mimir_rw.promql.result import RangeSamples, Result
from mimir_rw.promql.script.answer import Answer, AnswerKind, AnswerSeries
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
        return tuple(
            AnswerSeries(_labels(row), tuple(zip(times[mask].tolist(), values[mask].tolist(), strict=True)))
            for row, values, mask in zip(value.labels.rows(), value.values, value.mask, strict=True)
        )
    return _range_series(value) if isinstance(value, RangeSamples) else ()


def _range_series(value: RangeSamples) -> tuple[AnswerSeries, ...]:
    columns = value.columns
    offsets, ts, values = columns.offsets, np.asarray(columns.ts), np.asarray(columns.values)
    spans = [slice(int(offsets[row]), int(offsets[row + 1])) for row in range(len(columns))]
    return tuple(
        AnswerSeries(_labels(row), tuple(zip(ts[span].tolist(), values[span].tolist(), strict=True)))
        for row, span in zip(value.labels.rows(), spans, strict=True)
    )


def _labels(row: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(row.items()))
