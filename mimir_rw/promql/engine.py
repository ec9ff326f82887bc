"""The query engine: text or tree in, `Result` out.

First all selects are awaited on the event loop, then the whole expression is evaluated over all steps in one Offload
thread. The engine keeps no state between queries and can serve any number at once; how many is the caller's business.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from dataclasses import dataclass, replace

import numpy as np

from mimir_rw._native import LabelFrame, SampleColumns
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import MimirError, QueryTimeout
from mimir_rw.promql.ast import Expr, MatrixSelector, SubqueryExpr
from mimir_rw.promql.exec.annotations import Annotations
from mimir_rw.promql.exec.dispatch import OPERATORS
from mimir_rw.promql.exec.evaluation import BATCH_BYTES, Deadline, Evaluation
from mimir_rw.promql.exec.extended_samples import extended_samples
from mimir_rw.promql.exec.functions_range import windows
from mimir_rw.promql.exec.memory import MemoryAccount
from mimir_rw.promql.exec.shared_values import SharedValues
from mimir_rw.promql.exec.step_samples import count_samples
from mimir_rw.promql.exec.values import Scalar, String, Vector, drop_metadata, remove_marked_names
from mimir_rw.promql.explain import Explanation, SelectTrace, Tracer
from mimir_rw.promql.joining import join_results
from mimir_rw.promql.parsed import INLINE_CHARACTERS_MAX, ParsedTexts, check_result_type
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.plan.planner import Plan, make_plan
from mimir_rw.promql.plan.selects import Gathered, gather
from mimir_rw.promql.plan.time_splitting import split_plan
from mimir_rw.promql.printer import format_matcher
from mimir_rw.promql.reader import DEPTH_MAX
from mimir_rw.promql.result import QueryStats, RangeSamples, Result, ResultType
from mimir_rw.promql.steps import Bounds, TimeDefaults
from mimir_rw.storage.contract import Queryable

SAMPLES_MAX = 50_000_000
ANSWER_POINT_BYTES = 32
_FRAMES_A_LEVEL = 20
sys.setrecursionlimit(max(sys.getrecursionlimit(), DEPTH_MAX * _FRAMES_A_LEVEL))
"""Operators call each other through several frames, and an expression may be DEPTH_MAX levels high, for which the
interpreter's own bound is too low. Calls between Python functions take no stack of the thread."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Defaults are Prometheus'. subquery_step_ms: step of subqueries that name none. batch_bytes: see Evaluation.

    shards: into how many an aggregation is divided (plan/sharding.py); steps_max: the most steps that are evaluated at
    once (plan/time_splitting.py); 0: neither. start_timestamps: `start_timestamp` has results, and functions of
    counters heed start timestamps.
    """

    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000
    timeout_s: float = 120.0
    samples_max: int = SAMPLES_MAX
    delayed_name_removal: bool = False
    batch_bytes: int = BATCH_BYTES
    shards: int = 0
    steps_max: int = 0
    start_timestamps: bool = False


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Of one query. None: the engine's own. memory_bytes_max 0: no limit.

    explain: the result comes with an explanation. count_samples: its statistics with samples by step. type_labels: the
    label `__type__` says what is a counter, not the name.
    """

    timeout_s: float | None = None
    lookback_ms: int | None = None
    memory_bytes_max: int = 0
    explain: bool = False
    count_samples: bool = False
    delayed_name_removal: bool | None = None
    type_labels: bool = False


