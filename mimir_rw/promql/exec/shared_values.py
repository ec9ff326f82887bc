"""Values of expressions that stand in a query more than once, from their first evaluation to their last use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mimir_rw.promql.ast import Expr, Span, walk
from mimir_rw.promql.exec.annotations import Annotations
from mimir_rw.promql.exec.values import Value
from mimir_rw.promql.plan.common_subexpressions import Repeated
from mimir_rw.promql.steps import Steps

if TYPE_CHECKING:
    from mimir_rw.promql.exec.evaluation import Evaluation


@dataclass(slots=True)
class _Held:
    node: Expr
    value: Value
    annotations: Annotations
    uses_left: int


class SharedValues:
    """Mutable; owned by one evaluation. What it holds is in the memory account."""

    def __init__(self, repeated: Repeated) -> None:
        self._repeated = repeated
        self._held: dict[tuple[int, Steps], _Held] = {}

    def clear(self) -> None:
        """The evaluation has ended, or failed."""
        self._held.clear()

    def __contains__(self, node: Expr) -> bool:
        return id(node) in self._repeated.classes

    def holds(self, node: Expr, steps: Steps) -> bool:
        return (self._repeated.classes.get(id(node), -1), steps) in self._held

    def value(self, ev: Evaluation, node: Expr) -> Value:
        """Of one of the nodes; annotations come at the place of this one."""
        place = (self._repeated.classes[id(node)], ev.steps)
        held = self._held.get(place)
        if held is None:
            return self._first(ev, node, place)
        value = held.value
        if ev.tracer is not None:
            ev.tracer.run(node, lambda: value, lambda: ev.memory.peak_bytes)
        ev.annotations.absorb(held.annotations, places(held.node, node))
        held.uses_left -= 1
        if not held.uses_left:
            del self._held[place]
            ev.memory.release(value.nbytes)
        return value

    def _first(self, ev: Evaluation, node: Expr, place: tuple[int, Steps]) -> Value:
        own = ev.annotations.beside()
        value = ev.with_annotations(own).carry_out(node)
        ev.annotations.absorb(own, {})
        uses_left = self._repeated.uses[place[0]] - 1
        ev.memory.hold(value.nbytes)
        self._held[place] = _Held(node, value, own, uses_left)
        return value


def places(first: Expr, second: Expr) -> dict[Span, Span]:
    """Where the parts of an expression stand in another that is equal to it."""
    return {a.span: b.span for a, b in zip(walk(first), walk(second), strict=True)}
