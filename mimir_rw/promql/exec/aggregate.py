"""Aggregations: rows into groups, each step by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw import _native
from mimir_rw._native import LabelFrame
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import AggregateExpr, AggregateOp
from mimir_rw.promql.exec.aggregate_batches import aggregate_batches
from mimir_rw.promql.exec.aggregate_histograms import (
    IGNORING_HISTOGRAMS,
    OF_ELEMENTS,
    OF_HISTOGRAMS,
    count_texts,
    note_ignored,
    sum_or_avg,
)
from mimir_rw.promql.exec.evaluation import Evaluation, is_label_name
from mimir_rw.promql.exec.histogram_classic import check_quantiles
from mimir_rw.promql.exec.memory import CELL_BYTES
from mimir_rw.promql.exec.number_text import general, plain_decimal
from mimir_rw.promql.exec.sharded import aggregate_shards
from mimir_rw.promql.exec.values import BoolMatrix, Rows, Vector, empty_vector, merge_equal_rows
from mimir_rw.promql.quoting import quote

_HASHES = float(1 << 64)
_INT64_BOUND = float(1 << 63)
_ROWS_BYTES_UNCHECKED = 16 << 20


def aggregation(ev: Evaluation, node: AggregateExpr) -> Vector:
    sharded = aggregate_shards(ev, node)
    if sharded is not None:
        return sharded
    match node.op:
        case AggregateOp.TOPK | AggregateOp.BOTTOMK | AggregateOp.LIMITK:
            return _select_k(ev, node)
        case AggregateOp.LIMIT_RATIO:
            return _limit_ratio(ev, node)
        case AggregateOp.COUNT_VALUES:
            return _count_values(ev, node)
    batched = aggregate_batches(ev, node)
    if batched is not None:
        return batched
    quantile = None
    if node.op is AggregateOp.QUANTILE:
        assert node.param is not None
        quantile = ev.scalar(node.param)
    vector = ev.vector(node.expr)
    if quantile is not None and node.param is not None:
        check_quantiles(ev, quantile, node.param)
    if len(vector.labels) == 0:
        return empty_vector(ev.steps)
    groups, labels = group_rows(node, vector)
    flags, histograms = _group_flags(vector, groups, len(labels)), None
    if quantile is not None:
        values, mask = _native.aggregate_quantile(quantile, groups, len(labels), vector.values, vector.mask)
    elif vector.histograms is not None and node.op in OF_HISTOGRAMS:
        values, mask, histograms = sum_or_avg(ev, node, vector, groups, labels)
    else:
        present = vector.present() if node.op in OF_ELEMENTS else vector.mask
        values, mask = _native.aggregate(str(node.op), groups, len(labels), vector.values, present)
    if vector.histograms is not None and node.op in IGNORING_HISTOGRAMS:
        note_ignored(ev, node.op, node.expr)
    result = Vector(labels, values, mask, flags, histograms)
    return result if vector.histograms is None else result.compact()


def group_rows(node: AggregateExpr, vector: Vector) -> tuple[Rows, LabelFrame]:
    names = [*node.grouping, "__name__"] if node.without else list(node.grouping)
    return vector.labels.group(names, node.without)


def _group_flags(vector: Vector, groups: Rows, count: int) -> BoolMatrix | None:
    """A group loses its name at the end as soon as one of its rows does."""
    if vector.unnamed is None:
        return None
    flags = np.zeros(count, dtype=np.bool_)
    flags[groups[vector.unnamed]] = True
    return flags


def _select_k(ev: Evaluation, node: AggregateExpr) -> Vector:
    """topk, bottomk, limitk: some of the rows as they are."""
    assert node.param is not None
    numbers, vector = ev.scalar(node.param), ev.vector(node.expr)
    k = _whole_numbers(numbers)
    if len(vector.labels) == 0 or not (k >= 1).any():
        return vector.take(np.arange(0))
    if vector.histograms is not None and node.op is not AggregateOp.LIMITK:
        if (vector.histograms.present() & (k >= 1)).any():
            note_ignored(ev, node.op, node)
        vector = vector.floats()
    groups, labels = group_rows(node, vector)
    kept, order = _native.select_k(str(node.op), k, groups, len(labels), vector.values, vector.present())
    if ev.bounds.is_instant and ev.steps.count == 1:
        return vector.where(kept).take(order)
    return vector.where(kept).compact()


def _whole_numbers(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Truncated. Raises QueryFailed for what is no 64-bit number, unless no value is 1 or more."""
    if (values < 1).all():
        return np.zeros(len(values), dtype=np.int64)
    if np.isnan(values).any():
        raise QueryFailed("Parameter value is NaN")
    if values.min() <= -_INT64_BOUND:
        raise QueryFailed(f"Scalar value {general(float(values.min()))} underflows int64")
    if values.max() >= _INT64_BOUND:
        raise QueryFailed(f"Scalar value {general(float(values.max()))} overflows int64")
    return values.astype(np.int64)


