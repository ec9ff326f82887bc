"""label_replace and label_join: on the distinct values of labels, not on rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import RegexError, regex_replace
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import Call
from mimir_rw.promql.exec.evaluation import Evaluation, is_label_name
from mimir_rw.promql.exec.values import METADATA_LABELS, Vector, merge_equal_rows
from mimir_rw.promql.quoting import quote


def label_replace(ev: Evaluation, node: Call) -> Vector:
    """label_replace(v, destination, replacement, source, regex): rows whose source value matches get a new label."""
    destination = ev.any_string(node.args[1])
    replacement, source, pattern = (ev.string(arg) for arg in node.args[2:])
    try:
        regex_replace([], pattern, replacement)
    except RegexError:
        raise QueryFailed(f"invalid regular expression in label_replace(): {pattern}") from None
    if not is_label_name(destination):
        raise QueryFailed(f"invalid destination label name in label_replace(): {quote(destination)[1:-1]}")
    vector = ev.vector(node.args[0])
    values = [*vector.labels.dictionary(source), ""]
    expanded = regex_replace(values, pattern, replacement)
    codes = vector.labels.codes(source)
    matched = np.array([text is not None for text in expanded])[codes]
    if not matched.any():
        return vector
    old = vector.labels.dictionary(destination)
    kept = np.where(vector.labels.codes(destination) < 0, -1, vector.labels.codes(destination) + len(values))
    source_codes = np.where(codes < 0, len(values) - 1, codes)
    return _with_label(
        vector, destination, [*(text or "" for text in expanded), *old], np.where(matched, source_codes, kept), matched
    )


def label_join(ev: Evaluation, node: Call) -> Vector:
    """label_join(v, destination, separator, source...): every row gets the joined values."""
    separator = ev.string(node.args[2])
    destination, sources = ev.any_string(node.args[1]), [ev.any_string(arg) for arg in node.args[3:]]
    for kind, name in (("destination", destination), *(("source", source) for source in sources)):
        if not is_label_name(name):
            raise QueryFailed(f"invalid {kind} label name in label_join(): {quote(name)[1:-1]}")
    vector = ev.vector(node.args[0])
    dictionaries = [[*vector.labels.dictionary(source), ""] for source in sources]
    columns = np.zeros((len(vector.labels), len(sources)), dtype=np.int32)
    for i, source in enumerate(sources):
        columns[:, i] = vector.labels.codes(source)
    combinations, codes = np.unique(columns, axis=0, return_inverse=True)
    joined = [
        separator.join(dictionary[code] for dictionary, code in zip(dictionaries, combination, strict=True))
        for combination in combinations.tolist()
    ]
    return _with_label(vector, destination, joined, codes.reshape(-1), np.ones(len(vector.labels), dtype=np.bool_))


def _with_label(
    vector: Vector, name: str, values: list[str], codes: NDArray[np.int64], changed: NDArray[np.bool_]
) -> Vector:
    """The label set anew; a name that is set after a function marked it for removal stays.

    Raises QueryFailed when label sets become equal where both have samples.
    """
    labels = vector.labels.with_column(name, values, codes.astype(np.int32))
    unnamed = vector.unnamed
    if unnamed is not None and name == METADATA_LABELS[0]:
        unnamed = unnamed & ~changed
    return merge_equal_rows(replace(vector, labels=labels, unnamed=unnamed))
