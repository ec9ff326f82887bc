"""The values of an evaluation: whole time series of steps, never single samples.

A `Vector` is n distinct label sets and an (n, steps) matrix with a presence mask; a row is one series of the result.
A cell is a float (its mask is true), a native histogram (its number in `histograms` is not negative), or empty; never
both. What stands in `values` where `mask` is false is undefined. Matrices may be shared and broadcast: never write into
one that you did not make.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import HistogramColumn, LabelFrame
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.steps import Steps

FloatMatrix = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]
IndexMatrix = NDArray[np.int32]
Rows = NDArray[np.int64]
Flags = NDArray[np.uint32]

METADATA_LABELS = ("__name__", "__type__", "__unit__")
SAME_LABELSET = "vector cannot contain metrics with the same labelset"


@dataclass(frozen=True, slots=True)
class HistogramCells:
    """The native histograms of a matrix: index (n, steps) has for each cell a number in `column`, -1 for none."""

    column: HistogramColumn
    index: IndexMatrix

    @property
    def nbytes(self) -> int:
        return self.index.nbytes + self.column.nbytes

    def present(self) -> BoolMatrix:
        present: BoolMatrix = self.index >= 0
        return present

    def where(self, kept: BoolMatrix) -> HistogramCells:
        """The cells for which `kept` (of the index's shape) holds."""
        return HistogramCells(self.column, np.where(kept, self.index, np.int32(-1)))


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector at every step.

    `unnamed` (length n, or None for none) marks the rows whose name goes at the end of the query: delayed name removal.
    `histograms`: None when no cell is one. `mask` is of floats alone: operators on floats need not know of histograms.
    """

    labels: LabelFrame
    values: FloatMatrix
    mask: BoolMatrix
    unnamed: BoolMatrix | None = None
    histograms: HistogramCells | None = None

    @property
    def nbytes(self) -> int:
        histograms = 0 if self.histograms is None else self.histograms.nbytes
        return self.values.nbytes + self.mask.nbytes + histograms

    def present(self) -> BoolMatrix:
        """Where there is a float or a histogram."""
        return self.mask if self.histograms is None else self.mask | self.histograms.present()

    def where(self, kept: BoolMatrix) -> Vector:
        """The cells, of either kind, for which `kept` holds; rows that lose all of theirs stay."""
        histograms = None if self.histograms is None else self.histograms.where(kept)
        return replace(self, mask=self.mask & kept, histograms=histograms)

    def take(self, rows: Rows) -> Vector:
        """The given rows, in that order."""
        unnamed = None if self.unnamed is None else self.unnamed[rows]
        histograms = self.histograms
        if histograms is not None:
            histograms = HistogramCells(histograms.column, histograms.index[rows])
        return Vector(self.labels.take(rows), self.values[rows], self.mask[rows], unnamed, histograms)

    def steps_present(self) -> BoolMatrix:
        """Per step: whether any row has a sample."""
        present: BoolMatrix = np.asarray(self.present().any(axis=0))
        return present

    def compact(self) -> Vector:
        """Without the rows that have no sample at any step."""
        live = self.present().any(axis=1)
        return self if live.all() else self.take(np.flatnonzero(live))

    def floats(self) -> Vector:
        """Without the histograms, and without the rows that have nothing else."""
        return self if self.histograms is None else replace(self, histograms=None).compact()


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
        concat_cells([(p.histograms, p.mask.shape) for p in parts]),
    )


def concat_cells(parts: list[tuple[HistogramCells | None, tuple[int, ...]]]) -> HistogramCells | None:
    """Rows of all parts one after the other. A part is its cells, or None, and the shape of its matrix."""
    if all(cells is None for cells, _ in parts):
        return None
    columns, indices, base = [], [], 0
    for cells, shape in parts:
        if cells is None:
            indices.append(np.full(shape, -1, dtype=np.int32))
            continue
        indices.append(np.where(cells.index < 0, np.int32(-1), cells.index + np.int32(base)))
        columns.append(cells.column)
        base += len(cells.column)
    return HistogramCells(HistogramColumn.concat(columns), np.concatenate(indices))


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
    merged = merge_rows(vector, *rank_by_appearance(ids, distinct))
    if np.count_nonzero(merged.present()) != np.count_nonzero(vector.present()):
        raise QueryFailed(SAME_LABELSET)
    return merged


def merge_rows(vector: Vector, groups: Rows, first: Rows) -> Vector:
    """A row for each group, with the labels of its `first` row. Groups have one element at most at a step."""
    shape = (len(first), vector.mask.shape[1])
    values, mask = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    rows, steps = np.nonzero(vector.mask)
    values[groups[rows], steps] = vector.values[rows, steps]
    mask[groups[rows], steps] = True
    histograms = vector.histograms
    if histograms is not None:
        rows, steps = np.nonzero(histograms.index >= 0)
        index = np.full(shape, -1, dtype=np.int32)
        index[groups[rows], steps] = histograms.index[rows, steps]
        histograms = HistogramCells(histograms.column, index)
    unnamed = None if vector.unnamed is None else vector.unnamed[first]
    return Vector(vector.labels.take(first), values, mask, unnamed, histograms)


def rank_by_appearance(ids: Rows, distinct: int) -> tuple[Rows, Rows]:
    """Renumber ids 0..distinct-1 by first appearance; also the row where each appears first."""
    first = np.full(distinct, len(ids), dtype=np.int64)
    np.minimum.at(first, ids, np.arange(len(ids), dtype=np.int64))
    order = np.argsort(first, kind="stable")
    rank = np.empty(distinct, dtype=np.int64)
    rank[order] = np.arange(distinct, dtype=np.int64)
    return rank[ids], first[order]


def drop_metadata(labels: LabelFrame, names: tuple[str, ...] = METADATA_LABELS) -> tuple[LabelFrame, bool]:
    """Labels without `names`; and whether rows that differed before may be equal now."""
    present = [name for name in names if name in labels.names]
    if not present:
        return labels, False
    collapsed = False
    for name in present:
        codes = labels.codes(name)
        collapsed = collapsed or (len(codes) > 0 and codes.min() != codes.max())
    return labels.drop(present), collapsed


def drop_names(vector: Vector, *, delayed: bool, names: tuple[str, ...] = METADATA_LABELS) -> Vector:
    """The vector as a name-dropping function leaves it: marked if name removal is delayed, else without `names`.

    Rows that were equal before (labels that nobody needs are not read) stay apart. Raises QueryFailed when two series
    become one.
    """
    if delayed:
        return replace(vector, unnamed=np.ones(len(vector.labels), dtype=np.bool_))
    labels, collapsed = drop_metadata(vector.labels, names)
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
