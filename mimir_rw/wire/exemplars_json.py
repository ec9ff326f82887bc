"""The answer of `/query_exemplars` in Prometheus' shape. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from mimir_rw.model.exemplars import Exemplar, Labels, SeriesExemplars


def exemplars_answer(found: Sequence[SeriesExemplars]) -> bytes:
    """The whole body. Label text is not escaped for HTML, as Prometheus does it."""
    return b'{"status":"success","data":[' + b",".join(map(_series, found)) + b"]}"


def _series(found: SeriesExemplars) -> bytes:
    exemplars = b",".join(map(_exemplar, found.exemplars))
    return b'{"seriesLabels":' + _labels(found.series) + b',"exemplars":[' + exemplars + b"]}"


def _exemplar(exemplar: Exemplar) -> bytes:
    rest = f',"value":"{number(exemplar.value)}","timestamp":{timestamp(exemplar.ts)}}}'
    return b'{"labels":' + _labels(exemplar.labels) + rest.encode()


def _labels(labels: Labels) -> bytes:
    return msgspec.json.encode(dict(labels))


def number(value: float) -> str:
    """Shortest digits; an exponent where the magnitude is below 1e-6 or from 1e21 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return np.format_float_positional(value, trim="-")
    return np.format_float_scientific(value, trim="-", exp_digits=2)


def timestamp(ms: int) -> str:
    """Seconds; three decimals unless they are zero."""
    whole, rest = divmod(abs(ms), 1000)
    return f"{'-' if ms < 0 else ''}{whole}" + (f".{rest:03d}" if rest else "")
