"""Rewrite: info() gets its second argument in full: which info series, read at which times.

The info metric is target_info unless the query names another; it is read where the first selector of the first
argument is read, so that labels fit the samples that they describe.
"""

from __future__ import annotations

from dataclasses import replace

from mimir_rw.model.labels import METRIC_NAME, Matcher, MatchType
from mimir_rw.promql.ast import AtBound, Call, Expr, SubqueryExpr, VectorSelector, children, transform

_TARGET_INFO = Matcher(MatchType.EQUAL, METRIC_NAME, "target_info")
_ANY_INFO = Matcher(MatchType.REGEX, METRIC_NAME, ".+_info")
_NEGATIVE = (MatchType.NOT_EQUAL, MatchType.NOT_REGEX)


def complete_info_calls(expr: Expr) -> Expr:
    return transform(expr, _complete)


def _complete(node: Expr) -> Expr:
    if not isinstance(node, Call) or node.func.name != "info":
        return node
    base, *rest = node.args
    matchers: tuple[Matcher, ...] = ()
    if rest:
        assert isinstance(rest[0], VectorSelector), "the parser admits no other second argument"
        matchers = rest[0].matchers
    names = [m for m in matchers if m.name == METRIC_NAME]
    if not names:
        matchers = (*matchers, _TARGET_INFO)
    elif all(m.type in _NEGATIVE for m in names):
        matchers = (*matchers, _ANY_INFO)
    at, offset_ms = _first_read(base, None, 0) or (None, 0)
    return replace(node, args=(base, VectorSelector("", matchers, offset_ms=offset_ms, at=at, span=node.span)))


def _first_read(node: Expr, at: int | AtBound | None, offset_ms: int) -> tuple[int | AtBound | None, int] | None:
    """`@` time and offset of the first selector below, subqueries around it taken into account."""
    if isinstance(node, VectorSelector | SubqueryExpr):
        # An inner `@` is absolute: what stands outside no longer matters.
        at, offset_ms = (at, offset_ms + node.offset_ms) if node.at is None else (node.at, node.offset_ms)
    if isinstance(node, VectorSelector):
        return at, offset_ms
    for child in children(node):
        found = _first_read(child, at, offset_ms)
        if found is not None:
            return found
    return None
