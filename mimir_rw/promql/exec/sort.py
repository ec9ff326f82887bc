"""sort, sort_desc, sort_by_label: the order of the rows, which only an instant query shows."""

from __future__ import annotations

import re
from functools import cmp_to_key

import numpy as np
from numpy.typing import NDArray

from mimir_rw.promql.ast import Call
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.values import Rows, Vector

_INEFFECTIVE = "sort is ineffective for range queries since results are always ordered by labels"
_RUNS = re.compile(r"\d+|\D+")


def sort_by_value(ev: Evaluation, node: Call) -> Vector:
    """NaN last in both directions; equal values keep their order. Histograms are dropped silently."""
    vector = ev.vector(node.args[0]).floats()
    if _is_ineffective(ev, node):
        return vector
    return vector.take(value_order(vector.values[:, 0], descending=node.func.name == "sort_desc"))


def _is_ineffective(ev: Evaluation, node: Call) -> bool:
    """Over a range of times, a subquery's too, order is lost, and a warning says so; a range of one time is none."""
    if not ev.is_of_one_time:
        ev.annotations.warn(_INEFFECTIVE, node.span)
    return ev.steps.count != 1


def value_order(values: NDArray[np.float64], *, descending: bool) -> Rows:
    return np.lexsort((-values if descending else values, np.isnan(values))).astype(np.int64)


def sort_by_label(ev: Evaluation, node: Call) -> Vector:
    """Natural order of each label in turn, then of the whole label set; desc is that order reversed."""
    vector = ev.vector(node.args[0])
    if _is_ineffective(ev, node):
        return vector
    names = [ev.string(arg) for arg in node.args[1:]]
    rank_by_labels = np.empty(len(vector.labels), dtype=np.int64)
    rank_by_labels[vector.labels.sort_order()] = np.arange(len(vector.labels))
    keys = [rank_by_labels, *(_natural_rank(vector, name) for name in reversed(names))]
    order = np.lexsort(keys).astype(np.int64)
    return vector.take(order[::-1].copy() if node.func.name == "sort_by_label_desc" else order)


def _natural_rank(vector: Vector, name: str) -> Rows:
    """Rank of each row by the label's value; rows without it have the value "", which comes first."""
    dictionary = vector.labels.dictionary(name)
    keys = [natural_key(text) for text in dictionary]
    order = sorted(range(len(dictionary)), key=keys.__getitem__)
    rank = np.zeros(len(dictionary) + 1, dtype=np.int64)
    rank[order] = np.arange(1, len(dictionary) + 1)
    return rank[vector.labels.codes(name)]


def _natural_compare(left: str, right: str) -> int:
    """Runs of digits by number, everything else bytewise."""
    for a, b in zip(_RUNS.findall(left), _RUNS.findall(right), strict=False):
        if a == b:
            continue
        if a[0].isdigit() and b[0].isdigit() and int(a) != int(b):
            return -1 if int(a) < int(b) else 1
        return -1 if a.encode() < b.encode() else 1
    return (len(left) > len(right)) - (len(left) < len(right))


natural_key = cmp_to_key(_natural_compare)
