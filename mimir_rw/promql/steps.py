"""The times of an evaluation: steps of the query, and what selectors and subqueries make of them. All int ms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir_rw.promql.ast import AtBound, SubqueryExpr


@dataclass(frozen=True, slots=True)
class Steps:
    """The times start, start + step, ...: `count` of them. step is 0 only where count is at most 1."""

    start: int
    step: int
    count: int

    @property
    def last(self) -> int:
        return self.start + self.step * (self.count - 1)

    def times(self) -> NDArray[np.int64]:
        return self.start + self.step * np.arange(self.count, dtype=np.int64)

    def seconds(self) -> NDArray[np.float64]:
        return self.times() / 1000.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The query as asked: start and end inclusive; step is 0 in an instant query, where start is end."""

    start: int
    end: int
    step: int

    @property
    def is_instant(self) -> bool:
        return self.step == 0

    def steps(self) -> Steps:
        return Steps(self.start, self.step, 1 if self.step == 0 else (self.end - self.start) // self.step + 1)


@dataclass(frozen=True, slots=True)
class TimeDefaults:
    """lookback_ms: of instant selectors; subquery_step_ms: of subqueries that name none."""

    lookback_ms: int
    subquery_step_ms: int


def selector_ends(at: int | AtBound | None, offset_ms: int, steps: Steps) -> Steps:
    """The times at which a selector is read: a single one where `@` pins it, else one per step."""
    if at is not None:
        assert not isinstance(at, AtBound), "bounds are resolved before"
        return Steps(at - offset_ms, 0, 1)
    return Steps(steps.start - offset_ms, steps.step, steps.count)


def subquery_steps(node: SubqueryExpr, steps: Steps, defaults: TimeDefaults) -> Steps:
    """The steps of the inside: multiples of the subquery's step that some outer step can see, in one run."""
    step = node.step_ms or defaults.subquery_step_ms
    ends = selector_ends(node.at, node.offset_ms, steps)
    floor = ends.start - node.range_ms
    start = step * truncated_quotient(floor, step)
    if start <= floor:
        start += step
    return Steps(start, step, max(0, (ends.last - start) // step + 1))


def truncated_quotient(numerator: int, denominator: int) -> int:
    """Division toward zero: for negative times the first step may be one later than flooring would give."""
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient
