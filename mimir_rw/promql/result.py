"""What a query gives back: a value with its type, annotations and statistics."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mimir_rw._native import LabelFrame, SampleColumns
from mimir_rw.promql.exec.values import Scalar, String, Vector
from mimir_rw.promql.explain import Explanation
from mimir_rw.promql.steps import Steps


class ResultType(enum.StrEnum):
    """Prometheus' names."""

    VECTOR = "vector"
    MATRIX = "matrix"
    SCALAR = "scalar"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class RangeSamples:
    """Samples at their own times: an instant query for a range vector. Every row has at least one."""

    labels: LabelFrame
    columns: SampleColumns

    @property
    def nbytes(self) -> int:
        return 16 * self.columns.sample_count + self.columns.histogram_bytes


@dataclass(frozen=True, slots=True)
class QueryStats:
    """samples_read: samples decoded; peak_bytes: the most the evaluation held, as estimated. Times in seconds.

    queryable, read: samples by step, see `exec.step_samples.StepSamples`; empty where they were not asked for.
    """

    samples_read: int
    peak_bytes: int
    prepare_s: float
    select_s: float
    evaluate_s: float
    queryable: tuple[int, ...] = ()
    read: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """value by type: VECTOR a Vector of one step; MATRIX a Vector over `steps` sorted by labels, or RangeSamples;
    SCALAR a Scalar of one step; STRING a String. No row of a Vector is without samples.

    explanation: of a query that asked for it.

    warnings and infos: all of them, in order of appearance; `annotations.shown` cuts them for an answer.
    """

    type: ResultType
    value: Vector | Scalar | String | RangeSamples
    steps: Steps
    warnings: tuple[str, ...]
    infos: tuple[str, ...]
    stats: QueryStats
    explanation: Explanation | None = None
