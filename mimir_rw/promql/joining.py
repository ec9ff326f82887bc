"""The result of a range query from the results of its parts (plan/time_splitting.py), in order of time. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mimir_rw._native import HistogramColumn, LabelFrame
from mimir_rw.promql.exec.values import HistogramCells, Rows, Vector
from mimir_rw.promql.result import QueryStats, Result
from mimir_rw.promql.steps import Steps

_FORCED = re.compile(
    r"(?P<head>.*), from buckets (?P<low>\S+) to (?P<high>\S+), with a max diff of (?P<diff>\S+), over (?P<count>\d+) "
    r"samples from (?P<first>\S+) to (?P<last>\S+)(?P<tail> \(.*\))?",
    re.DOTALL,
)


def join_results(parts: Sequence[Result], steps: Steps) -> Result:
    """Rows stand in label order, each with the samples of all parts; warnings and infos each once."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        value=_join_vectors([_vector(part) for part in parts]),
        steps=steps,
        warnings=_joined_texts(part.warnings for part in parts),
        infos=_joined_texts(part.infos for part in parts),
        stats=_joined_stats([part.stats for part in parts]),
    )


def _vector(part: Result) -> Vector:
    assert isinstance(part.value, Vector), "only range queries are split"
    return part.value


def _join_vectors(parts: list[Vector]) -> Vector:
    labels = LabelFrame.union_sorted([part.labels for part in parts])
    shape = (len(labels), sum(part.mask.shape[1] for part in parts))
    values, mask = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    cells, index = _joined_column(parts), np.full(shape, -1, dtype=np.int32)
    histograms_before = steps_before = 0
    for part in parts:
        rows, columns = _rows_in(labels, part.labels), slice(steps_before, steps_before + part.mask.shape[1])
        values[rows, columns], mask[rows, columns] = part.values, part.mask
        if part.histograms is not None:
            numbers = part.histograms.index
            index[rows, columns] = np.where(numbers < 0, np.int32(-1), numbers + np.int32(histograms_before))
            histograms_before += len(part.histograms.column)
        steps_before = columns.stop
    return Vector(labels, values, mask, histograms=None if cells is None else HistogramCells(cells, index))


def _joined_column(parts: list[Vector]) -> HistogramColumn | None:
    columns = [part.histograms.column for part in parts if part.histograms is not None]
    return HistogramColumn.concat(columns) if columns else None


def _rows_in(labels: LabelFrame, part: LabelFrame) -> Rows:
    """Where the rows of a part stand in the whole."""
    whole_ids, part_ids, count = labels.match_ids(part, [], True)
    row_of = np.zeros(count, dtype=np.int64)
    row_of[whole_ids] = np.arange(len(labels))
    rows: Rows = row_of[part_ids]
    return rows


def _joined_texts(parts: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Each text once. Corrections of classic histograms, which count their cells, are added up."""
    found: dict[str, str] = {}
    for text in (text for part in parts for text in part):
        forced = _FORCED.fullmatch(text)
        key = text if forced is None else f"{forced['head']}{forced['tail']}"
        before = _FORCED.fullmatch(found[key]) if forced is not None and key in found else None
        found[key] = text if before is None or forced is None else _added(before, forced)
    return tuple(found.values())


def _added(a: re.Match[str], b: re.Match[str]) -> str:
    """One correction of two; the first came before the second."""
    low, high = min(a["low"], b["low"], key=float), max(a["high"], b["high"], key=float)
    count, diff = int(a["count"]) + int(b["count"]), max(a["diff"], b["diff"], key=float)
    return (
        f"{a['head']}, from buckets {low} to {high}, with a max diff of {diff}, over {count} samples "
        f"from {a['first']} to {b['last']}{a['tail'] or ''}"
    )


def _joined_stats(parts: Sequence[QueryStats]) -> QueryStats:
    return replace(
        parts[0],
        samples_read=sum(part.samples_read for part in parts),
        peak_bytes=max(part.peak_bytes for part in parts),
        prepare_s=sum(part.prepare_s for part in parts),
        select_s=sum(part.select_s for part in parts),
        evaluate_s=sum(part.evaluate_s for part in parts),
    )
