"""Exemplars of a head as values."""

from __future__ import annotations

from mimir_rw._native import ExemplarSet
from mimir_rw.model.exemplars import Exemplar, SeriesExemplars


def series_exemplars(found: ExemplarSet) -> list[SeriesExemplars]:
    """One entry per row, in label order; a head has rows only of series that have exemplars."""
    labels = [tuple(row.items()) for row in found.exemplar_labels.rows()]
    values, ts, ends = found.values.tolist(), found.ts.tolist(), found.offsets.tolist()
    exemplars = [Exemplar(*of_one) for of_one in zip(labels, values, ts, strict=True)]
    rows = zip(found.labels.rows(), ends[:-1], ends[1:], strict=True)
    return [SeriesExemplars(tuple(row.items()), tuple(exemplars[start:end])) for row, start, end in rows]
