"""Annotations about the windows of range functions, from what kernels met in a row (flags.rs): Prometheus' texts."""

from __future__ import annotations

import numpy as np

from mimir_rw._native import LabelFrame
from mimir_rw.model.labels import METRIC_NAME
from mimir_rw.promql.ast import Span
from mimir_rw.promql.exec.annotations import Annotations
from mimir_rw.promql.exec.values import Flags
from mimir_rw.promql.quoting import quote

_WARNINGS = {
    1 << 0: "encountered a mix of histograms and floats for metric name {}",
    1 << 1: "this native histogram metric is not a counter: {}",
    1 << 2: "this native histogram metric is not a gauge: {}",
    1 << 3: "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
    1 << 7: "conflicting counter resets during histogram aggregation",
    1 << 9: "sample has start time that overlaps with previous sample timestamp for metric {}",
}
_INFOS = {
    1 << 4: "mismatched custom buckets were reconciled during addition",
    1 << 5: "mismatched custom buckets were reconciled during subtraction",
    1 << 6: "mismatched custom buckets were reconciled during aggregation",
    1 << 8: "ignored histograms in a range containing both floats and histograms for metric name {}",
}


def note_windows(annotations: Annotations, labels: LabelFrame, flags: Flags, span: Span) -> None:
    """flags: one number per row of labels. The texts name the metric, "" where it has no name."""
    for row in _examples(labels, flags):
        name = quote(labels.row(row).get(METRIC_NAME, ""))
        for bit, text in _WARNINGS.items():
            if flags[row] & bit:
                annotations.warn(text.format(name), span)
        for bit, text in _INFOS.items():
            if flags[row] & bit:
                annotations.info(text.format(name), span)


def _examples(labels: LabelFrame, flags: Flags) -> list[int]:
    """One row for each metric name and set of flags, in order."""
    codes = labels.codes(METRIC_NAME).astype(np.int64)
    rows = np.flatnonzero(flags)
    keys = np.stack([codes[rows], flags[rows].astype(np.int64)])
    _, first = np.unique(keys, axis=1, return_index=True)
    examples: list[int] = rows[np.sort(first)].tolist()
    return examples
