"""Exemplars of the same series from several places as one answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mimir_rw.model.exemplars import Exemplar, Labels, SeriesExemplars


def merge_exemplars(found: Sequence[Sequence[SeriesExemplars]]) -> list[SeriesExemplars]:
    """Each series once, in order of labels, each of its exemplars once, in order of time."""
    if len(found) == 1:
        return list(found[0])
    by_series: dict[Labels, list[Exemplar]] = {}
    for answer in found:
        for each in answer:
            by_series.setdefault(each.series, []).extend(each.exemplars)
    return [SeriesExemplars(series, _united(by_series[series])) for series in sorted(by_series)]


def _united(exemplars: Iterable[Exemplar]) -> tuple[Exemplar, ...]:
    """Values are compared as text: NaN is not equal to itself."""
    distinct = {(each.ts, repr(each.value), each.labels): each for each in exemplars}
    return tuple(sorted(distinct.values(), key=lambda each: each.ts))
