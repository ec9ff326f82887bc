"""A plan's own node: the rows of several expressions one after the other, for the operator above to put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from mimir_rw.promql.ast import NO_SPAN, AggregateExpr, Span
from mimir_rw.promql.functions import ValueType


@dataclass(frozen=True, slots=True)
class Concat:
    """Rows of different parts may have equal labels. Parts are ordinary expressions: they can be evaluated anywhere."""

    type: ClassVar[ValueType] = ValueType.VECTOR
    parts: tuple[AggregateExpr, ...]
    span: Span = field(default=NO_SPAN, compare=False)
