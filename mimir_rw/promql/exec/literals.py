"""Numbers and strings."""

from __future__ import annotations

import numpy as np

from mimir_rw.promql.ast import NumberLiteral, StringLiteral
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.values import Scalar, String


def number(ev: Evaluation, node: NumberLiteral) -> Scalar:
    return Scalar(np.full(ev.steps.count, node.value))


def string(ev: Evaluation, node: StringLiteral) -> String:
    return String(node.value)
