"""Syntax trees back to text: on one line, and broken into lines as Prometheus' formatter does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mimir_rw.model.labels import METRIC_NAME, Matcher, MatchType
from mimir_rw.promql.ast import (
    AggregateExpr,
    AtBound,
    BinaryExpr,
    Call,
    Cardinality,
    DurationExpr,
    DurationOp,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorMatching,
    VectorSelector,
    children,
    walk,
)
from mimir_rw.promql.literals import format_duration, format_float
from mimir_rw.promql.quoting import quote

LINE_BYTES_MAX = 100
_INDENT = "  "
_PLAIN_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIDES = {Cardinality.MANY_TO_ONE: "left", Cardinality.ONE_TO_MANY: "right"}


def format_expr(expr: Expr) -> str:
    """The expression on one line, in Prometheus' spelling. Parsing it gives an equal tree."""
    return _line(expr, {})


def _line(expr: Expr, known: Mapping[int, str]) -> str:
    """known: lines of parts, by id."""

    def part(inner: Expr) -> str:
        line = known.get(id(inner))
        return _line(inner, known) if line is None else line

    match expr:
        case NumberLiteral():
            return _number(expr)
        case StringLiteral():
            return quote(expr.value)
        case VectorSelector():
            return _selector(expr) + _at(expr.at) + _extension(expr) + _offset(expr.offset_ms, expr.offset_expr)
        case MatrixSelector():
            inner = expr.selector
            window = _duration(expr.range_ms, expr.range_expr)
            return (
                f"{_selector(inner)}[{window}]{_extension(inner)}{_at(inner.at)}"
                f"{_offset(inner.offset_ms, inner.offset_expr)}"
            )
        case SubqueryExpr():
            return part(expr.expr) + _window(expr)
        case ParenExpr():
            return f"({part(expr.expr)})"
        case UnaryExpr():
            return expr.op.value + part(expr.expr)
        case BinaryExpr():
            return f"{part(expr.lhs)} {_operator(expr)} {part(expr.rhs)}"
        case AggregateExpr():
            param = "" if expr.param is None else part(expr.param) + ", "
            return f"{_aggregation(expr)}({param}{part(expr.expr)})"
        case Call():
            return f"{expr.func.name}({', '.join([part(arg) for arg in expr.args])})"


def pretty(expr: Expr) -> str:
    """The expression with what is longer than a line broken up and indented, as `/format_query` answers.

    The time is linear in the text: a line is made only of parts that fit into one.
    """
    return _pretty(expr, 0, _short_lines(expr))


def _short_lines(expr: Expr) -> dict[int, str]:
    """By id of a node, its text on one line where that is no longer than a line."""
    lines: dict[int, str] = {}
    for node in reversed([*walk(expr)]):
        if all(id(child) in lines for child in children(node)):
            line = _line(node, lines)
            if len(line.encode("utf-8", "surrogateescape")) <= LINE_BYTES_MAX:
                lines[id(node)] = line
    return lines


def _pretty(expr: Expr, level: int, lines: Mapping[int, str]) -> str:
    indent = _INDENT * level
    if isinstance(expr, UnaryExpr):
        return indent + expr.op.value + _pretty(expr.expr, level, lines).strip()
    line = lines.get(id(expr))
    if line is not None:
        return line if isinstance(expr, SubqueryExpr) else indent + line
    match expr:
        case AggregateExpr():
            param = "" if expr.param is None else _pretty(expr.param, level + 1, lines) + ",\n"
            return f"{indent}{_aggregation(expr)}(\n{param}{_pretty(expr.expr, level + 1, lines)}\n{indent})"
        case BinaryExpr():
            lhs, rhs = _pretty(expr.lhs, level + 1, lines), _pretty(expr.rhs, level + 1, lines)
            return f"{lhs}\n{indent}{_operator(expr)}\n{rhs}"
        case Call():
            args = ",\n".join([_pretty(arg, level + 1, lines) for arg in expr.args])
            return f"{indent}{expr.func.name}(\n{args}\n{indent})"
        case ParenExpr():
            return f"{indent}(\n{_pretty(expr.expr, level + 1, lines)}\n{indent})"
        case SubqueryExpr():
            return _pretty(expr.expr, level, lines) + _window(expr)
        case _:
            return indent + format_expr(expr)


