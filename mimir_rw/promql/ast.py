"""The syntax tree of PromQL: frozen nodes, each with its type and its place in the query text.

Two trees are equal when they mean the same: positions do not take part in comparison. A node's `span` counts
characters of the query string from 0, end exclusive; `position` turns an offset into the `line:column` of error texts.
Durations are int milliseconds. The depth of a tree is bounded by the parser (`parser.DEPTH_MAX`), so that recursion
over it is safe.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple, TypeAlias

from mimir_rw.model.labels import Matcher
from mimir_rw.promql.functions import Function, ValueType


class Span(NamedTuple):
    """Characters [start, end) of the query."""

    start: int
    end: int


NO_SPAN = Span(0, 0)


def position(query: str, offset: int) -> str:
    """`line:column` of a character offset, both from 1; columns count UTF-8 bytes, as Prometheus' do."""
    if not query:
        return "unknown position"
    if not 0 <= offset <= len(query):
        return "invalid position"
    line_start = query.rfind("\n", 0, offset) + 1
    column = len(query[line_start:offset].encode("utf-8", "replace")) + 1
    return f"{query.count(chr(10), 0, offset) + 1}:{column}"


class BinaryOp(enum.StrEnum):
    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"
    MOD = "%"
    POW = "^"
    ATAN2 = "atan2"
    EQL = "=="
    NEQ = "!="
    LTE = "<="
    LSS = "<"
    GTE = ">="
    GTR = ">"
    TRIM_UPPER = "</"
    TRIM_LOWER = ">/"
    AND = "and"
    OR = "or"
    UNLESS = "unless"

    @property
    def is_comparison(self) -> bool:
        return self in COMPARISONS

    @property
    def is_set(self) -> bool:
        return self in SET_OPERATORS


COMPARISONS = frozenset({BinaryOp.EQL, BinaryOp.NEQ, BinaryOp.LTE, BinaryOp.LSS, BinaryOp.GTE, BinaryOp.GTR})
SET_OPERATORS = frozenset({BinaryOp.AND, BinaryOp.OR, BinaryOp.UNLESS})


class AggregateOp(enum.StrEnum):
    SUM = "sum"
    AVG = "avg"
    COUNT = "count"
    MIN = "min"
    MAX = "max"
    GROUP = "group"
    STDDEV = "stddev"
    STDVAR = "stdvar"
    TOPK = "topk"
    BOTTOMK = "bottomk"
    COUNT_VALUES = "count_values"
    QUANTILE = "quantile"
    LIMITK = "limitk"
    LIMIT_RATIO = "limit_ratio"

    @property
    def has_param(self) -> bool:
        return self in PARAM_AGGREGATORS

    @property
    def is_experimental(self) -> bool:
        return self in (AggregateOp.LIMITK, AggregateOp.LIMIT_RATIO)


PARAM_AGGREGATORS = frozenset(
    {
        AggregateOp.TOPK,
        AggregateOp.BOTTOMK,
        AggregateOp.COUNT_VALUES,
        AggregateOp.QUANTILE,
        AggregateOp.LIMITK,
        AggregateOp.LIMIT_RATIO,
    }
)


class AtBound(enum.StrEnum):
    """`@ start()` and `@ end()`: the bounds of the whole query."""

    START = "start"
    END = "end"


class Cardinality(enum.Enum):
    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"


