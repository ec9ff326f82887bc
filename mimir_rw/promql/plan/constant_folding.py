"""Rewrite: an operation on number literals becomes its result, and a plus sign before anything goes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mimir_rw.promql.ast import BinaryExpr, BinaryOp, Call, Expr, NumberLiteral, UnaryExpr, transform
from mimir_rw.promql.exec.operators import apply_scalars


def fold_constants(expr: Expr) -> Expr:
    return transform(expr, _fold)


def _fold(node: Expr) -> Expr:
    if isinstance(node, UnaryExpr) and node.op is BinaryOp.ADD:
        return replace(node.expr, span=node.span)
    if isinstance(node, UnaryExpr) and isinstance(node.expr, NumberLiteral):
        return NumberLiteral(-node.expr.value, span=node.span)
    if isinstance(node, Call) and node.func.name == "pi":
        return NumberLiteral(math.pi, span=node.span)
    if isinstance(node, BinaryExpr) and isinstance(node.lhs, NumberLiteral) and isinstance(node.rhs, NumberLiteral):
        with np.errstate(all="ignore"):
            result = apply_scalars(node.op, np.array([node.lhs.value]), np.array([node.rhs.value]))
        return NumberLiteral(float(result[0]), span=node.span)
    return node
