"""A result of the engine as the JSON body that clients get. Encoded once, from columns. Pure; runs in a thread."""

from __future__ import annotations

import msgspec

from mimir_rw import _native
from mimir_rw.promql.exec.annotations import shown
from mimir_rw.promql.exec.values import Scalar, String, Vector
from mimir_rw.promql.quoting import quote
from mimir_rw.promql.result import RangeSamples, Result, ResultType

_TRUNCATED = "results truncated due to limit"
_STATS = ("", "true", "all")


def result_json(result: Result, limit: int, stats: str, waited_s: float) -> bytes:
    """The success envelope. limit > 0 cuts the series off; stats "" leaves statistics out; waited_s: time in the
    queue, in seconds."""
    warnings = shown(list(result.warnings), "warning")
    if limit and _rows(result) > limit:
        warnings.append(_TRUNCATED)
    if stats not in _STATS:
        warnings.append(
            f'value {quote(stats)} for parameter "stats" is deprecated and will be rejected in the next major release, '
            'use "true" or "all"'
        )
    parts = [
        b'{"status":"success","data":{"resultType":"',
        result.type.value.encode(),
        b'","result":',
        _value(result, limit),
    ]
    if stats:
        parts += [b',"stats":', msgspec.json.encode(_stats(result, waited_s))]
    parts.append(b"}")
    for name, texts in ((b"warnings", warnings), (b"infos", shown(list(result.infos), "info"))):
        if texts:
            parts += [b',"', name, b'":', _native.encode_strings(texts)]
    parts.append(b"}")
    return b"".join(parts)


def _rows(result: Result) -> int:
    return len(result.value.labels) if isinstance(result.value, Vector | RangeSamples) else 0


def _value(result: Result, limit: int) -> bytes:
    steps, value = result.steps, result.value
    if isinstance(value, Scalar):
        return _native.encode_scalar(steps.start, float(value.values[0]))
    if isinstance(value, String):
        return _native.encode_string(steps.start, value.value)
    if isinstance(value, RangeSamples):
        return _native.encode_range_samples(value.labels, value.columns, limit)
    if result.type is ResultType.VECTOR:
        return _native.encode_vector(value.labels, steps.start, value.values[:, 0], value.mask[:, 0], limit)
    return _native.encode_matrix(value.labels, steps.start, steps.step, value.values, value.mask, limit)


def _stats(result: Result, waited_s: float) -> dict[str, object]:
    """In Prometheus' shape, with what this engine can tell."""
    stats = result.stats
    evaluation_s = stats.prepare_s + stats.select_s + stats.evaluate_s
    return {
        "timings": {
            "evalTotalTime": evaluation_s,
            "resultSortTime": 0.0,
            "queryPreparationTime": stats.prepare_s + stats.select_s,
            "innerEvalTime": stats.evaluate_s,
            "execQueueTime": waited_s,
            "execTotalTime": waited_s + evaluation_s,
        },
        "samples": {
            "totalQueryableSamples": stats.samples_read,
            "samplesRead": stats.samples_read,
            "peakSamples": stats.peak_bytes // 16,
        },
    }
