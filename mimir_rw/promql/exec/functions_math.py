"""Elementwise functions of floats: each step of each row by itself. All drop the name, and histograms silently."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import elementary
from mimir_rw.promql.ast import Call
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.values import FloatMatrix, Scalar, Vector, drop_names


def _sgn(x: FloatMatrix) -> FloatMatrix:
    return np.where(x < 0, -1.0, np.where(x > 0, 1.0, x))


# The last digits of these are the reference's: see the kernel.
_ELEMENTARY = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "ln", "log10", "log2",
    "sin", "sinh", "tan", "tanh",
)  # fmt: skip
ELEMENTWISE: dict[str, Callable[[FloatMatrix], FloatMatrix]] = {
    **{name: partial(elementary, name) for name in _ELEMENTARY},
    "abs": np.abs,
    "ceil": np.ceil,
    "deg": lambda x: x * 180 / math.pi,
    "floor": np.floor,
    "rad": lambda x: x * math.pi / 180,
    "sgn": _sgn,
    "sqrt": np.sqrt,
}


def _maximum(a: FloatMatrix, b: FloatMatrix) -> FloatMatrix:
    """NaN if either is, but for +Inf, which is the greatest even beside NaN; 0 is greater than -0."""
    greatest = np.maximum(a, b)
    zeros = greatest == 0
    if zeros.any():
        greatest = np.where(zeros & (a == b), a + b, greatest)
    return np.where(np.isposinf(a) | np.isposinf(b), np.inf, greatest) if np.isnan(greatest).any() else greatest


def _minimum(a: FloatMatrix, b: FloatMatrix) -> FloatMatrix:
    """The mirror image."""
    return -_maximum(-a, -b)


def elementwise(ev: Evaluation, node: Call) -> Vector:
    vector = ev.vector(node.args[0]).floats()
    return _with_values(ev, vector, ELEMENTWISE[node.func.name](vector.values))


def clamp(ev: Evaluation, node: Call) -> Vector:
    """clamp(v, min, max): no element at steps where max < min."""
    vector = ev.vector(node.args[0]).floats()
    low, high = ev.scalar(node.args[1]), ev.scalar(node.args[2])
    clamped = _maximum(low, _minimum(high, vector.values))
    empty = high < low
    if empty.any():
        vector = replace(vector, mask=vector.mask & ~empty)
    return _with_values(ev, vector, clamped)


def clamp_one_side(ev: Evaluation, node: Call) -> Vector:
    vector = ev.vector(node.args[0]).floats()
    bound = ev.scalar(node.args[1])
    bounded = _minimum if node.func.name == "clamp_max" else _maximum
    return _with_values(ev, vector, bounded(bound, vector.values))


def round_to(ev: Evaluation, node: Call) -> Vector:
    """Ties go up; the inverse is used because 1/0.1 is exact enough where 0.1 is not."""
    vector = ev.vector(node.args[0]).floats()
    nearest = ev.scalar(node.args[1]) if len(node.args) > 1 else np.ones(ev.steps.count)
    inverse = 1.0 / nearest
    return _with_values(ev, vector, np.floor(vector.values * inverse + 0.5) / inverse)


def scalar_extreme(ev: Evaluation, node: Call) -> Scalar:
    """min_of and max_of."""
    left, right = ev.scalar(node.args[0]), ev.scalar(node.args[1])
    return Scalar((_minimum if node.func.name == "min_of" else _maximum)(left, right))


def pi(ev: Evaluation, node: Call) -> Scalar:
    return Scalar(np.full(ev.steps.count, math.pi))


def _with_values(ev: Evaluation, vector: Vector, values: NDArray[np.float64]) -> Vector:
    return drop_names(replace(vector, values=values), delayed=ev.delayed_name_removal)
