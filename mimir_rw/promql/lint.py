"""What is valid PromQL and probably not what its writer meant. Pure: an expression in, findings out.

A rule looks at one node and at those around it, from the outermost on. Rules speak of the text alone: they know nothing
of the data, so that each of them can be wrong, and a name is all they have to tell a counter by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mimir_rw.model.labels import METRIC_NAME, Matcher, MatchType
from mimir_rw.promql.ast import (
    AggregateExpr,
    AggregateOp,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    Span,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
    children,
    walk,
)
from mimir_rw.promql.literals import format_duration, format_float
from mimir_rw.promql.printer import format_matcher
from mimir_rw.promql.quoting import quote

SCRAPE_INTERVAL_MS = 15_000
_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")
_OF_COUNTERS = frozenset({"rate", "increase", "irate", "resets"})
_OF_GAUGES = frozenset({"delta", "idelta", "deriv", "predict_linear"})
_NEEDS_TWO = frozenset({"rate", "increase", "irate", "delta", "idelta", "deriv"})
_PATTERN = re.compile(r"[.*+?()\[\]{}|\\^$]")
_ALL_OR_NOTHING = (".*", "^.*$", "(.*)")


@dataclass(frozen=True, slots=True)
class Finding:
    """span: characters of the query."""

    rule: str
    message: str
    span: Span


Around = tuple[Expr, ...]
"""The nodes that a node stands in, the outermost first."""
_Found = Iterator[tuple[str, Span]]


def lint(expr: Expr, *, scrape_interval_ms: int = SCRAPE_INTERVAL_MS) -> list[Finding]:
    """In order of place, then of rules. scrape_interval_ms: how far samples are apart."""
    found = []
    for node, around in _nodes(expr):
        for rule, check in RULES.items():
            found += [Finding(rule, message, span) for message, span in check(node, around)]
        found += [Finding("range-too-short", *each) for each in _range_too_short(node, around, scrape_interval_ms)]
    return sorted(found, key=lambda finding: finding.span)


def _nodes(expr: Expr) -> Iterator[tuple[Expr, Around]]:
    """Every node, and what it stands in; parentheses are looked through."""
    stack: list[tuple[Expr, Around]] = [(expr, ())]
    while stack:
        node, around = stack.pop()
        if not isinstance(node, ParenExpr):
            yield node, around
            around = (*around, node)
        stack += [(child, around) for child in children(node)]


def _plain(expr: Expr) -> Expr:
    while isinstance(expr, ParenExpr):
        expr = expr.expr
    return expr


def _names(selector: VectorSelector) -> list[str]:
    """The name that the selector asks for, if it is one."""
    equal = (m for m in selector.matchers if m.name == METRIC_NAME and m.type is MatchType.EQUAL)
    return [matcher.value for matcher in equal]


def _rate_of_gauge(node: Expr, around: Around) -> _Found:
    if isinstance(node, Call) and node.func.name in _OF_COUNTERS:
        for arg in map(_plain, node.args):
            for name in _names(arg.selector) if isinstance(arg, MatrixSelector) else ():
                if not name.endswith(_COUNTER_SUFFIXES):
                    ends = "/".join(_COUNTER_SUFFIXES)
                    yield f"{node.func.name} of {quote(name)}, whose name is not a counter's ({ends})", arg.span


def _delta_of_counter(node: Expr, around: Around) -> _Found:
    if isinstance(node, Call) and node.func.name in _OF_GAUGES:
        for arg in map(_plain, node.args):
            for name in _names(arg.selector) if isinstance(arg, MatrixSelector) else ():
                if name.endswith("_total"):
                    yield f"{node.func.name} of the counter {quote(name)} falls with every reset of it", arg.span


def _rate_of_aggregation(node: Expr, around: Around) -> _Found:
    """A sum of counters falls when one of them resets, and nothing can tell."""
    if not (isinstance(node, Call) and node.func.name in _OF_COUNTERS):
        return
    outer = node.func.name
    for arg in map(_plain, node.args):
        inner = _plain(arg.expr) if isinstance(arg, SubqueryExpr) else None
        if isinstance(inner, AggregateExpr):
            yield f"{outer} of {inner.op.value}: resets are lost; take {inner.op.value} of {outer} instead", inner.span
        elif isinstance(inner, Call) and inner.func.name in _OF_COUNTERS:
            yield f"{outer} of {inner.func.name}, which is no counter", inner.span


def _le_dropped(node: Expr, around: Around) -> _Found:
    if not (isinstance(node, Call) and node.func.name in ("histogram_quantile", "histogram_fraction")):
        return
    inner = _plain(node.args[-1])
    if not isinstance(inner, AggregateExpr) or ("le" in inner.grouping) is not inner.without:
        return
    selectors = (each for each in walk(inner) if isinstance(each, VectorSelector))
    if any(name.endswith("_bucket") for selector in selectors for name in _names(selector)):
        how = "drop le from without" if inner.without else "add le to by"
        yield f"{inner.op.value} removes the label le, which {node.func.name} needs; {how}", inner.span


def _quantile_out_of_range(node: Expr, around: Around) -> _Found:
    value: Expr | None = None
    if isinstance(node, Call) and node.func.name in ("histogram_quantile", "quantile_over_time"):
        value = _plain(node.args[0])
    elif isinstance(node, AggregateExpr) and node.op is AggregateOp.QUANTILE and node.param is not None:
        value = _plain(node.param)
    if isinstance(value, NumberLiteral) and not 0 <= value.value <= 1:
        hint = f"; {format_float(value.value / 100)} is meant?" if 1 < value.value <= 100 else ""
        yield f"a quantile is between 0 and 1, not {format_float(value.value)}{hint}", value.span


def _needless_regex(node: Expr, around: Around) -> _Found:
    for matcher in node.matchers if isinstance(node, VectorSelector) else ():
        if matcher.type in (MatchType.REGEX, MatchType.NOT_REGEX) and not _PATTERN.search(matcher.value):
            equal = MatchType.EQUAL if matcher.type is MatchType.REGEX else MatchType.NOT_EQUAL
            plain = format_matcher(Matcher(equal, matcher.name, matcher.value))
            yield f"{format_matcher(matcher)} has no pattern; {plain} is the same", node.span


def _matches_anything(node: Expr, around: Around) -> _Found:
    for matcher in node.matchers if isinstance(node, VectorSelector) else ():
        if matcher.value in _ALL_OR_NOTHING and matcher.type is MatchType.REGEX:
            yield f"{format_matcher(matcher)} matches every series, also those without the label", node.span
        if matcher.value in _ALL_OR_NOTHING and matcher.type is MatchType.NOT_REGEX:
            yield f"{format_matcher(matcher)} matches nothing", node.span


def _no_name(node: Expr, around: Around) -> _Found:
    if not isinstance(node, VectorSelector) or any(matcher.name == METRIC_NAME for matcher in node.matchers):
        return
    outer = around[-1] if around else None
    if not (isinstance(outer, Call) and outer.func.name == "info" and node is not outer.args[0]):
        yield "no metric name: all metrics are looked through", node.span


def _useless_sort(node: Expr, around: Around) -> _Found:
    if isinstance(node, Call) and node.func.name.startswith("sort") and around:
        yield f"{node.func.name} has no effect inside of another operation", node.span


def _constant_condition(node: Expr, around: Around) -> _Found:
    if not (isinstance(node, BinaryExpr) and node.op.is_comparison):
        return
    if all(isinstance(_unsigned(side), NumberLiteral) for side in (node.lhs, node.rhs)):
        yield "a comparison of two numbers, whose result never changes", node.span


def _unsigned(expr: Expr) -> Expr:
    expr = _plain(expr)
    return _plain(expr.expr) if isinstance(expr, UnaryExpr) else expr


def _repeated_label(node: Expr, around: Around) -> _Found:
    lists: list[tuple[str, ...]] = []
    if isinstance(node, AggregateExpr):
        lists = [node.grouping]
    elif isinstance(node, BinaryExpr) and node.matching is not None:
        lists = [node.matching.labels, node.matching.include]
    for labels in lists:
        for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
            yield f"the label {quote(label)} is listed twice", node.span


def _step_over_range(node: Expr, around: Around) -> _Found:
    if not isinstance(node, SubqueryExpr) or node.range_expr is not None or node.step_expr is not None:
        return
    if node.step_ms > node.range_ms:
        step, window = format_duration(node.step_ms), format_duration(node.range_ms)
        yield f"steps of {step} leave windows of {window} empty", node.span


def _range_too_short(node: Expr, around: Around, interval_ms: int) -> _Found:
    if not (isinstance(node, Call) and node.func.name in _NEEDS_TWO):
        return
    for arg in map(_plain, node.args):
        if isinstance(arg, MatrixSelector) and arg.range_expr is None and arg.range_ms < 2 * interval_ms:
            window, interval = format_duration(arg.range_ms), format_duration(interval_ms)
            yield (
                f"{node.func.name} needs two samples; there may be fewer in {window} at one every {interval}",
                arg.span,
            )


RULES: dict[str, Callable[[Expr, Around], _Found]] = {
    "rate-of-gauge": _rate_of_gauge,
    "delta-of-counter": _delta_of_counter,
    "rate-of-aggregation": _rate_of_aggregation,
    "le-dropped": _le_dropped,
    "quantile-out-of-range": _quantile_out_of_range,
    "needless-regex": _needless_regex,
    "matches-anything": _matches_anything,
    "no-metric-name": _no_name,
    "useless-sort": _useless_sort,
    "constant-condition": _constant_condition,
    "repeated-label": _repeated_label,
    "step-over-range": _step_over_range,
}
"""By what they are called; `range-too-short`, which depends on a setting, besides."""
