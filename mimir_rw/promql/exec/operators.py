"""Elementwise arithmetic and comparison, as PromQL defines them on floats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import elementary2
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import BinaryOp

_Operation = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def _elementary(func: str) -> _Operation:
    """A function of the native core, over arrays of any shapes that broadcast."""

    def operation(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        left, right = np.broadcast_arrays(left, right)
        return elementary2(func, np.atleast_2d(left), np.atleast_2d(right)).reshape(left.shape)

    return operation


ARITHMETIC: dict[BinaryOp, _Operation] = {
    BinaryOp.ADD: np.add,
    BinaryOp.SUB: np.subtract,
    BinaryOp.MUL: np.multiply,
    BinaryOp.DIV: np.divide,
    BinaryOp.MOD: np.fmod,
    BinaryOp.POW: _elementary("pow"),
    BinaryOp.ATAN2: _elementary("atan2"),
}

COMPARISON: dict[BinaryOp, Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]] = {
    BinaryOp.EQL: np.equal,
    BinaryOp.NEQ: np.not_equal,
    BinaryOp.GTR: np.greater,
    BinaryOp.LSS: np.less,
    BinaryOp.GTE: np.greater_equal,
    BinaryOp.LTE: np.less_equal,
}


def apply_scalars(op: BinaryOp, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between scalars a comparison is 0 or 1. Raises QueryFailed for what only histograms have: trimming."""
    if op in COMPARISON:
        return COMPARISON[op](left, right).astype(np.float64)
    if op not in ARITHMETIC:
        raise QueryFailed(f'operator "{op.value}" not allowed for Scalar operations')
    return ARITHMETIC[op](left, right)
