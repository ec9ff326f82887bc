"""Aggregations that take their rows batch after batch: what they hold is a row per group, not a row per series."""

from __future__ import annotations

import numpy as np

from mimir_rw._native import Accumulator, LabelFrame
from mimir_rw.promql.ast import AggregateExpr, AggregateOp
from mimir_rw.promql.exec.batches import Batches, in_batches
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.values import BoolMatrix, Rows, Vector, drop_metadata

BATCHED = frozenset(
    {
        AggregateOp.SUM, AggregateOp.AVG, AggregateOp.MIN, AggregateOp.MAX, AggregateOp.COUNT, AggregateOp.GROUP,
        AggregateOp.STDDEV, AggregateOp.STDVAR,
    }
)  # fmt: skip
_GROUPS_PER_ROW_MAX = 0.5


def aggregate_batches(ev: Evaluation, node: AggregateExpr) -> Vector | None:
    """None where the rows had better be taken at once: they are few or make as many groups, some are native histograms,
    or rows of different batches turn out to have equal labels, which only the operator that made them may judge."""
    batches = in_batches(ev, node.expr) if node.op in BATCHED else None
    if batches is None:
        return None
    mark = ev.memory.current_bytes
    groups, distinct = Groups(node), DistinctRows(ev, batches)
    state = Accumulator(str(node.op), ev.steps.count)
    for part in batches.vectors(ev):
        ids = groups.of(part)
        if part.histograms is not None:
            break
        if groups.count > len(batches.series.labels) * _GROUPS_PER_ROW_MAX:
            break
        distinct.add(part)
        state.add(ids, groups.count, part.values, part.mask)
        ev.memory.settle(mark, state.nbytes)
    else:
        if distinct.hold():
            values, mask = state.finish()
            return Vector(groups.labels, values, mask, groups.unnamed)
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
