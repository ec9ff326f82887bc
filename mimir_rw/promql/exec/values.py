"""The values of an evaluation: whole time series of steps, never single samples.

A `Vector` is n distinct label sets and an (n, steps) matrix with a presence mask; a row is one series of the result.
What stands in `values` where `mask` is false is undefined. Matrices may be shared and broadcast: never write into one
that you did not make.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import LabelFrame
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.steps import Steps

FloatMatrix = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]
Rows = NDArray[np.int64]

METADATA_LABELS = ("__name__", "__type__", "__unit__")
SAME_LABELSET = "vector cannot contain metrics with the same labelset"


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector at every step.

    `unnamed` (length n, or None for none) marks the rows whose name goes at the end of the query: delayed name removal.
    """

    labels: LabelFrame
    values: FloatMatrix
    mask: BoolMatrix
    unnamed: BoolMatrix | None = None

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.mask.nbytes

    def take(self, rows: Rows) -> Vector:
        """The given rows, in that order."""
        unnamed = None if self.unnamed is None else self.unnamed[rows]
        return Vector(self.labels.take(rows), self.values[rows], self.mask[rows], unnamed)

    def steps_present(self) -> BoolMatrix:
        """Per step: whether any row has a sample."""
        present: BoolMatrix = np.asarray(self.mask.any(axis=0))
        return present

    def compact(self) -> Vector:
        """Without the rows that have no sample at any step."""
        live = self.mask.any(axis=1)
        return self if live.all() else self.take(np.flatnonzero(live))


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number per step: length `steps.count`."""

    values: NDArray[np.float64]

    @property
    def nbytes(self) -> int:
        return self.values.nbytes


@dataclass(frozen=True, slots=True)
class String:
    value: str

    @property
    def nbytes(self) -> int:
        return len(self.value)


Value = Vector | Scalar | String


def empty_vector(steps: Steps) -> Vector:
    shape = (0, steps.count)
    return Vector(LabelFrame.empty_rows(0), np.empty(shape), np.empty(shape, dtype=np.bool_))


def concat_vectors(parts: list[Vector]) -> Vector:
    """Rows of all parts one after the other; the caller makes sure of distinct label sets (`merge_equal_rows`)."""
    if len(parts) == 1:
        return parts[0]
    unnamed = None
    if any(p.unnamed is not None for p in parts):
        unnamed = np.concatenate([unnamed_flags(p) for p in parts])
    return Vector(
        LabelFrame.concat([p.labels for p in parts]),
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.mask for p in parts]),
        unnamed,
    )


def unnamed_flags(vector: Vector) -> BoolMatrix:
    """`unnamed` as an array of length n."""
    if vector.unnamed is None:
        return np.zeros(len(vector.labels), dtype=np.bool_)
    return vector.unnamed


def merge_equal_rows(vector: Vector) -> Vector:
    """Join rows of equal label sets, first appearance first.

    Raises QueryFailed when two of them have a sample at the same step.
    """
    ids, distinct = vector.labels.row_ids()
    if distinct == len(vector.labels):
        return vector
    ids, first = rank_by_appearance(ids, distinct)
    rows, steps = np.nonzero(vector.mask)
    shape = (distinct, vector.mask.shape[1])
    cells = ids[rows] * shape[1] + steps
    counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    if counts.size and counts.max() > 1:
        raise QueryFailed(SAME_LABELSET)
    values = np.zeros(shape)
    values.reshape(-1)[cells] = vector.values[rows, steps]
    unnamed = None if vector.unnamed is None else vector.unnamed[first]
    return Vector(vector.labels.take(first), values, counts > 0, unnamed)


def rank_by_appearance(ids: Rows, distinct: int) -> tuple[Rows, Rows]:
    """Renumber ids 0..distinct-1 by first appearance; also the row where each appears first."""
    first = np.full(distinct, len(ids), dtype=np.int64)
    np.minimum.at(first, ids, np.arange(len(ids), dtype=np.int64))
    order = np.argsort(first, kind="stable")
    rank = np.empty(distinct, dtype=np.int64)
    rank[order] = np.arange(distinct, dtype=np.int64)
    return rank[ids], first[order]


def drop_metadata(labels: LabelFrame) -> tuple[LabelFrame, bool]:
    """Labels without name, type and unit; and whether rows that differed before may be equal now."""
    present = [name for name in METADATA_LABELS if name in labels.names]
    if not present:
        return labels, False
    collapsed = False
    for name in present:
        codes = labels.codes(name)
        collapsed = collapsed or (len(codes) > 0 and codes.min() != codes.max())
    return labels.drop(present), collapsed


def drop_names(vector: Vector, *, delayed: bool) -> Vector:
    """The vector as a name-dropping function leaves it: marked if name removal is delayed, else without names.

    Raises QueryFailed when two series become one.
    """
    if delayed:
        return replace(vector, unnamed=np.ones(len(vector.labels), dtype=np.bool_))
    labels, collapsed = drop_metadata(vector.labels)
    dropped = replace(vector, labels=labels)
    return merge_equal_rows(dropped) if collapsed else dropped


def remove_marked_names(vector: Vector) -> Vector:
    """Carry out a delayed name removal. Raises QueryFailed when two series become one."""
    if vector.unnamed is None or not vector.unnamed.any():
        return replace(vector, unnamed=None)
    labels = vector.labels
    if vector.unnamed.all():
        labels = drop_metadata(labels)[0]
    else:
        for name in METADATA_LABELS:
            if name in labels.names:
                codes = np.where(vector.unnamed, np.int32(-1), labels.codes(name)).astype(np.int32)
                labels = labels.with_column(name, labels.dictionary(name), codes)
    return merge_equal_rows(replace(vector, labels=labels, unnamed=None))
