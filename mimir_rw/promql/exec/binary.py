"""Binary operators between scalars and vectors, unary minus, and set operators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimir_rw._native import LabelFrame
from mimir_rw.promql.ast import BinaryExpr, BinaryOp, Cardinality, UnaryExpr, VectorMatching
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.histogram_binary import TRIM, Events, Operand, Outcome, negative, operate
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
from mimir_rw.promql.exec.operators import COMPARISON, apply_scalars
from mimir_rw.promql.exec.values import (
    BoolMatrix,
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


def binary(ev: Evaluation, node: BinaryExpr) -> Value:
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
        return _vector_and_scalar(ev, node, left, operand(left), Operand.number(right.values))
    assert isinstance(left, Scalar)
    assert isinstance(right, Vector)
    return _vector_and_scalar(ev, node, right, Operand.number(left.values), operand(right))


def unary(ev: Evaluation, node: UnaryExpr) -> Value:
    value = ev.evaluate(node.expr)
    if node.op is BinaryOp.ADD:
        return value
    if isinstance(value, Scalar):
        return Scalar(-value.values)
    assert isinstance(value, Vector)
    negated = replace(value, values=-value.values, histograms=negative(value))
    return drop_names(negated, delayed=ev.delayed_name_removal)


def operand(vector: Vector) -> Operand:
    return Operand(vector.values, vector.mask, vector.histograms)


def _vector_and_scalar(ev: Evaluation, node: BinaryExpr, vector: Vector, left: Operand, right: Operand) -> Vector:
    """left and right as written, one of them the vector. A filter keeps the vector's values."""
    result = operate(node, left, right, vector.present())
    events = Events()
    events.add(result, np.arange(len(vector.labels)))
    events.tell(ev, node)
    if node.op in COMPARISON and not node.return_bool:
        return replace(vector, mask=result.mask, histograms=None).compact()
    changed = replace(vector, values=result.values, mask=result.mask, histograms=result.histograms)
    if vector.histograms is not None or node.op in TRIM:
        changed = changed.compact()
    if node.op in TRIM:
        return changed
    return drop_names(changed, delayed=ev.delayed_name_removal)


def _set_operator(op: BinaryOp, matching: VectorMatching, left: Vector, right: Vector) -> Vector:
    sides = match_rows(left, right, matching)
    if op is BinaryOp.OR:
        matched = presence(sides.many_ids, sides.count, left.present())[sides.one_ids]
        rest = right.where(~matched).compact()
        return merge_equal_rows(concat_vectors([left, rest]))
    matched = presence(sides.one_ids, sides.count, right.present())[sides.many_ids]
    return left.where(matched if op is BinaryOp.AND else ~matched).compact()


def _vectors(ev: Evaluation, node: BinaryExpr, matching: VectorMatching, left: Vector, right: Vector) -> Vector:
    sides = match_rows(left, right, matching)
    require_unique_one_side(sides, matching)
    fills = matching.fill_left is not None or matching.fill_right is not None
    if not fills and (len(left.labels) == 0 or len(right.labels) == 0):
        return empty_vector(ev.steps)
    sides = merge_one_side(sides, matching.include)
    pairs = join(sides)
    ev.memory.take(len(pairs.many) * ev.steps.count * 2 * CELL_BYTES)
    both = sides.one.present()[pairs.one] & pairs.from_many(sides.many.present())
    many = operand(sides.many) if pairs.many_is_whole else _rows(sides.many, pairs.many)
    outcome, events = _operate(node, sides, many, _rows(sides.one, pairs.one), both), Events()
    events.add(outcome, pairs.many)
    failed = outcome.failed()
    if failed is not None:
        both &= ~failed
    if matching.card is Cardinality.ONE_TO_ONE:
        require_one_to_one(sides, pairs.signature, both)
    labels = _result_labels(node, matching, pairs.from_many_labels(sides.many.labels), sides.one.labels, pairs.one)
    # Names that were to go at the end of the query stay, as in Prometheus.
    result = Vector(labels, outcome.values, outcome.mask, None, outcome.histograms)
    if matching.card is not Cardinality.ONE_TO_ONE:
        require_distinct_results(result, pairs.signature, both)
    if fills:
        matched = presence(pairs.signature, sides.count, both)
        filled = _filled(node, matching, sides, matched, events)
        # In the order of the many side, filled or not: what chooses among equal rows goes by it.
        rows = np.concatenate([pairs.many, *(rows for rows, _ in filled)])
        result = concat_vectors([result, *(part for _, part in filled)]).take(np.argsort(rows, kind="stable"))
    events.tell(ev, node)
    return _finish(ev, node, result)


