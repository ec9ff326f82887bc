"""Prometheus' answers to queries: envelopes around what the native text kernels encode from columns.

In: columns of a result, annotations, statistics. Out: finished response bodies. Label and value text is written by the
kernels, without HTML escaping; every other string is escaped as Go's encoder does. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import (
    HistogramColumn,
    LabelFrame,
    SampleColumns,
    encode_matrix,
    encode_range_samples,
    encode_scalar,
    encode_string,
    encode_vector,
)

_TRUNCATED = "results truncated due to limit"


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of a query in the terms of the API; times in seconds. steps: time, queryable and read samples of each,
    where they are shown."""

    prepare_s: float
    evaluate_s: float
    queue_s: float
    total_s: float
    samples_queryable: int
    samples_read: int
    samples_peak: int
    steps: Sequence[tuple[float, int, int]] = ()


@dataclass(frozen=True, slots=True)
class QueryData:
    """`result` of a query as JSON text, and its type. truncated: the limit left something out."""

    type: str
    result: bytes
    truncated: bool = False


Histograms = tuple[HistogramColumn, NDArray[np.int32]]
"""A column, and for each cell of a matrix the number of its histogram, -1 for none."""


def vector_data(
    labels: LabelFrame,
    time_ms: int,
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
    limit: int = 0,
    histograms: Histograms | None = None,
) -> QueryData:
    """values, mask: one per row, every row present; histograms: a matrix of one step. limit 0: no limit."""
    result = encode_vector(labels, time_ms, values, mask, limit, histograms)
    return QueryData("vector", result, 0 < limit < len(labels))


def matrix_data(
    labels: LabelFrame,
    start_ms: int,
    step_ms: int,
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
    limit: int = 0,
    histograms: Histograms | None = None,
) -> QueryData:
    """values, mask, histograms: (rows, steps), every row with a sample; rows already in order."""
    result = encode_matrix(labels, start_ms, step_ms, values, mask, limit, histograms)
    return QueryData("matrix", result, 0 < limit < len(labels))


def range_samples_data(labels: LabelFrame, columns: SampleColumns, limit: int = 0) -> QueryData:
    return QueryData("matrix", encode_range_samples(labels, columns, limit), 0 < limit < len(labels))


def scalar_data(time_ms: int, value: float) -> QueryData:
    return QueryData("scalar", encode_scalar(time_ms, value))


def string_data(time_ms: int, text: str) -> QueryData:
    """Bytes of the text that are no UTF-8 (lone surrogates) become replacement characters."""
    readable = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return QueryData("string", encode_string(time_ms, readable))


def query_answer(
    data: QueryData,
    *,
    warnings: Sequence[str] = (),
    infos: Sequence[str] = (),
    stats: Stats | None = None,
    explain: Mapping[str, object] | None = None,
) -> bytes:
    """The whole body of an answered query. explain: plain data, which Prometheus does not have."""
    if data.truncated:
        warnings = [*warnings, _TRUNCATED]
    parts = [b'{"status":"success","data":{"resultType":"', data.type.encode(), b'","result":', data.result]
    if stats is not None:
        parts += [b',"stats":', msgspec.json.encode(_stats(stats))]
    if explain is not None:
        parts += [b',"explain":', escape_html(msgspec.json.encode(explain))]
    parts.append(b"}")
    for name, texts in ((b"warnings", warnings), (b"infos", infos)):
        if texts:
            parts += [b',"', name, b'":', escape_html(msgspec.json.encode(list(texts)))]
    parts.append(b"}")
    return b"".join(parts)


def escape_html(encoded: bytes) -> bytes:
    """Escape JSON text as Go's encoder does; these bytes only ever stand inside its strings."""
    return encoded.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def _per_step(stats: Stats) -> dict[str, object]:
    if not stats.steps:
        return {}
    return {
        "totalQueryableSamplesPerStep": [(time, queryable) for time, queryable, _ in stats.steps],
        "samplesReadPerStep": [(time, read) for time, _, read in stats.steps],
    }


def _stats(stats: Stats) -> dict[str, dict[str, object]]:
    return {
        "timings": {
            "evalTotalTime": stats.prepare_s + stats.evaluate_s,
            "resultSortTime": 0.0,
            "queryPreparationTime": stats.prepare_s,
            "innerEvalTime": stats.evaluate_s,
            "execQueueTime": stats.queue_s,
            "execTotalTime": stats.total_s,
        },
        "samples": {
            "totalQueryableSamples": stats.samples_queryable,
            "samplesRead": stats.samples_read,
            "peakSamples": stats.samples_peak,
            **_per_step(stats),
        },
    }
