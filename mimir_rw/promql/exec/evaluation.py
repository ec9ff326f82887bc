"""One evaluation: the steps it runs over, and all that operators may ask for.

Operators are functions `(evaluation, node) -> Value` found by node type; they evaluate their arguments through
`Evaluation.vector`, `.scalar` and so on. Runs in one thread; not shared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir_rw.model.errors import Cancelled, QueryFailed, QueryTimeout
from mimir_rw.promql.ast import Expr, VectorSelector, children
from mimir_rw.promql.exec.annotations import Annotations
from mimir_rw.promql.exec.memory import MemoryAccount
from mimir_rw.promql.exec.shared_values import SharedValues
from mimir_rw.promql.exec.values import Scalar, String, Value, Vector
from mimir_rw.promql.explain import Tracer
from mimir_rw.promql.functions import ValueType
from mimir_rw.promql.plan.selects import Gathered
from mimir_rw.promql.plan.sharding import Sharded
from mimir_rw.promql.quoting import quote
from mimir_rw.promql.steps import Bounds, Steps, TimeDefaults
from mimir_rw.storage.contract import SeriesSet
from mimir_rw.storage.shard import SeriesSlice

Operator = Callable[["Evaluation", Any], Value]

BATCH_BYTES = 4 << 20


@dataclass(slots=True)
class Deadline:
    """When to stop. `cancelled` is set from the event loop, read here between operators."""

    monotonic: Callable[[], float]
    at_s: float
    cancelled: bool = False

    def check(self) -> None:
        """Raises Cancelled or QueryTimeout."""
        if self.cancelled:
            raise Cancelled("query was canceled in query execution")
        if self.monotonic() > self.at_s:
            raise QueryTimeout("query timed out in query execution")


@dataclass(frozen=True, slots=True)
class Batch:
    """What an evaluation of some series knows: which, and what was evaluated for all of them.

    path, sides: ids of nodes; see `RowWise`. values: of sides, by node and steps; batch after batch shares them.
    """

    selector: int
    series: SeriesSet
    path: frozenset[int]
    sides: frozenset[int]
    values: dict[tuple[int, Steps], Value] = field(default_factory=dict)

    def side(self, ev: Evaluation, node: Expr) -> Value:
        """The value of one of `sides`."""
        place = (id(node), ev.steps)
        if place not in self.values:
            self.values[place] = replace(ev, batch=None).evaluate(node)
        return self.values[place]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """bounds: the query as asked; steps: those of this part (a subquery has its own).

    By ids of nodes: hoisted, what is evaluated once and repeated; sharded, what stands for aggregations; concats,
    values of the nodes that stand in those; needed_labels, of selectors, see plan/projection.py.
    shared: values of what stands in the query more than once.
    tracer: of a query that is to be explained.
    batch_bytes: about the most that a matrix takes where an expression can be evaluated for some series at a time.
    batch: which ones, in such an evaluation. start_timestamps: they tell of counter resets.
    type_labels: `__type__` says what a counter is.
    """

    bounds: Bounds
    steps: Steps
    defaults: TimeDefaults
    delayed_name_removal: bool
    hoisted: frozenset[int]
    gathered: Gathered
    operators: Mapping[type, Operator]
    annotations: Annotations
    memory: MemoryAccount
    deadline: Deadline
    tracer: Tracer | None = None
    shared: SharedValues | None = None
    sharded: Mapping[int, Sharded] = field(default_factory=dict)
    concats: Mapping[int, Vector] = field(default_factory=dict)
    needed_labels: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    batch_bytes: int = BATCH_BYTES
    batch: Batch | None = None
    start_timestamps: bool = False
    type_labels: bool = False

    @property
    def is_of_one_time(self) -> bool:
        """Whether this is no range of times: neither is a range that ends where it starts; any subquery is."""
        if self.steps == self.bounds.steps():
            return self.bounds.start == self.bounds.end
        return self.steps.step == 0

    def over(self, steps: Steps) -> Evaluation:
        """The same query, evaluated at other times."""
        return replace(self, steps=steps)

    def with_annotations(self, annotations: Annotations) -> Evaluation:
        """The same, but that its annotations go elsewhere."""
        return replace(self, annotations=annotations)

    def series(self, selector: VectorSelector, mint: int, maxt: int) -> SeriesSet:
        """What the selector reads; mint and maxt: int ms, inclusive, no more than was planned."""
        if self.batch is not None and self.batch.selector == id(selector):
            return self.batch.series
        series = self.gathered.lookup(selector.matchers, mint, maxt)
        needed = self.needed_labels.get(id(selector))
        if needed is None or any(name in series.labels.names for name in ("__type__", "__unit__")):
            return series
        return SeriesSlice(series, 0, len(series.labels), series.labels.keep(needed))

    def evaluate(self, node: Expr) -> Value:
        """Raises QueryFailed, LimitExceeded, QueryTimeout, Cancelled."""
        self.deadline.check()
        if self.batch is not None and id(node) in self.batch.sides:
            return self.batch.side(self, node)
        if self.steps.count and self.steps.step and id(node) in self.hoisted:
            once = self.over(Steps(self.steps.start, 0, 1))
            return repeat(once.evaluate(node), self.steps.count)
        if self.shared is not None and node in self.shared and not self.is_split(node):
            return self.shared.value(self, node)
        return self.carry_out(node)

    def is_split(self, node: Expr) -> bool:
        """Whether this evaluation gives only a part of the rows of `node`."""
        return self.batch is not None and id(node) in self.batch.path

    def carry_out(self, node: Expr) -> Value:
        """Evaluate, whatever is known already."""
        if self.tracer is None:
            return self._operate(node)
        return self.tracer.run(node, lambda: self._operate(node), lambda: self.memory.peak_bytes)

    def _operate(self, node: Expr) -> Value:
        mark = self.memory.current_bytes
        value = self.operators[type(node)](self, node)
        if any(child.type is ValueType.VECTOR for child in children(node)):
            self.memory.check_beside(value.nbytes)
        self.memory.settle(mark, value.nbytes)
        return value

    def vector(self, node: Expr) -> Vector:
        value = self.evaluate(node)
        assert isinstance(value, Vector), "types were checked by the parser"
        return value

    def scalar(self, node: Expr) -> NDArray[np.float64]:
        """One number per step."""
        value = self.evaluate(node)
        assert isinstance(value, Scalar), "types were checked by the parser"
        return value.values

    def string(self, node: Expr) -> str:
        """Raises QueryFailed for text that is not UTF-8: no label or value has it."""
        text = self.any_string(node)
        if not is_utf8(text):
            raise QueryFailed(f"invalid UTF-8 in string {quote(text)}")
        return text

    def any_string(self, node: Expr) -> str:
        """Bytes that are no UTF-8 are lone surrogates."""
        value = self.evaluate(node)
        assert isinstance(value, String), "types were checked by the parser"
        return value.value


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_label_name(text: str) -> bool:
    """Any text but the empty one will do."""
    return text != "" and is_utf8(text)


def repeat(value: Value, count: int) -> Value:
    """A value of one step as that of `count` steps, without copying."""
    if isinstance(value, Vector):
        shape = (len(value.labels), count)
        histograms = value.histograms
        if histograms is not None:
            histograms = replace(histograms, index=np.broadcast_to(histograms.index, shape))
        values, mask = np.broadcast_to(value.values, shape), np.broadcast_to(value.mask, shape)
        return replace(value, values=values, mask=mask, histograms=histograms)
    if isinstance(value, Scalar):
        return Scalar(np.broadcast_to(value.values, (count,)))
    return value
