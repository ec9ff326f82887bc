"""What an evaluation of a script needs of an engine: its traits, for lists of what is not there yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mimir_rw.model.errors import BadRequest
from mimir_rw.promql.ast import (
    AggregateExpr,
    BinaryExpr,
    BinaryOp,
    Call,
    Expr,
    MatrixSelector,
    SubqueryExpr,
    VectorSelector,
    walk,
)
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.script.commands import Evaluation
from mimir_rw.promql.script.storage import ScriptStorage


@dataclass(frozen=True, slots=True)
class Traits:
    """has_native_histogram: in a series that the expression selects, or in the expected answer.

    features: sorted names of what the expression uses beyond the core language: experimental functions and aggregations
    by their name, and "anchored", "smoothed", "fill modifiers", "trim operators", "duration expressions",
    "start timestamps" (in selected data or by start_timestamp()).
    """

    has_native_histogram: bool
    expects_annotation: bool
    features: tuple[str, ...]


def traits_of(case: Evaluation, storage: ScriptStorage) -> Traits:
    """Traits of one evaluation over what is loaded now. An expression that does not parse has no features."""
    expected = case.expected
    annotated = bool(expected.warn or expected.info)
    try:
        expr = parse_expression(case.expr)
    except BadRequest:
        return Traits(expected.has_histograms, annotated, ())
    selectors = [node for node in walk(expr) if isinstance(node, VectorSelector)]
    histograms = expected.has_histograms or any(storage.histograms_match(node.matchers) for node in selectors)
    features = {feature for node in walk(expr) for feature in _features(node)}
    if any(storage.starts_match(node.matchers) for node in selectors):
        features.add("start timestamps")
    return Traits(histograms, annotated, tuple(sorted(features)))


def _features(node: Expr) -> Iterator[str]:
    match node:
        case VectorSelector():
            if node.anchored:
                yield "anchored"
            if node.smoothed:
                yield "smoothed"
            if node.offset_expr is not None:
                yield "duration expressions"
        case MatrixSelector():
            if node.range_expr is not None:
                yield "duration expressions"
        case SubqueryExpr():
            if node.range_expr is not None or node.step_expr is not None or node.offset_expr is not None:
                yield "duration expressions"
        case BinaryExpr():
            if node.op in (BinaryOp.TRIM_UPPER, BinaryOp.TRIM_LOWER):
                yield "trim operators"
            if node.matching and (node.matching.fill_left is not None or node.matching.fill_right is not None):
                yield "fill modifiers"
        case AggregateExpr():
            if node.op.is_experimental:
                yield node.op.value
        case Call():
            if node.func.name == "start_timestamp":
                yield "start timestamps"
            elif node.func.experimental:
                yield node.func.name
