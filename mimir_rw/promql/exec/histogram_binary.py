"""Binary operators where some of the elements are native histograms (promql-notes.md 8, 14).

Cell by cell: what an operator gives for two floats, for a histogram and a float, and for two histograms. Combinations
that give nothing are events, of which Prometheus tells the last of each step; `Events` keeps the order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir_rw import _native
from mimir_rw.promql.ast import BinaryExpr, BinaryOp
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.operators import ARITHMETIC, COMPARISON
from mimir_rw.promql.exec.values import BoolMatrix, FloatMatrix, HistogramCells, Rows, Vector, concat_cells

EventMatrix = NDArray[np.uint8]

TRIM = (BinaryOp.TRIM_LOWER, BinaryOp.TRIM_UPPER)
_ADDITIVE = (BinaryOp.ADD, BinaryOp.SUB)
_WITH_FLOAT = (BinaryOp.MUL, BinaryOp.DIV, *TRIM)
_EQUALITY = (BinaryOp.EQL, BinaryOp.NEQ)

_NONE, _FLOAT_FLOAT, _FLOAT_HISTOGRAM, _HISTOGRAM_FLOAT, _HISTOGRAMS, _LAYOUTS, _COLLISION, _RECONCILED = range(8)
_KINDS = {
    _FLOAT_FLOAT: ("float", "float"),
    _FLOAT_HISTOGRAM: ("float", "histogram"),
    _HISTOGRAM_FLOAT: ("histogram", "float"),
    _HISTOGRAMS: ("histogram", "histogram"),
}
# By the bits of histogram_add: incompatible 1, collision 2, reconciled 4. A collision hides a reconciliation.
_OF_ADDITION = np.array([_NONE, _LAYOUTS, _COLLISION, _LAYOUTS, _RECONCILED, _LAYOUTS, _COLLISION, _LAYOUTS], np.uint8)


@dataclass(frozen=True, slots=True)
class Operand:
    """One side, cell by cell. Arrays may be of one row or one step, for all. mask: of floats."""

    values: FloatMatrix
    mask: BoolMatrix
    histograms: HistogramCells | None = None

    @staticmethod
    def number(values: NDArray[np.float64]) -> Operand:
        """A float everywhere."""
        return Operand(values, np.ones((1, 1), dtype=np.bool_))

    @property
    def has_histogram(self) -> BoolMatrix:
        return np.zeros((1, 1), dtype=np.bool_) if self.histograms is None else self.histograms.present()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Cells of a result. events: what is to be told, None where nothing is."""

    values: FloatMatrix
    mask: BoolMatrix
    histograms: HistogramCells | None = None
    events: EventMatrix | None = None

    def failed(self) -> BoolMatrix | None:
        """Cells that gave nothing because of what they are; None for none."""
        if self.events is None:
            return None
        failed: BoolMatrix = (self.events != _NONE) & (self.events != _RECONCILED)
        return failed


def operate(node: BinaryExpr, left: Operand, right: Operand, where: BoolMatrix) -> Outcome:
    """Operands in written order; `where`: the cells to look at, in the shape of the result. A filter gives the left
    value."""
    if left.histograms is None and right.histograms is None and node.op not in TRIM:
        return Outcome(*_floats(node, left.values, right.values, where))
    return _Mixed(node, left, right, where).outcome()


def _floats(
    node: BinaryExpr, left: FloatMatrix, right: FloatMatrix, where: BoolMatrix
) -> tuple[FloatMatrix, BoolMatrix]:
    if node.op not in COMPARISON:
        return ARITHMETIC[node.op](left, right), where
    holds = COMPARISON[node.op](left, right)
    if node.return_bool:
        return holds.astype(np.float64), where
    return np.broadcast_to(left, where.shape), where & holds


