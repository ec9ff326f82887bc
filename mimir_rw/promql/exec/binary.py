"""Binary operators between scalars and vectors, unary minus, and set operators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import LabelFrame
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import BinaryExpr, BinaryOp, Cardinality, UnaryExpr, VectorMatching
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.matching import (
    Sides,
    join,
    match_rows,
    merge_one_side,
    presence,
    require_distinct_results,
    require_one_to_one,
    require_unique_one_side,
)
from mimir_rw.promql.exec.memory import CELL_BYTES
from mimir_rw.promql.exec.operators import ARITHMETIC, COMPARISON, apply_scalars
from mimir_rw.promql.exec.values import (
    BoolMatrix,
    FloatMatrix,
    Rows,
    Scalar,
    Value,
    Vector,
    concat_vectors,
    drop_metadata,
    drop_names,
    empty_vector,
    merge_equal_rows,
)

_TRIM = (BinaryOp.TRIM_LOWER, BinaryOp.TRIM_UPPER)


def binary(ev: Evaluation, node: BinaryExpr) -> Value:
    if node.op in _TRIM:
        raise QueryFailed(f'native histogram operator "{node.op}" is not supported yet')
    left, right = ev.evaluate(node.lhs), ev.evaluate(node.rhs)
    if isinstance(left, Vector) and isinstance(right, Vector):
        assert node.matching is not None
        if node.op.is_set:
            return _set_operator(node.op, node.matching, left, right)
        return _vectors(ev, node, node.matching, left, right)
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return Scalar(apply_scalars(node.op, left.values, right.values))
    if isinstance(left, Vector):
        assert isinstance(right, Scalar)
        return _vector_and_scalar(ev, node, left, left.values, right.values)
    assert isinstance(left, Scalar)
    assert isinstance(right, Vector)
    return _vector_and_scalar(ev, node, right, left.values, right.values)


def unary(ev: Evaluation, node: UnaryExpr) -> Value:
    value = ev.evaluate(node.expr)
    if node.op is BinaryOp.ADD:
        return value
    if isinstance(value, Scalar):
        return Scalar(-value.values)
    assert isinstance(value, Vector)
    return drop_names(replace(value, values=-value.values), delayed=ev.delayed_name_removal)


def _vector_and_scalar(
    ev: Evaluation, node: BinaryExpr, vector: Vector, left: NDArray[np.float64], right: NDArray[np.float64]
) -> Vector:
    """left and right as written, one of them the vector's matrix. A filter keeps the vector's values."""
    if node.op not in COMPARISON:
        values = ARITHMETIC[node.op](left, right)
        return drop_names(replace(vector, values=values), delayed=ev.delayed_name_removal)
    holds = COMPARISON[node.op](left, right)
    if node.return_bool:
        return drop_names(replace(vector, values=holds.astype(np.float64)), delayed=ev.delayed_name_removal)
    return replace(vector, mask=vector.mask & holds).compact()


def _set_operator(op: BinaryOp, matching: VectorMatching, left: Vector, right: Vector) -> Vector:
    sides = match_rows(left, right, matching)
    if op is BinaryOp.OR:
        matched = presence(sides.many_ids, sides.count, left.mask)[sides.one_ids]
        rest = replace(right, mask=right.mask & ~matched).compact()
        return merge_equal_rows(concat_vectors([left, rest]))
    matched = presence(sides.one_ids, sides.count, right.mask)[sides.many_ids]
    return replace(left, mask=left.mask & (matched if op is BinaryOp.AND else ~matched)).compact()


def _vectors(ev: Evaluation, node: BinaryExpr, matching: VectorMatching, left: Vector, right: Vector) -> Vector:
    sides = match_rows(left, right, matching)
    require_unique_one_side(sides, matching)
    fills = matching.fill_left is not None or matching.fill_right is not None
    if not fills and (len(left.labels) == 0 or len(right.labels) == 0):
        return empty_vector(ev.steps)
    sides = merge_one_side(sides, matching.include)
    pairs = join(sides)
    ev.memory.take(len(pairs.many) * ev.steps.count * 2 * CELL_BYTES)
    both = sides.one.mask[pairs.one] & pairs.from_many(sides.many.mask)
    if matching.card is Cardinality.ONE_TO_ONE:
        require_one_to_one(sides, pairs, both)
    values, mask = _operate(node, sides, pairs.from_many(sides.many.values), sides.one.values[pairs.one], both)
    labels = _result_labels(node, matching, pairs.from_many_labels(sides.many.labels), sides.one.labels, pairs.one)
    unnamed = None if sides.many.unnamed is None else pairs.from_many(sides.many.unnamed)
    result = Vector(labels, values, mask, unnamed)
    if matching.card is not Cardinality.ONE_TO_ONE:
        require_distinct_results(result, pairs, both)
    if fills:
        result = concat_vectors([result, *_filled(node, matching, sides)])
    return _finish(ev, node, result)


def _finish(ev: Evaluation, node: BinaryExpr, result: Vector) -> Vector:
    if node.return_bool:
        return drop_names(merge_equal_rows(result), delayed=ev.delayed_name_removal)
    return merge_equal_rows(result.compact())


def _operate(
    node: BinaryExpr, sides: Sides, many: FloatMatrix, one: FloatMatrix, mask: BoolMatrix
) -> tuple[FloatMatrix, BoolMatrix]:
    """Values and presence, operands in written order. A filter gives the value written on the left."""
    left, right = (one, many) if sides.swapped else (many, one)
    if node.op not in COMPARISON:
        return ARITHMETIC[node.op](left, right), mask
    holds = COMPARISON[node.op](left, right)
    if node.return_bool:
        return holds.astype(np.float64), mask
    return np.broadcast_to(left, mask.shape), mask & holds


def _result_labels(
    node: BinaryExpr, matching: VectorMatching, many: LabelFrame, one: LabelFrame, one_rows: Rows
) -> LabelFrame:
    """many: labels of each result row; one: those that `one_rows` takes the included labels from (-1: from none)."""
    labels = many
    if node.op not in COMPARISON:
        labels = drop_metadata(labels)[0]
    if matching.card is Cardinality.ONE_TO_ONE:
        labels = labels.keep(matching.labels) if matching.on else labels.drop(matching.labels)
    for name in matching.include:
        codes = one.codes(name)
        taken = np.where(one_rows < 0, np.int32(-1), codes[one_rows] if len(codes) else np.int32(-1))
        labels = labels.with_column(name, one.dictionary(name), taken.astype(np.int32))
    return labels


def _filled(node: BinaryExpr, matching: VectorMatching, sides: Sides) -> list[Vector]:
    """Results for elements without a partner, where `fill` gives one: a value with only the matching labels."""
    # As in Prometheus, fill_left is for the many side, also where group_right makes that the one on the right.
    fill_many, fill_one = matching.fill_left, matching.fill_right
    parts = []
    if fill_one is not None:
        matched = presence(sides.one_ids, sides.count, sides.one.mask)[sides.many_ids]
        none = np.full(len(sides.many.labels), -1, dtype=np.int64)
        labels = _result_labels(node, matching, sides.many.labels, sides.one.labels, none)
        values, mask = _operate(node, sides, sides.many.values, np.full((1, 1), fill_one), sides.many.mask & ~matched)
        parts.append(Vector(labels, values, mask, sides.many.unnamed))
    if fill_many is not None:
        matched = presence(sides.many_ids, sides.count, sides.many.mask)[sides.one_ids]
        one = sides.one.labels
        kept = one.keep(matching.labels) if matching.on else one.drop([*matching.labels, "__name__"])
        labels = _result_labels(node, matching, kept, one, np.arange(len(one), dtype=np.int64))
        values, mask = _operate(node, sides, np.full((1, 1), fill_many), sides.one.values, sides.one.mask & ~matched)
        parts.append(Vector(labels, values, mask))
    return parts