class Engine:
    def __init__(
        self,
        *,
        clock: Clock,
        offload: Offload,
        options: EngineOptions | None = None,
        parsed: ParsedTexts | None = None,
    ) -> None:
        """parsed: the trees of a frontend in the same process."""
        self._clock = clock
        self._parsed = parsed or ParsedTexts()
        self._offload = offload
        self._options = options or EngineOptions()

    async def instant(
        self, queryable: Queryable, query: str | Expr, time_ms: int, *, limits: QueryLimits | None = None
    ) -> Result:
        """Evaluate at one time.

        Raises InvalidQuery (a query that does not parse or check), QueryFailed, LimitExceeded, QueryTimeout, and what
        `Queryable.select` raises.
        """
        return await self._run(queryable, query, Bounds(time_ms, time_ms, 0), limits or QueryLimits())

    async def range(
        self,
        queryable: Queryable,
        query: str | Expr,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        limits: QueryLimits | None = None,
    ) -> Result:
        """Evaluate at start, start + step, ... <= end (step > 0). Raises as `instant` does."""
        return await self._run(queryable, query, Bounds(start_ms, end_ms, step_ms), limits or QueryLimits())

    async def _run(self, queryable: Queryable, query: str | Expr, bounds: Bounds, limits: QueryLimits) -> Result:
        began = self._clock.monotonic()
        timeout_s = min(limits.timeout_s or self._options.timeout_s, self._options.timeout_s)
        deadline = Deadline(self._clock.monotonic, began + timeout_s)
        account = self._account(limits)
        try:
            async with asyncio.timeout(timeout_s):
                plan = await self._planned(query, bounds, limits)
                prepare_s = self._clock.monotonic() - began
                # What is read at a step depends on the step before: samples are counted in one part.
                split = split_plan(plan, 0 if limits.count_samples else self._options.steps_max)
                parts = [await self._part(part, queryable, deadline, limits, account) for part in split]
                result = parts[0]
                if len(parts) > 1:
                    result = await self._offload.run(join_results, parts, plan.steps)
        except TimeoutError:
            raise QueryTimeout("query timed out in query execution") from None
        finally:
            # Work that has begun in a thread sees this at its next operator, whoever left first.
            deadline.cancelled = True
        return replace(result, stats=replace(result.stats, prepare_s=prepare_s))

    def _account(self, limits: QueryLimits) -> MemoryAccount:
        return MemoryAccount(bytes_max=limits.memory_bytes_max, samples_max=self._options.samples_max)

    async def _part(
        self, plan: Plan, queryable: Queryable, deadline: Deadline, limits: QueryLimits, account: MemoryAccount
    ) -> Result:
        """Of a plan that is split, or the only one. Statistics are of all parts so far, but for times."""
        began = self._clock.monotonic()
        gathered = await gather(plan.selects, queryable)
        selected = self._clock.monotonic()
        evaluation = self._evaluation(plan, gathered, deadline, limits, account)
        result = await self._offload.run(evaluate, plan, evaluation)
        if limits.count_samples:
            counting = self._evaluation(plan, gathered, deadline, replace(limits, explain=False), self._account(limits))
            result = await self._offload.run(_with_samples, plan, counting, result)
        stats = replace(result.stats, select_s=selected - began, evaluate_s=self._clock.monotonic() - selected)
        return replace(result, stats=stats)

    async def _planned(self, query: str | Expr, bounds: Bounds, limits: QueryLimits) -> Plan:
        if not isinstance(query, str):
            return self._plan("", query, bounds, limits)
        if len(query) > INLINE_CHARACTERS_MAX:
            return await self._offload.run(self._parse_and_plan, query, bounds, limits)
        return self._plan(query, self._parsed.parse(query), bounds, limits)

    def _parse_and_plan(self, query: str, bounds: Bounds, limits: QueryLimits) -> Plan:
        return self._plan(query, parse_expression(query), bounds, limits)

    def _plan(self, text: str, expr: Expr, bounds: Bounds, limits: QueryLimits) -> Plan:
        check_result_type(expr, instant=bounds.is_instant)
        lookback_ms = limits.lookback_ms or self._options.lookback_ms
        defaults = TimeDefaults(lookback_ms, self._options.subquery_step_ms)
        # Statistics speak of what Prometheus would read.
        narrow = not limits.count_samples
        return make_plan(text, expr, bounds, defaults, shards=self._options.shards, narrow=narrow)

    def _evaluation(
        self, plan: Plan, gathered: Gathered, deadline: Deadline, limits: QueryLimits, account: MemoryAccount
    ) -> Evaluation:
        delayed = limits.delayed_name_removal
        return Evaluation(
            bounds=plan.bounds,
            steps=plan.steps,
            defaults=plan.defaults,
            delayed_name_removal=self._options.delayed_name_removal if delayed is None else delayed,
            hoisted=plan.hoisted,
            gathered=gathered,
            operators=OPERATORS,
            annotations=Annotations(query=plan.query),
            memory=account,
            deadline=deadline,
            sharded=plan.sharded,
            needed_labels=plan.needed_labels,
            shared=SharedValues(plan.repeated) if plan.repeated.classes else None,
            batch_bytes=self._options.batch_bytes,
            start_timestamps=self._options.start_timestamps,
            type_labels=limits.type_labels,
            tracer=Tracer(monotonic=self._clock.monotonic, notes=plan.notes()) if limits.explain else None,
        )