@dataclass(frozen=True, slots=True)
class VectorMatching:
    """How the elements of two vectors find each other.

    labels: the names given to `on` (on=True) or `ignoring`; include: those given to group_left or group_right.
    fill_left, fill_right: the value that stands in for an element missing on that side; None: no filling.
    """

    card: Cardinality = Cardinality.ONE_TO_ONE
    labels: tuple[str, ...] = ()
    on: bool = False
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """is_duration: written as one (`5m`); the value is in seconds."""

    type: ClassVar[ValueType] = ValueType.SCALAR
    value: float
    is_duration: bool = False
    span: Span = field(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class StringLiteral:
    type: ClassVar[ValueType] = ValueType.STRING
    value: str
    span: Span = field(default=NO_SPAN, compare=False)


class DurationOp(enum.StrEnum):
    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"
    MOD = "%"
    POW = "^"
    STEP = "step"
    RANGE = "range"
    MIN_OF = "min_of"
    MAX_OF = "max_of"


@dataclass(frozen=True, slots=True)
class DurationExpr:
    """Arithmetic inside `[...]` or after `offset`, in seconds.

    Without lhs and rhs: step() or range(). Without lhs: a unary sign. wrapped: written in parentheses.
    """

    op: DurationOp
    lhs: NumberLiteral | DurationExpr | None = None
    rhs: NumberLiteral | DurationExpr | None = None
    wrapped: bool = False
    span: Span = field(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """name: the metric name written outside braces, or ""; `matchers` has it too, as the last one.

    at: None, a time in ms, or a bound of the query. Where `offset_expr` is set, `offset_ms` is 0 and waits for it.
    statistics: of native histograms only count and sum are wanted; never from the parser.
    """

    type: ClassVar[ValueType] = ValueType.VECTOR
    name: str
    matchers: tuple[Matcher, ...]
    offset_ms: int = 0
    offset_expr: DurationExpr | None = None
    at: int | AtBound | None = None
    anchored: bool = False
    smoothed: bool = False
    statistics: bool = False
    span: Span = field(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class MatrixSelector:
    """`selector[range]`; offset, @, anchored and smoothed stand on the selector."""

    type: ClassVar[ValueType] = ValueType.MATRIX
    selector: VectorSelector
    range_ms: int
    range_expr: DurationExpr | None = None
    span: Span = field(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class SubqueryExpr:
    """`expr[range:step]`; step_ms 0 without a step_expr: the default evaluation interval."""

    type: ClassVar[ValueType] = ValueType.MATRIX
    expr: Expr
    range_ms: int
    step_ms: int = 0
    range_expr: DurationExpr | None = None
    step_expr: DurationExpr | None = None
    offset_ms: int = 0
    offset_expr: DurationExpr | None = None
    at: int | AtBound | None = None
    span: Span = field(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class ParenExpr:
    expr: Expr
    span: Span = field(default=NO_SPAN, compare=False)
    type: ValueType = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.expr.type)


@dataclass(frozen=True, slots=True)
class UnaryExpr:
    """op: BinaryOp.ADD or BinaryOp.SUB."""

    op: BinaryOp
    expr: Expr
    span: Span = field(default=NO_SPAN, compare=False)
    type: ValueType = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.expr.type)


@dataclass(frozen=True, slots=True)
class BinaryExpr:
    """matching: None unless both sides are instant vectors."""

    op: BinaryOp
    lhs: Expr
    rhs: Expr
    matching: VectorMatching | None = None
    return_bool: bool = False
    span: Span = field(default=NO_SPAN, compare=False)
    type: ValueType = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        scalar = self.lhs.type is ValueType.SCALAR and self.rhs.type is ValueType.SCALAR
        object.__setattr__(self, "type", ValueType.SCALAR if scalar else ValueType.VECTOR)


@dataclass(frozen=True, slots=True)
class AggregateExpr:
    """grouping: names of `by`, or of `without` where that is True. param: set exactly where `op.has_param`."""

    type: ClassVar[ValueType] = ValueType.VECTOR
    op: AggregateOp
    expr: Expr
    param: Expr | None = None
    grouping: tuple[str, ...] = ()
    without: bool = False
    span: Span = field(default=NO_SPAN, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    func: Function
    args: tuple[Expr, ...]
    span: Span = field(default=NO_SPAN, compare=False)

    @property
    def type(self) -> ValueType:
        return self.func.return_type


Expr: TypeAlias = (
    NumberLiteral
    | StringLiteral
    | VectorSelector
    | MatrixSelector
    | SubqueryExpr
    | ParenExpr
    | UnaryExpr
    | BinaryExpr
    | AggregateExpr
    | Call
)


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside, in written order (duration expressions are not among them)."""
    match expr:
        case BinaryExpr():
            return (expr.lhs, expr.rhs)
        case Call():
            return expr.args
        case AggregateExpr():
            return (expr.expr,) if expr.param is None else (expr.param, expr.expr)
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return (expr.expr,)
        case MatrixSelector():
            return (expr.selector,)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything inside it, parents before children, left to right. Not recursive."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def selector_matchers(expr: Expr) -> list[tuple[Matcher, ...]]:
    """The matchers of each selector inside, in written order."""
    return [node.matchers for node in walk(expr) if isinstance(node, VectorSelector)]


def transform(expr: Expr, rewrite: Callable[[Expr], Expr]) -> Expr:
    """Rebuild bottom-up: `rewrite` sees each node after its children were rewritten. Unchanged parts are shared.

    The selector of a MatrixSelector must stay a VectorSelector.
    """
    match expr:
        case BinaryExpr():
            lhs, rhs = transform(expr.lhs, rewrite), transform(expr.rhs, rewrite)
            if lhs is not expr.lhs or rhs is not expr.rhs:
                expr = replace(expr, lhs=lhs, rhs=rhs)
        case Call():
            args = tuple(transform(arg, rewrite) for arg in expr.args)
            if any(new is not old for new, old in zip(args, expr.args, strict=True)):
                expr = replace(expr, args=args)
        case AggregateExpr():
            param = None if expr.param is None else transform(expr.param, rewrite)
            inner = transform(expr.expr, rewrite)
            if inner is not expr.expr or param is not expr.param:
                expr = replace(expr, expr=inner, param=param)
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            inner = transform(expr.expr, rewrite)
            if inner is not expr.expr:
                expr = replace(expr, expr=inner)
        case MatrixSelector():
            selector = transform(expr.selector, rewrite)
            assert isinstance(selector, VectorSelector)
            if selector is not expr.selector:
                expr = replace(expr, selector=selector)
    return rewrite(expr)
