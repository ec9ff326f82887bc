"""Aggregations that take their rows batch after batch: what they hold is a row per group, not a row per series."""

from __future__ import annotations

import numpy as np

from mimir_rw._native import Accumulator, HistogramAccumulator, LabelFrame
from mimir_rw.promql.ast import AggregateExpr, AggregateOp
from mimir_rw.promql.exec.aggregate_histograms import (
    IGNORING_HISTOGRAMS,
    OF_ELEMENTS,
    OF_HISTOGRAMS,
    note_ignored,
    note_incompatible,
    note_met,
)
from mimir_rw.promql.exec.batches import Batches, in_batches
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.values import BoolMatrix, FloatMatrix, HistogramCells, Rows, Vector, drop_metadata

BATCHED = frozenset(
    {
        AggregateOp.SUM, AggregateOp.AVG, AggregateOp.MIN, AggregateOp.MAX, AggregateOp.COUNT, AggregateOp.GROUP,
        AggregateOp.STDDEV, AggregateOp.STDVAR,
    }
)  # fmt: skip
_GROUPS_PER_ROW_MAX = 0.5


def aggregate_batches(ev: Evaluation, node: AggregateExpr) -> Vector | None:
    """None where the rows are better taken at once: they are few or make as many groups, histograms come after floats,
    or rows of different batches turn out to have equal labels, which only the operator that made them may judge."""
    batches = in_batches(ev, node.expr) if node.op in BATCHED else None
    if batches is None:
        return None
    mark = ev.memory.current_bytes
    groups, distinct = Groups(node), DistinctRows(ev, batches)
    state, histograms = Accumulator(str(node.op), ev.steps.count), HistogramBatches(ev, node)
    for part in batches.vectors(ev):
        ids = groups.of(part)
        too_many = groups.count > len(batches.series.labels) * _GROUPS_PER_ROW_MAX
        if too_many or not histograms.add(part, ids, groups.count):
            break
        distinct.add(part)
        state.add(ids, groups.count, part.values, histograms.elements(part))
        ev.memory.settle(mark, state.nbytes + histograms.nbytes)
    else:
        if distinct.hold():
            return histograms.finish(groups, *state.finish())
    ev.memory.current_bytes = mark
    return None


class Groups:
    """Groups of rows that come batch after batch, numbered in order of appearance."""

    def __init__(self, node: AggregateExpr) -> None:
        self._names = [*node.grouping, "__name__"] if node.without else list(node.grouping)
        self._without = node.without
        self.labels = LabelFrame.empty_rows(0)
        self.unnamed: BoolMatrix | None = None

    @property
    def count(self) -> int:
        return len(self.labels)

    def of(self, part: Vector) -> Rows:
        """The group of each row."""
        ids, found = part.labels.group(self._names, self._without)
        numbers = self._numbers(found)
        groups: Rows = numbers[ids]
        if part.unnamed is not None:
            flags = np.zeros(self.count, dtype=np.bool_)
            if self.unnamed is not None:
                flags[: len(self.unnamed)] = self.unnamed
            flags[groups[part.unnamed]] = True
            self.unnamed = flags
        return groups

    def _numbers(self, found: LabelFrame) -> Rows:
        """The number of each group found; those not seen before get the next ones."""
        known = self.count
        both = LabelFrame.concat([self.labels, found])
        ids, distinct = both.row_ids()
        by_id = np.full(distinct, -1, dtype=np.int64)
        by_id[ids[:known]] = np.arange(known)
        fresh = np.flatnonzero(by_id[ids[known:]] < 0)
        by_id[ids[known + fresh]] = known + np.arange(len(fresh))
        if len(fresh):
            kept = np.concatenate([np.arange(known), known + fresh])
            self.labels = both.take(kept) if len(kept) < len(both) else both
        numbers: Rows = by_id[ids[known:]]
        return numbers


class HistogramBatches:
    """What native histograms have to do with an aggregation whose rows come batch after batch."""

    def __init__(self, ev: Evaluation, node: AggregateExpr) -> None:
        self._ev, self._node = ev, node
        self._state: HistogramAccumulator | None = None
        self._floats_seen = False

    @property
    def nbytes(self) -> int:
        return 0 if self._state is None else self._state.nbytes

    def add(self, part: Vector, ids: Rows, count: int) -> bool:
        """False when floats came before the first histograms: their places are not known any more."""
        node, cells = self._node, part.histograms
        if cells is not None and node.op in IGNORING_HISTOGRAMS:
            note_ignored(self._ev, node.op, node.expr)
        if node.op not in OF_HISTOGRAMS:
            return True
        if self._state is None:
            if cells is None:
                self._floats_seen = True
                return True
            if self._floats_seen:
                return False
            self._state = HistogramAccumulator(str(node.op), self._ev.steps.count)
        histograms = None if cells is None else (cells.column, cells.index)
        incompatible = self._state.add(ids, count, part.mask, histograms)
        note_incompatible(self._ev, node.expr, part.labels, incompatible)
        return True

    def elements(self, part: Vector) -> BoolMatrix:
        """The cells that the aggregation of floats takes."""
        return part.present() if self._node.op in OF_ELEMENTS else part.mask

    def finish(self, groups: Groups, values: FloatMatrix, mask: BoolMatrix) -> Vector:
        if self._state is None:
            return Vector(groups.labels, values, mask, groups.unnamed)
        column, index, met, present = self._state.finish()
        note_met(self._ev, self._node.expr, met)
        return Vector(groups.labels, values, mask & ~present, groups.unnamed, HistogramCells(column, index)).compact()


class DistinctRows:
    """Whether the rows of all batches have different labels. Only looked at where operators may make them equal; equal
    hashes count as equal labels."""

    def __init__(self, ev: Evaluation, batches: Batches) -> None:
        merging = not ev.delayed_name_removal and drop_metadata(batches.series.labels)[1]
        self._checked = batches.shape.sets_labels or merging
        self._hashes: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []

    def add(self, part: Vector) -> None:
        if self._checked:
            self._hashes.append(part.labels.hashes())

    def hold(self) -> bool:
        if not self._hashes:
            return True
        hashes = np.concatenate(self._hashes)
        return len(np.unique(hashes)) == len(hashes)