def _rows(vector: Vector, rows: Rows) -> Operand:
    histograms = vector.histograms
    if histograms is not None:
        histograms = replace(histograms, index=histograms.index[rows])
    return Operand(vector.values[rows], vector.mask[rows], histograms)


def _finish(ev: Evaluation, node: BinaryExpr, result: Vector) -> Vector:
    if node.return_bool:
        return drop_names(merge_equal_rows(result), delayed=ev.delayed_name_removal)
    return merge_equal_rows(result.compact())


def _operate(node: BinaryExpr, sides: Sides, many: Operand, one: Operand, where: BoolMatrix) -> Outcome:
    left, right = (one, many) if sides.swapped else (many, one)
    return operate(node, left, right, where)


def _result_labels(
    node: BinaryExpr, matching: VectorMatching, many: LabelFrame, one: LabelFrame, one_rows: Rows
) -> LabelFrame:
    """many: labels of each result row; one: those that `one_rows` takes the included labels from (-1: from none)."""
    labels = many
    if node.op not in COMPARISON and node.op not in TRIM:
        labels = drop_metadata(labels)[0]
    if matching.card is Cardinality.ONE_TO_ONE:
        labels = labels.keep(matching.labels) if matching.on else labels.drop(matching.labels)
    for name in matching.include:
        codes = one.codes(name)
        taken = np.where(one_rows < 0, np.int32(-1), codes[one_rows] if len(codes) else np.int32(-1))
        labels = labels.with_column(name, one.dictionary(name), taken.astype(np.int32))
    return labels


def _filled(
    node: BinaryExpr, matching: VectorMatching, sides: Sides, matched: BoolMatrix, events: Events
) -> list[tuple[Rows, Vector]]:
    """Results for elements without a partner, where `fill` gives one: a value with only the matching labels. Each with
    the rows of the many side, those of the other being counted after them.

    matched: (signatures, steps), where two elements have met and gave something or could have.
    """
    # As in Prometheus, fill_left is for the many side, also where group_right makes that the one on the right.
    fill_many, fill_one = matching.fill_left, matching.fill_right
    many_rows = np.arange(len(sides.many.labels), dtype=np.int64)
    parts = []
    if fill_one is not None:
        parts.append((many_rows, _filled_one(node, matching, sides, fill_one, events)))
    if fill_many is not None:
        one = sides.one.labels
        kept = _matched_labels(matching, one)
        labels = _result_labels(node, matching, kept, one, np.arange(len(one), dtype=np.int64))
        filler = Operand.number(np.full((1, 1), fill_many))
        where = sides.one.present() & ~matched[sides.one_ids]
        outcome = _operate(node, sides, filler, operand(sides.one), where)
        rows = len(many_rows) + np.arange(len(one))
        events.add(outcome, rows)
        parts.append((rows, Vector(labels, outcome.values, outcome.mask, None, outcome.histograms)))
    return parts


def _filled_one(node: BinaryExpr, matching: VectorMatching, sides: Sides, value: float, events: Events) -> Vector:
    """Elements of the many side without a partner, with the value in its place. Raises as matched ones do."""
    many = sides.many
    rows = np.arange(len(many.labels), dtype=np.int64)
    alone = many.present() & ~presence(sides.one_ids, sides.count, sides.one.present())[sides.many_ids]
    outcome = _operate(node, sides, operand(many), Operand.number(np.full((1, 1), value)), alone)
    events.add(outcome, rows)
    failed = outcome.failed()
    if failed is not None:
        alone &= ~failed
    labels = _result_labels(node, matching, many.labels, _matched_labels(matching, many.labels), rows)
    result = Vector(labels, outcome.values, outcome.mask, None, outcome.histograms)
    if matching.card is Cardinality.ONE_TO_ONE:
        require_one_to_one(sides, sides.many_ids, alone)
    elif len(rows):
        require_distinct_results(result, sides.many_ids, alone)
    return result


def _matched_labels(matching: VectorMatching, labels: LabelFrame) -> LabelFrame:
    """Of elements, the labels by which they are matched: those of an element that is filled in for their partner."""
    return labels.keep(matching.labels) if matching.on else labels.drop([*matching.labels, "__name__"])