class _Mixed:
    """The cells of one operation by the kinds of their operands."""

    def __init__(self, node: BinaryExpr, left: Operand, right: Operand, where: BoolMatrix) -> None:
        self._node, self._left, self._right, self._where = node, left, right, where
        self._events = np.zeros(where.shape, dtype=np.uint8)
        self._histograms: list[HistogramCells] = []

    def outcome(self) -> Outcome:
        op, left, right = self._node.op, self._left, self._right
        floats = self._where & left.mask & right.mask
        if op in TRIM:
            self._events[floats] = _FLOAT_FLOAT
            values, mask = np.zeros(self._where.shape), np.zeros(self._where.shape, dtype=np.bool_)
        else:
            values, mask = _floats(self._node, left.values, right.values, floats)
        self._change(_HISTOGRAM_FLOAT, left, right, op in _WITH_FLOAT)
        self._change(_FLOAT_HISTOGRAM, right, left, op is BinaryOp.MUL)
        both = self._where & left.has_histogram & right.has_histogram
        if both.any():
            if op in _ADDITIVE:
                self._add(both)
            elif op in _EQUALITY:
                values, mask = self._compare(both, values, mask)
            else:
                self._events[both] = _HISTOGRAMS
        return Outcome(values, mask, self._joined(), self._events)

    def _change(self, event: int, histogram: Operand, number: Operand, valid: bool) -> None:
        """A histogram and a float."""
        cells = self._where & histogram.has_histogram & number.mask
        if not cells.any():
            return
        if not valid:
            self._events[cells] = event
            return
        numbers = np.broadcast_to(number.values, cells.shape)
        column, index = _native.histogram_change(str(self._node.op), *_only(histogram, cells), numbers)
        self._histograms.append(HistogramCells(column, index))

    def _add(self, both: BoolMatrix) -> None:
        column, index, notes = _native.histogram_add(
            *_only(self._left, both), *_only(self._right, both), self._node.op is BinaryOp.SUB
        )
        self._events = np.where(both, _OF_ADDITION[notes], self._events)
        # A collision is an error to Prometheus: the element goes.
        kept = self._events != _COLLISION
        self._histograms.append(HistogramCells(column, index).where(kept))

    def _compare(self, both: BoolMatrix, values: FloatMatrix, mask: BoolMatrix) -> tuple[FloatMatrix, BoolMatrix]:
        left_column, left_index = _only(self._left, both)
        equal = _native.histogram_equal(left_column, left_index, *_only(self._right, both))
        holds = equal if self._node.op is BinaryOp.EQL else ~equal
        if self._node.return_bool:
            return np.where(both, holds.astype(np.float64), values), mask | both
        self._histograms.append(HistogramCells(left_column, left_index).where(both & holds))
        return values, mask

    def _joined(self) -> HistogramCells | None:
        """No two of the parts have one cell."""
        if len(self._histograms) < 2:
            return self._histograms[0] if self._histograms else None
        stacked = concat_cells([(part, part.index.shape) for part in self._histograms])
        assert stacked is not None, "there are parts"
        index = stacked.index.reshape(len(self._histograms), *self._where.shape).max(axis=0)
        return HistogramCells(stacked.column, index)


def _only(operand: Operand, cells: BoolMatrix) -> tuple[_native.HistogramColumn, NDArray[np.int32]]:
    """The histograms of the given cells."""
    assert operand.histograms is not None, "the cells have histograms"
    index = np.where(cells, operand.histograms.index, np.int32(-1))
    return operand.histograms.column, index


class Events:
    """What the parts of one operation have to tell, put in the order in which Prometheus takes the elements."""

    def __init__(self) -> None:
        self._parts: list[EventMatrix] = []
        self._order: list[Rows] = []

    def add(self, outcome: Outcome, order: Rows) -> None:
        """order: a number for each row of the outcome; lower ones come first."""
        if outcome.events is not None:
            self._parts.append(outcome.events)
            self._order.append(order)

    def tell(self, ev: Evaluation, node: BinaryExpr) -> None:
        """The last of each step."""
        if not self._parts:
            return
        order = np.argsort(np.concatenate(self._order), kind="stable")[::-1]
        events = np.concatenate(self._parts)[order]
        if not events.any():
            return
        last = events[(events != _NONE).argmax(axis=0), np.arange(events.shape[1])]
        for event in np.unique(last[last != _NONE]).tolist():
            _tell_one(ev, node, event)


def _tell_one(ev: Evaluation, node: BinaryExpr, event: int) -> None:
    op, span = node.op, node.span
    operation = "subtraction" if op is BinaryOp.SUB else "addition"
    if event == _LAYOUTS:
        ev.annotations.warn(f"incompatible bucket layout encountered for binary operator {op}", span)
    elif event == _COLLISION:
        ev.annotations.warn(f"conflicting counter resets during histogram {operation}", span)
    elif event == _RECONCILED:
        ev.annotations.info(f"mismatched custom buckets were reconciled during {operation}", span)
    else:
        left, right = _KINDS[event]
        text = f'incompatible sample types encountered for binary operator "{op}": {left} {op} {right}'
        ev.annotations.info(text, span)


def negative(vector: Vector) -> HistogramCells | None:
    if vector.histograms is None:
        return None
    cells = vector.histograms
    numbers = np.broadcast_to(-1.0, cells.index.shape)
    return HistogramCells(*_native.histogram_change("-", cells.column, cells.index, numbers))
