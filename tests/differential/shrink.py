"""Smaller requests that still differ: parts of the expression stand for the whole, modifiers go, ranges lose steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

from mimir_rw.promql import ast
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.functions import ValueType
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.printer import format_expr
from tests.differential.generator import Request

TRIES = 300


def shrunk(request: Request, differs: Callable[[Request], bool]) -> Request:
    """The smallest request found for which `differs` is still true; it is asked at most TRIES times."""
    tries = itertools.count()
    best, going = request, True
    while going:
        going = False
        for smaller in _smaller(best):
            if next(tries) >= TRIES:
                return best
            if differs(smaller):
                best, going = smaller, True
                break
    return best


def _smaller(request: Request) -> Iterator[Request]:
    params = dict(request.params)
    if "lookback_delta" in params:
        yield replace(request, params=tuple(p for p in request.params if p[0] != "lookback_delta"))
    if "step" in params and params["start"] != params["end"]:
        yield _with(request, end=params["start"])
        yield _with(request, start=params["end"])
    for query in _smaller_texts(request.query):
        yield _with(request, query=query)


def _with(request: Request, **changes: str) -> Request:
    return replace(request, params=tuple((key, changes.get(key, value)) for key, value in request.params))


def _smaller_texts(query: str) -> Iterator[str]:
    try:
        expr = parse_expression(query)
    except ParseError:
        for size in (len(query) // 2, len(query) // 4, 8, 3, 1):
            if size:
                yield from (query[:at] + query[at + size :] for at in range(0, len(query), size))
        return
    seen = {query}
    for smaller in _smaller_trees(expr):
        text = format_expr(smaller)
        if text not in seen and len(text) < len(query):
            seen.add(text)
            yield text


def _smaller_trees(expr: ast.Expr) -> Iterator[ast.Expr]:
    for node in ast.walk(expr):
        for inner in itertools.islice(ast.walk(node), 1, None):
            if inner.type is node.type or node is expr:
                yield _exchanged(expr, node, inner)
    for node in ast.walk(expr):
        for plainer in _plainer(node):
            yield _exchanged(expr, node, plainer)


def _exchanged(expr: ast.Expr, old: ast.Expr, new: ast.Expr) -> ast.Expr:
    return ast.transform(expr, lambda node: new if node is old else node)


def _plainer(node: ast.Expr) -> Iterator[ast.Expr]:
    match node:
        case ast.VectorSelector():
            if node.offset_ms or node.offset_expr is not None:
                yield replace(node, offset_ms=0, offset_expr=None)
            if node.at is not None:
                yield replace(node, at=None)
            if node.anchored or node.smoothed:
                yield replace(node, anchored=False, smoothed=False)
            for matcher in node.matchers[:-1]:
                yield replace(node, matchers=tuple(m for m in node.matchers if m is not matcher))
        case ast.SubqueryExpr():
            if node.offset_ms or node.offset_expr is not None or node.at is not None:
                yield replace(node, offset_ms=0, offset_expr=None, at=None)
        case ast.AggregateExpr():
            for label in node.grouping:
                yield replace(node, grouping=tuple(name for name in node.grouping if name != label))
        case ast.BinaryExpr():
            yield from _plainer_matching(node)
        case ast.Call() if node.type is ValueType.SCALAR and node.args:
            yield ast.NumberLiteral(1.0)


def _plainer_matching(node: ast.BinaryExpr) -> Iterator[ast.Expr]:
    matching = node.matching
    if matching is None:
        return
    if not node.op.is_set:
        plain = replace(matching, card=ast.Cardinality.ONE_TO_ONE, labels=(), on=False, include=())
        yield replace(node, matching=plain)
    if matching.include:
        yield replace(node, matching=replace(matching, include=()))
    if matching.fill_left is not None or matching.fill_right is not None:
        yield replace(node, matching=replace(matching, fill_left=None, fill_right=None))
    for label in matching.labels:
        yield replace(node, matching=replace(matching, labels=tuple(x for x in matching.labels if x != label)))
