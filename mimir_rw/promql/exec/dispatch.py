"""Which operator evaluates which node: the one table that knows all families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import (
    AggregateExpr,
    BinaryExpr,
    Call,
    NumberLiteral,
    StringLiteral,
    UnaryExpr,
    VectorSelector,
)
from mimir_rw.promql.exec import (
    absent,
    functions_label,
    functions_math,
    functions_range,
    functions_time,
    histogram_classic,
    histogram_native,
    info,
    literals,
    sort,
)
from mimir_rw.promql.exec.aggregate import aggregation
from mimir_rw.promql.exec.binary import binary, unary
from mimir_rw.promql.exec.evaluation import Evaluation, Operator
from mimir_rw.promql.exec.selectors import select_vector
from mimir_rw.promql.exec.sharded import concat
from mimir_rw.promql.exec.values import Value
from mimir_rw.promql.plan.concat import Concat

FUNCTIONS: dict[str, Callable[[Evaluation, Any], Value]] = {
    "absent": absent.absent,
    "absent_over_time": absent.absent_over_time,
    "clamp": functions_math.clamp,
    "clamp_max": functions_math.clamp_one_side,
    "clamp_min": functions_math.clamp_one_side,
    "double_exponential_smoothing": functions_range.double_exponential_smoothing,
    "end": functions_time.query_constant,
    "histogram_fraction": histogram_classic.histogram_fraction,
    "histogram_quantile": histogram_classic.histogram_quantile,
    "histogram_quantiles": histogram_classic.histogram_quantiles,
    "info": info.info,
    "label_join": functions_label.label_join,
    "label_replace": functions_label.label_replace,
    "max_of": functions_math.scalar_extreme,
    "min_of": functions_math.scalar_extreme,
    "pi": functions_math.pi,
    "predict_linear": functions_range.predict_linear,
    "quantile_over_time": functions_range.quantile_over_time,
    "range": functions_time.query_constant,
    "round": functions_math.round_to,
    "scalar": absent.scalar,
    "sort": sort.sort_by_value,
    "sort_by_label": sort.sort_by_label,
    "sort_by_label_desc": sort.sort_by_label,
    "sort_desc": sort.sort_by_value,
    "start": functions_time.query_constant,
    "start_timestamp": functions_time.start_timestamp,
    "step": functions_time.query_constant,
    "time": functions_time.eval_time,
    "timestamp": functions_time.timestamp,
    "vector": absent.vector,
    **dict.fromkeys(histogram_native.MOMENTS, histogram_native.moment),
    **dict.fromkeys(functions_math.ELEMENTWISE, functions_math.elementwise),
    **dict.fromkeys(functions_time.DATE_FUNCTIONS, functions_time.date_function),
    **dict.fromkeys(functions_range.WINDOW_FUNCTIONS, functions_range.window_function),
    **dict.fromkeys(functions_range.NAME_KEEPING_WINDOW_FUNCTIONS, functions_range.name_keeping_window_function),
}


def call(ev: Evaluation, node: Call) -> Value:
    function = FUNCTIONS.get(node.func.name)
    if function is None:
        raise QueryFailed(f"function {node.func.name} is not supported yet")
    return function(ev, node)


OPERATORS: dict[type, Operator] = {
    AggregateExpr: aggregation,
    BinaryExpr: binary,
    Call: call,
    Concat: concat,
    NumberLiteral: literals.number,
    StringLiteral: literals.string,
    UnaryExpr: unary,
    VectorSelector: select_vector,
}