def evaluate(plan: Plan, ev: Evaluation) -> Result:
    """The synchronous part of a query."""
    try:
        with np.errstate(all="ignore"):
            kind, value = _root(plan, ev)
            ev.memory.check_beside(answer_bytes(value))
    except MimirError as error:
        # Whoever handles it would otherwise keep every matrix of the frames that it came through.
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        if ev.shared is not None:
            ev.shared.clear()
    ev.memory.keep_result(value.nbytes)
    return Result(
        type=kind,
        value=value,
        steps=ev.steps,
        warnings=tuple(ev.annotations.warnings),
        infos=tuple(ev.annotations.infos),
        stats=QueryStats(ev.memory.samples_read, ev.memory.peak_bytes, 0.0, 0.0, 0.0),
        explanation=None if ev.tracer is None else _explanation(plan, ev, ev.tracer),
    )


def _with_samples(plan: Plan, ev: Evaluation, result: Result) -> Result:
    with np.errstate(all="ignore"):
        counted = count_samples(ev, plan.expr)
    stats = replace(result.stats, queryable=tuple(counted.queryable.tolist()), read=tuple(counted.read.tolist()))
    return replace(result, stats=stats)


def answer_bytes(value: Vector | Scalar | String | RangeSamples) -> int:
    """About the bytes of the answer that will be written of it."""
    if isinstance(value, Vector):
        return int(np.count_nonzero(value.mask)) * ANSWER_POINT_BYTES
    return value.columns.sample_count * ANSWER_POINT_BYTES if isinstance(value, RangeSamples) else value.nbytes


def _explanation(plan: Plan, ev: Evaluation, tracer: Tracer) -> Explanation:
    selects = [
        SelectTrace(
            matchers="{" + ", ".join(format_matcher(matcher) for matcher in spec.matchers) + "}",
            mint=spec.hints.mint,
            maxt=spec.hints.maxt,
            series=len(series.labels),
            samples=tracer.samples_of(series),
        )
        for spec, series in ev.gathered.selected
    ]
    return tracer.explanation(plan.rewrites, selects)


def _root(plan: Plan, ev: Evaluation) -> tuple[ResultType, Vector | Scalar | String | RangeSamples]:
    if isinstance(plan.expr, MatrixSelector | SubqueryExpr):
        return ResultType.MATRIX, _range_samples(ev, plan.expr)
    value = ev.evaluate(plan.expr)
    if isinstance(value, String):
        return ResultType.STRING, value
    if plan.bounds.is_instant:
        if isinstance(value, Scalar):
            return ResultType.SCALAR, value
        return ResultType.VECTOR, remove_marked_names(value).compact()
    return ResultType.MATRIX, _matrix(value, ev.steps.count)


def _matrix(value: Vector | Scalar, count: int) -> Vector:
    """Range results are sorted by labels; a scalar is one series without any."""
    if isinstance(value, Scalar):
        values = value.values[np.newaxis, :]
        return Vector(LabelFrame.empty_rows(1), values, np.ones((1, count), dtype=np.bool_))
    vector = remove_marked_names(value).compact()
    order = vector.labels.sort_order()
    if (order[1:] > order[:-1]).all():
        return vector
    return vector.take(order)


def _range_samples(ev: Evaluation, node: MatrixSelector | SubqueryExpr) -> RangeSamples:
    if isinstance(node, MatrixSelector) and (node.selector.anchored or node.selector.smoothed):
        source, columns = extended_samples(ev, node)
    else:
        source = windows(ev, node, "a range vector as the result")
        columns = SampleColumns.concat([batch.drop_stale() for batch in source.batches()])
    labels = source.labels
    if source.unnamed is not None and source.unnamed.any():
        labels = drop_metadata(labels)[0]
    order = labels.sort_order()
    live = np.diff(columns.offsets) + np.diff(columns.histogram_offsets) > 0
    order = order[live[order]]
    return RangeSamples(labels.take(order), columns.take(order))
