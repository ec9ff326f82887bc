"""absent, absent_over_time, scalar, vector: whether there is something, and between vectors and scalars."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mimir_rw._native import LabelFrame
from mimir_rw.model.labels import METRIC_NAME, MatchType
from mimir_rw.promql.ast import Call, Expr, MatrixSelector, VectorSelector
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.functions_range import over_steps, window_kernel, windows
from mimir_rw.promql.exec.values import BoolMatrix, Scalar, Vector, empty_vector


def absent(ev: Evaluation, node: Call) -> Vector:
    return _where_absent(ev, node.args[0], ev.vector(node.args[0]).steps_present())


def absent_over_time(ev: Evaluation, node: Call) -> Vector:
    source = windows(ev, node.args[0], node.func.name)
    present = over_steps(ev, source.run(ev, window_kernel(ev, "present_over_time", source)))
    return _where_absent(ev, node.args[0], present.steps_present())


def _where_absent(ev: Evaluation, node: Expr, present: BoolMatrix) -> Vector:
    if present.all():
        return empty_vector(ev.steps)
    labels = LabelFrame.from_rows([_expected_labels(node)])
    return Vector(labels, np.ones((1, ev.steps.count)), ~present[np.newaxis, :])


def _expected_labels(node: Expr) -> dict[str, str]:
    """What a selector demands by equality, but for names of which another matcher says something too."""
    if isinstance(node, MatrixSelector):
        node = node.selector
    if not isinstance(node, VectorSelector):
        return {}
    mentions = Counter(matcher.name for matcher in node.matchers)
    return {
        matcher.name: matcher.value
        for matcher in node.matchers
        if matcher.type is MatchType.EQUAL
        and mentions[matcher.name] == 1
        and matcher.name != METRIC_NAME
        and matcher.value
    }


def scalar(ev: Evaluation, node: Call) -> Scalar:
    """The value where there is exactly one element, else NaN."""
    vector = ev.vector(node.args[0])
    if len(vector.labels) == 0:
        return Scalar(np.full(ev.steps.count, np.nan))
    counts = np.count_nonzero(vector.mask, axis=0)
    row = vector.mask.argmax(axis=0)
    only = vector.values[row, np.arange(ev.steps.count)]
    return Scalar(np.where(counts == 1, only, np.nan))


def vector(ev: Evaluation, node: Call) -> Vector:
    values = ev.scalar(node.args[0])[np.newaxis, :]
    return Vector(LabelFrame.empty_rows(1), values, np.ones(values.shape, dtype=np.bool_))
