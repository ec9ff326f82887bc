"""Rewrite: parentheses go; the tree already says what they said."""

from __future__ import annotations

from mimir_rw.promql.ast import Expr, ParenExpr, transform


def strip_parens(expr: Expr) -> Expr:
    return transform(expr, lambda node: node.expr if isinstance(node, ParenExpr) else node)