def _limit_ratio(ev: Evaluation, node: AggregateExpr) -> Vector:
    """Rows by a hash of their labels: those below r, or for a negative r those that 1 + r leaves out."""
    assert node.param is not None
    ratio, vector = ev.scalar(node.param), ev.vector(node.expr)
    if np.isnan(ratio).any():
        raise QueryFailed("Ratio value is NaN")
    capped = np.clip(ratio, -1.0, 1.0)
    for wrong, right in dict.fromkeys(zip(ratio.tolist(), capped.tolist(), strict=True)):
        if wrong != right:
            text = f"ratio value should be between -1 and 1, got {general(wrong)}, capping to {general(right)}"
            ev.annotations.warn(text, node.param.span)
    share = (vector.labels.hashes() / _HASHES)[:, np.newaxis]
    kept = np.where(capped >= 0, share < capped, share >= 1.0 + capped)
    return vector.where(kept).compact()


def _count_values(ev: Evaluation, node: AggregateExpr) -> Vector:
    """A row per group and distinct value. The value is a label, in place of one of that name, before the grouping."""
    assert node.param is not None
    name = ev.any_string(node.param)
    if not is_label_name(name):
        raise QueryFailed(f"invalid label name {quote(name)}")
    vector = ev.vector(node.expr)
    if len(vector.labels) == 0:
        return empty_vector(ev.steps)
    vector = replace(vector, labels=vector.labels.drop([name]))
    groups, labels = group_rows(node, vector)
    if node.without and name in node.grouping:
        values, mask = _native.aggregate("count", groups, len(labels), vector.values, vector.present())
        return Vector(labels, values, mask)
    _account_distinct_values(ev, vector)
    pair_groups, pair_values, (values, mask) = _native.count_values(groups, len(labels), vector.values, vector.mask)
    texts = [plain_decimal(value) for value in pair_values.tolist()]
    if vector.histograms is not None:
        more_groups, more_texts, more_values, more_mask = count_texts(vector, groups, len(labels))
        pair_groups, texts = np.concatenate([pair_groups, more_groups]), texts + more_texts
        values, mask = np.concatenate([values, more_values]), np.concatenate([mask, more_mask])
    codes = np.arange(len(texts), dtype=np.int32)
    # A name that was to go at the end of the query stays, as in Prometheus.
    return merge_equal_rows(Vector(labels.take(pair_groups).with_column(name, texts, codes), values, mask))


def _account_distinct_values(ev: Evaluation, vector: Vector) -> None:
    """Every distinct value is a row of the result; refuse a result that would not fit before it is made."""
    cells = int(np.count_nonzero(vector.mask))
    if cells * ev.steps.count * CELL_BYTES > _ROWS_BYTES_UNCHECKED:
        distinct = len(np.unique(vector.values[vector.mask]))
        ev.memory.take(distinct * ev.steps.count * CELL_BYTES)
