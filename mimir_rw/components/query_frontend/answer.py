"""A result of the engine as the JSON body that clients get. Encoded once, from columns. Pure; runs in a thread."""

from __future__ import annotations

from mimir_rw.components.query_frontend.explanation import explanation_object
from mimir_rw.promql.exec.annotations import shown
from mimir_rw.promql.exec.values import Scalar, String
from mimir_rw.promql.quoting import quote
from mimir_rw.promql.result import RangeSamples, Result, ResultType
from mimir_rw.wire.prometheus_json import (
    QueryData,
    Stats,
    matrix_data,
    query_answer,
    range_samples_data,
    scalar_data,
    string_data,
    vector_data,
)

_STATS = ("", "true", "all")


def result_json(result: Result, limit: int, stats: str, elapsed_s: float) -> bytes:
    """The success envelope. limit > 0 cuts the series off; stats "" leaves statistics out; elapsed_s: since the query
    came, in seconds: what the engine did not take of it, the query waited."""
    data = _data(result, limit)
    warnings = shown(list(result.warnings), "warning")
    if stats not in _STATS:
        warnings.append(
            f'value {quote(stats)} for parameter "stats" is deprecated and will be rejected in the next major release, '
            'use "true" or "all"'
        )
    infos = shown(list(result.infos), "info")
    return query_answer(
        data,
        warnings=warnings,
        infos=infos,
        stats=_stats(result, elapsed_s, per_step=stats == "all") if stats else None,
        explain=None if result.explanation is None else explanation_object(result.explanation),
    )


def _data(result: Result, limit: int) -> QueryData:
    steps, value = result.steps, result.value
    if isinstance(value, Scalar):
        return scalar_data(steps.start, float(value.values[0]))
    if isinstance(value, String):
        return string_data(steps.start, value.value)
    if isinstance(value, RangeSamples):
        return range_samples_data(value.labels, value.columns, limit)
    cells = value.histograms
    histograms = None if cells is None else (cells.column, cells.index)
    if result.type is ResultType.VECTOR:
        return vector_data(value.labels, steps.start, value.values[:, 0], value.mask[:, 0], limit, histograms)
    return matrix_data(value.labels, steps.start, steps.step, value.values, value.mask, limit, histograms)


def _stats(result: Result, elapsed_s: float, *, per_step: bool) -> Stats:
    """Statistics in Prometheus' shape, with what this engine can tell."""
    stats = result.stats
    prepare_s = stats.prepare_s + stats.select_s
    return Stats(
        prepare_s=prepare_s,
        evaluate_s=stats.evaluate_s,
        queue_s=max(0.0, elapsed_s - prepare_s - stats.evaluate_s),
        total_s=elapsed_s,
        samples_queryable=sum(stats.queryable),
        samples_read=sum(stats.read),
        steps=list(zip(result.steps.seconds().tolist(), stats.queryable, stats.read, strict=True)) if per_step else [],
        samples_peak=stats.peak_bytes // 16,
    )
