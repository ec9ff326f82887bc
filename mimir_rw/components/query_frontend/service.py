"""The query-frontend as a running service: `rpc.contracts.query.QueryService` for the API, and the place where queriers
deliver answers. What a client did wrong is said before anything is queued; JSON is written here, once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from mimir_rw._native import LabelFrame
from mimir_rw.components.query_frontend.answer import result_json
from mimir_rw.components.query_frontend.core import check_expression_size, check_total_range
from mimir_rw.components.query_frontend.dispatch import Arrival, Dispatcher
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import FrontendConfig
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.service import Service
from mimir_rw.model.errors import Internal, MimirError, QueryTimeout
from mimir_rw.model.exemplars import SeriesExemplars
from mimir_rw.model.labels import Matcher
from mimir_rw.promql.ast import Expr
from mimir_rw.promql.experimental import Enabled, refuse_disabled
from mimir_rw.promql.parsed import INLINE_CHARACTERS_MAX, ParsedTexts, check_result_type
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.plan.durations import resolve_times
from mimir_rw.promql.result_codec import Answer, Evaluated
from mimir_rw.promql.steps import Bounds
from mimir_rw.rpc.contracts.ingester import MetricMetadata
from mimir_rw.rpc.contracts.query import (
    ExemplarsRequest,
    InstantQuery,
    LabelNamesRequest,
    LabelValuesRequest,
    MetadataRequest,
    QueryRequest,
    RangeQuery,
    SeriesRequest,
)
from mimir_rw.rpc.contracts.scheduler import SchedulerDirectory
from mimir_rw.rpc.transport import Message

_QUERY_LOG_CHARACTERS = 2048
_TIMED_OUT = "query timed out in query execution"
_CONNECT_S = 1.0

T = TypeVar("T", bound=Answer)


@dataclass(frozen=True, slots=True)
class _Spent:
    """What a query took. seconds: wall time, from its arrival to the end of its answer."""

    seconds: float
    series: int
    bytes: int
    samples: int


class QueryFrontendService(Service):
    def __init__(
        self,
        *,
        config: FrontendConfig,
        timeout_s: float,
        limits: Limits,
        directory: SchedulerDirectory,
        dispatcher: Dispatcher,
        parsed: ParsedTexts,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """timeout_s: the longest that a request may take, waiting included."""
        super().__init__("query-frontend")
        self._config = config
        self._timeout_s = timeout_s
        self._limits = limits
        self._directory = directory
        self._dispatcher = dispatcher
        self._parsed = parsed
        self._offload = offload
        self._clock = clock
        self._log = get_logger(component="query-frontend")
        user, pending = ("user",), dispatcher.pending
        self._seconds = metrics.counters("cortex_query_seconds_total", "Wall time spent on queries.", user)
        self._series = metrics.counters("cortex_query_fetched_series_total", "Series that queries selected.", user)
        self._bytes = metrics.counters(
            "cortex_query_fetched_chunk_bytes_total", "Bytes of chunks that queries fetched.", user
        )
        self._samples = metrics.counters("cortex_query_samples_processed_total", "Samples that queries decoded.", user)
        self._queries = metrics.counters("cortex_query_frontend_queries_total", "Queries by their user.", user)
        metrics.gauges_read(
            "cortex_query_frontend_queries_in_progress",
            "Requests handed to query-schedulers and not answered yet.",
            (),
            lambda: [((), float(len(pending)))],
        )
        metrics.gauges_read(
            "cortex_query_frontend_connected_schedulers",
            "Query-schedulers that can be reached.",
            (),
            lambda: [((), float(self._reachable()))],
        )

    async def start_up(self) -> None:
        self.tasks.spawn(self._keep_connected(), name="connections to query-schedulers")

    def readiness(self) -> str | None:
        return None if self._reachable() else "no query-scheduler can be reached"

    # -- QueryService -----------------------------------------------------------------------------------------------

    async def query(self, tenant: str, request: InstantQuery) -> bytes:
        """See `rpc.contracts.query.QueryService`."""
        await self._check(tenant, request.query, Bounds(request.time_ms, request.time_ms, 0))
        return await self._answer(tenant, "query", request)

    async def query_range(self, tenant: str, request: RangeQuery) -> bytes:
        """See `rpc.contracts.query.QueryService`."""
        check_total_range(request.start_ms, request.end_ms, self._limits.for_tenant(tenant))
        await self._check(tenant, request.query, Bounds(request.start_ms, request.end_ms, request.step_ms))
        return await self._answer(tenant, "query_range", request)

    async def series(self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int) -> LabelFrame:
        """See `rpc.contracts.query.QueryService`."""
        return _of_kind(LabelFrame, await self._ask(tenant, SeriesRequest(matcher_sets, mint, maxt)))

    async def label_names(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[str]:
        """See `rpc.contracts.query.QueryService`."""
        answer: list[str] = _of_kind(list, await self._ask(tenant, LabelNamesRequest(matcher_sets, mint, maxt)))
        return answer

    async def label_values(
        self, tenant: str, name: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[str]:
        """See `rpc.contracts.query.QueryService`."""
        answer: list[str] = _of_kind(list, await self._ask(tenant, LabelValuesRequest(name, matcher_sets, mint, maxt)))
        return answer

    async def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]:
        """See `rpc.contracts.query.QueryService`."""
        answer: list[MetricMetadata] = _of_kind(list, await self._ask(tenant, MetadataRequest(metric)))
        return answer

    async def exemplars(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[SeriesExemplars]:
        """See `rpc.contracts.query.QueryService`."""
        request = ExemplarsRequest(matcher_sets, mint, maxt)
        answer: list[SeriesExemplars] = _of_kind(list, await self._ask(tenant, request))
        return answer

    # -- QueryResults -----------------------------------------------------------------------------------------------

    def accept(self, query_id: str, outcome: object, querier_id: str) -> None:
        """See `rpc.contracts.scheduler.LocalResults`."""
        arrived = self._dispatcher.pending.get(query_id)
        if arrived is not None and not arrived.done():
            arrived.set_result(Arrival(outcome, querier_id))  # type: ignore[arg-type]

    async def deliver(self, query_id: str, answer: Message, querier_id: str) -> None:
        """See `rpc.contracts.scheduler.QueryResults`."""
        self.accept(query_id, answer, querier_id)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _check(self, tenant: str, text: str, bounds: Bounds) -> None:
        """Raises BadRequest, InvalidQuery among it."""
        limits = self._limits.for_tenant(tenant)
        check_expression_size(text, limits)
        if len(text) > INLINE_CHARACTERS_MAX:
            expr = await self._offload.run(_parsed_long, text, bounds)
        else:
            expr = _checked(self._parsed.parse(text), text, bounds)
        refuse_disabled(expr, enabled_for(limits), tenant)

    async def _ask(self, tenant: str, request: QueryRequest) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._dispatcher.ask(self.tasks, tenant, request, self._timeout_s)
        except TimeoutError:
            raise QueryTimeout(_TIMED_OUT) from None

    async def _answer(self, tenant: str, path: str, request: InstantQuery | RangeQuery) -> bytes:
        """Have it evaluated, and encode; the timeout counts from the arrival of the query."""
        began = self._clock.monotonic()
        timeout_s = self._timeout_s if request.timeout_s is None else min(request.timeout_s, self._timeout_s)
        if timeout_s <= 0:
            raise QueryTimeout(_TIMED_OUT)
        evaluated: Evaluated | None = None
        failure = ""
        self._queries.labels(tenant).inc()
        try:
            async with asyncio.timeout(timeout_s):
                evaluated = _of_kind(Evaluated, await self._dispatcher.ask(self.tasks, tenant, request, timeout_s))
                elapsed_s = self._clock.monotonic() - began
                return await self._offload.run(result_json, evaluated.result, request.limit, request.stats, elapsed_s)
        except TimeoutError:
            failure = _TIMED_OUT
            raise QueryTimeout(_TIMED_OUT) from None
        except Exception as error:
            failure = str(error)
            raise
        finally:
            spent = _spent(self._clock.monotonic() - began, evaluated)
            self._count(tenant, spent)
            self._log_query(tenant, path, request.query, spent, failure)

    def _count(self, tenant: str, spent: _Spent) -> None:
        self._seconds.labels(tenant).inc(spent.seconds)
        self._series.labels(tenant).inc(spent.series)
        self._bytes.labels(tenant).inc(spent.bytes)
        self._samples.labels(tenant).inc(spent.samples)

    def _log_query(self, tenant: str, path: str, text: str, spent: _Spent, failure: str) -> None:
        slow_ms = self._config.log_queries_longer_than
        slow = slow_ms < 0 or 0 < slow_ms < spent.seconds * 1000
        if slow or self._config.query_stats_enabled:
            self._log.info(
                "slow query detected" if slow else "query stats",
                user=tenant,
                path=path,
                param_query=text[:_QUERY_LOG_CHARACTERS],
                response_time=f"{spent.seconds:.6f}s",
                fetched_series_count=spent.series,
                fetched_chunk_bytes=spent.bytes,
                samples_processed=spent.samples,
                status="failed" if failure else "success",
                **({"err": failure} if failure else {}),
            )

    # -- schedulers -------------------------------------------------------------------------------------------------

    def _reachable(self) -> int:
        return sum(target.reachable() for target in self._directory.targets())

    async def _keep_connected(self) -> None:
        """To every scheduler, before a query needs it: readiness asks for one that can be reached."""
        while True:
            for target in self._directory.targets():
                if not target.reachable():
                    try:
                        await target.connect()
                    except MimirError as error:
                        self._log.debug("query-scheduler not reached", address=target.address, err=str(error))
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await self._directory.changed()
            except TimeoutError:
                pass


def enabled_for(limits: TenantLimits) -> Enabled:
    return Enabled(
        functions=limits.enabled_promql_experimental_functions,
        range_selectors=limits.enabled_promql_extended_range_selectors,
        fill_modifiers=limits.enabled_promql_binop_fill_modifiers,
    )


def _parsed_long(text: str, bounds: Bounds) -> Expr:
    return _checked(parse_expression(text), text, bounds)


def _checked(expr: Expr, text: str, bounds: Bounds) -> Expr:
    check_result_type(expr, instant=bounds.is_instant)
    resolve_times(expr, bounds, text)
    return expr


def _of_kind(kind: type[T], answer: Answer) -> T:
    """Queriers may be of another version, or broken."""
    if not isinstance(answer, kind):
        raise Internal(f"the querier answered with {type(answer).__name__} where {kind.__name__} was asked for")
    return answer


def _spent(seconds: float, evaluated: Evaluated | None) -> _Spent:
    if evaluated is None:
        return _Spent(seconds, 0, 0, 0)
    return _Spent(seconds, evaluated.series_fetched, evaluated.bytes_fetched, evaluated.result.stats.samples_read)
