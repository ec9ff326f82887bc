"""Vector matching: which rows of two vectors belong together.

A signature is the part of a label set that must be equal. Rows are matched once for all steps; what varies from step
to step is only which of them have a sample, and so whether a signature is unique.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import LabelFrame
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import Cardinality, VectorMatching
from mimir_rw.promql.exec.values import BoolMatrix, Rows, Vector, merge_rows

Element = TypeVar("Element", bound=np.generic)

_MANY_TO_MANY = "many-to-many matching not allowed: matching labels must be unique on one side"


@dataclass(frozen=True, slots=True)
class Sides:
    """The operands by their role: an element of `many` meets at most one of `one`.

    Signature ids of their rows lie in 0..count-1. swapped: `one` was written on the left.
    """

    many: Vector
    one: Vector
    many_ids: Rows
    one_ids: Rows
    count: int
    swapped: bool = False


def match_rows(left: Vector, right: Vector, matching: VectorMatching) -> Sides:
    """For set operators and one-to-one matching the left side is `many`."""
    names, ignoring = list(matching.labels), not matching.on
    if ignoring:
        names.append("__name__")
    left_ids, right_ids, count = left.labels.match_ids(right.labels, names, ignoring)
    if matching.card is Cardinality.ONE_TO_MANY:
        return Sides(right, left, right_ids, left_ids, count, swapped=True)
    return Sides(left, right, left_ids, right_ids, count)


def is_unique(ids: Rows, count: int) -> bool:
    return len(ids) <= 1 or int(np.bincount(ids, minlength=count).max()) <= 1


def presence(ids: Rows, count: int, mask: BoolMatrix) -> BoolMatrix:
    """(count, steps): whether some row of the id has a sample."""
    table = np.zeros((count, mask.shape[1]), dtype=np.bool_)
    if len(ids) == 0:
        return table
    if is_unique(ids, count):
        table[ids] = mask
        return table
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    table[ordered[starts]] = np.logical_or.reduceat(mask[order], starts, axis=0)
    return table


def collisions(ids: Rows, count: int, mask: BoolMatrix) -> BoolMatrix:
    """(count, steps): whether more than one row of the id has a sample."""
    rows, steps = np.nonzero(mask)
    width = mask.shape[1]
    return np.bincount(ids[rows] * width + steps, minlength=count * width).reshape(count, width) > 1


def merge_one_side(sides: Sides, include: tuple[str, ...]) -> Sides:
    """Rows of the one side that no result can tell apart become one: equal signature and equal included labels.

    Asks that no two of them have a sample at the same step. Keeps churn on the one side from multiplying the pairs.
    """
    if is_unique(sides.one_ids, sides.count):
        return sides
    kinds, kind_count = sides.one.labels.keep(include).row_ids()
    _, first, group = np.unique(sides.one_ids * kind_count + kinds, return_index=True, return_inverse=True)
    if len(first) == len(group):
        return sides
    one = merge_rows(sides.one, group, first)
    return replace(sides, one=replace(one, unnamed=None), one_ids=sides.one_ids[first])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of the many side with the rows of the one side that have their signature; and that signature."""

    many: Rows
    one: Rows
    signature: Rows
    many_is_whole: bool

    def from_many(self, array: NDArray[Element]) -> NDArray[Element]:
        return array if self.many_is_whole else array[self.many]

    def from_many_labels(self, labels: LabelFrame) -> LabelFrame:
        return labels if self.many_is_whole else labels.take(self.many)


def join(sides: Sides) -> Pairs:
    """All pairs of equal signature, in order of the many side's rows."""
    per_signature = np.bincount(sides.one_ids, minlength=sides.count)
    one_order = np.argsort(sides.one_ids, kind="stable")
    starts = np.cumsum(per_signature) - per_signature
    repeats = per_signature[sides.many_ids]
    if len(repeats) and repeats.min() == 1 == repeats.max():
        return Pairs(np.arange(len(repeats)), one_order[starts[sides.many_ids]], sides.many_ids, True)
    many = np.repeat(np.arange(len(repeats), dtype=np.int64), repeats)
    within = np.arange(len(many), dtype=np.int64) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    signature = sides.many_ids[many]
    return Pairs(many, one_order[starts[signature] + within], signature, False)


def require_unique_one_side(sides: Sides, matching: VectorMatching) -> None:
    """Raises QueryFailed where the one side has a signature twice at a step, even if nothing on the many side has it;
    but not at steps where a side is empty, unless missing elements are filled in."""
    if is_unique(sides.one_ids, sides.count):
        return
    twice = collisions(sides.one_ids, sides.count, sides.one.present())
    if matching.fill_left is None and matching.fill_right is None:
        twice &= sides.many.steps_present()
    if not twice.any():
        return
    step = int(np.flatnonzero(twice.any(axis=0))[0])
    labels = sides.one.labels.take(_first_repeat(sides.one_ids, np.flatnonzero(sides.one.present()[:, step])))
    group = labels.keep(matching.labels) if matching.on else labels.drop([*matching.labels, "__name__"])
    raise QueryFailed(
        f"found duplicate series for the match group {group.format_labels(0)} on the "
        f"{'left' if sides.swapped else 'right'} hand-side of the operation: "
        f"[{labels.format_labels(0)}, {labels.format_labels(1)}];{_MANY_TO_MANY}"
    )


def _first_repeat(ids: Rows, present: Rows) -> Rows:
    """The first of the present rows whose id was there before, after the row that had it; there is one."""
    seen: dict[int, int] = {}
    for row, id_ in zip(present.tolist(), ids[present].tolist(), strict=True):
        if id_ in seen:
            return np.array([seen[id_], row], dtype=np.int64)
        seen[id_] = row
    raise AssertionError("no id is there twice")


def require_one_to_one(sides: Sides, signature: Rows, both: BoolMatrix) -> None:
    """Raises QueryFailed where two elements of the many side have met one.

    signature, both: of rows that are of the many side each, and whether they have met one.
    """
    if is_unique(sides.many_ids, sides.count):
        return
    if collisions(signature, sides.count, both).any():
        raise QueryFailed("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")


def require_distinct_results(result: Vector, signature: Rows, both: BoolMatrix) -> None:
    """Raises QueryFailed where two rows of one signature have given equal label sets at a step."""
    ids, distinct = result.labels.row_ids()
    if distinct == len(result.labels):
        return
    key = ids * (int(signature.max()) + 1) + signature
    _, per_group = np.unique(key, return_inverse=True)
    if collisions(per_group, int(per_group.max()) + 1, both).any():
        raise QueryFailed("multiple matches for labels: grouping labels must ensure unique matches")