def format_matcher(matcher: Matcher) -> str:
    return f"{_label(matcher.name)}{matcher.symbol}{quote(matcher.value)}"


def _label(name: str) -> str:
    return name if _PLAIN_LABEL.fullmatch(name) else quote(name)


def _labels(names: Iterable[str]) -> str:
    return ", ".join(_label(name) for name in names)


def _number(node: NumberLiteral) -> str:
    return format_duration(round(node.value * 1000)) if node.is_duration else format_float(node.value)


def _selector(node: VectorSelector) -> str:
    """Name and matchers, without what follows them."""
    matchers = [
        format_matcher(matcher)
        for matcher in node.matchers
        if not (matcher.name == METRIC_NAME and matcher.type is MatchType.EQUAL and matcher.value == node.name != "")
    ]
    if not matchers:
        return node.name or "{}"
    return f"{node.name}{{{','.join(sorted(matchers))}}}"


def _at(at: int | AtBound | None) -> str:
    if at is None:
        return ""
    return f" @ {at.value}()" if isinstance(at, AtBound) else f" @ {at / 1000:.3f}"


def _extension(node: VectorSelector) -> str:
    return " anchored" if node.anchored else " smoothed" if node.smoothed else ""


def _offset(offset_ms: int, expr: DurationExpr | None) -> str:
    if not offset_ms and expr is None:
        return ""
    text = _duration(offset_ms, expr)
    binary = expr is not None and expr.lhs is not None and expr.op not in (DurationOp.MIN_OF, DurationOp.MAX_OF)
    # Only what begins with a parenthesis is read as a whole after `offset`.
    return f" offset {text}" if text.startswith("(") or not binary else f" offset ({text})"


def _duration(ms: int, expr: DurationExpr | None) -> str:
    return format_duration(ms) if expr is None else _arithmetic(expr)


def _window(node: SubqueryExpr) -> str:
    step = _duration(node.step_ms, node.step_expr) if node.step_ms or node.step_expr is not None else ""
    window = _duration(node.range_ms, node.range_expr)
    return f"[{window}:{step}]{_at(node.at)}{_offset(node.offset_ms, node.offset_expr)}"


def _arithmetic(node: NumberLiteral | DurationExpr) -> str:
    if isinstance(node, NumberLiteral):
        return _number(node)
    lhs = "" if node.lhs is None else _arithmetic(node.lhs)
    rhs = "" if node.rhs is None else _arithmetic(node.rhs)
    if node.op in (DurationOp.STEP, DurationOp.RANGE):
        text = f"{node.op.value}()"
    elif node.op in (DurationOp.MIN_OF, DurationOp.MAX_OF):
        text = f"{node.op.value}({lhs}, {rhs})"
    else:
        text = f"{lhs} {node.op.value} {rhs}" if node.lhs is not None else node.op.value + rhs
    return f"({text})" if node.wrapped else text


def _aggregation(node: AggregateExpr) -> str:
    if node.without:
        return f"{node.op.value} without ({_labels(node.grouping)}) "
    return f"{node.op.value} by ({_labels(node.grouping)}) " if node.grouping else node.op.value


def _operator(node: BinaryExpr) -> str:
    """The operator and what is said about matching."""
    out = node.op.value + (" bool" if node.return_bool else "")
    matching = node.matching
    if matching is None:
        return out
    side = _SIDES.get(matching.card)
    if matching.labels or matching.on or side:
        out += f" {'on' if matching.on else 'ignoring'} ({_labels(matching.labels)})"
    if side:
        out += f" group_{side} ({_labels(matching.include)})"
    return out + _fills(matching)


def _fills(matching: VectorMatching) -> str:
    left, right = matching.fill_left, matching.fill_right
    if left is not None and left == right:
        return f" fill ({format_float(left)})"
    out = "" if left is None else f" fill_left ({format_float(left)})"
    return out if right is None else f"{out} fill_right ({format_float(right)})"
