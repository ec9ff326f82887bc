"""The querier as a running service: `rpc.contracts.query.QueryService` over the engine and the ingesters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mimir_rw._native import LabelFrame
from mimir_rw.components.querier.admission import Admission
from mimir_rw.components.querier.answer import result_json
from mimir_rw.components.querier.core import (
    check_expression_size,
    check_range,
    metadata_range,
    oldest_allowed_ms,
    syntax,
)
from mimir_rw.components.querier.queryable import TenantQueryable
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import FrontendConfig, QuerierConfig
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.service import Service
from mimir_rw.model.errors import QueryTimeout
from mimir_rw.model.labels import Matcher
from mimir_rw.promql.engine import Engine, QueryLimits
from mimir_rw.promql.result import Result
from mimir_rw.rpc.contracts.ingester import Ingester, MetricMetadata
from mimir_rw.rpc.contracts.query import InstantQuery, RangeQuery

_QUERY_LOG_CHARACTERS = 2048
_TIMED_OUT = "query timed out in query execution"


@dataclass(frozen=True, slots=True)
class _Run:
    """One query on its way."""

    tenant: str
    path: str
    text: str
    limit: int
    stats: str
    timeout_s: float
    queryable: TenantQueryable
    limits: QueryLimits


class QuerierService(Service):
    def __init__(
        self,
        *,
        config: QuerierConfig,
        frontend: FrontendConfig,
        limits: Limits,
        ingester: Ingester,
        engine: Engine,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        super().__init__("querier")
        self._config = config
        self._frontend = frontend
        self._limits = limits
        self._ingester = ingester
        self._engine = engine
        self._offload = offload
        self._clock = clock
        self._admission = Admission(running_max=config.max_concurrent)
        self._log = get_logger(component="query-frontend")
        user = ("user",)
        self._seconds = metrics.counters("cortex_query_seconds_total", "Wall time spent on queries.", user)
        self._series = metrics.counters("cortex_query_fetched_series_total", "Series that queries selected.", user)
        self._samples = metrics.counters("cortex_query_samples_processed_total", "Samples that queries decoded.", user)
        self._queries = metrics.counters("cortex_query_frontend_queries_total", "Queries by their user.", user)
        metrics.gauges_read(
            "cortex_querier_running_queries", "Queries being evaluated.", (), lambda: [((), self._admission.running)]
        )
        metrics.gauges_read(
            "cortex_querier_waiting_queries", "Queries waiting to run.", (), lambda: [((), self._admission.waiting)]
        )

    async def query(self, tenant: str, request: InstantQuery) -> bytes:
        run = self._prepare(tenant, "query", request)
        return await self._answer(
            run,
            lambda: self._engine.instant(run.queryable, request.query, request.time_ms, limits=run.limits),
        )

    async def query_range(self, tenant: str, request: RangeQuery) -> bytes:
        check_range(request.start_ms, request.end_ms, self._limits.for_tenant(tenant))
        run = self._prepare(tenant, "query_range", request)
        start, end, step = request.start_ms, request.end_ms, request.step_ms
        return await self._answer(
            run, lambda: self._engine.range(run.queryable, request.query, start, end, step, limits=run.limits)
        )

    async def series(self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int) -> LabelFrame:
        limits = self._limits.for_tenant(tenant)
        mint, maxt = metadata_range(mint, maxt, self._clock.now_ms(), limits)
        frame = await self._ingester.series(tenant, matcher_sets, mint, maxt)
        if 0 < limits.max_series_query_limit < len(frame):
            return frame.take(np.arange(limits.max_series_query_limit, dtype=np.int64))
        return frame

    async def label_names(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[str]:
        mint, maxt = self._metadata_range(tenant, mint, maxt)
        return await _union(matcher_sets, lambda matchers: self._ingester.label_names(tenant, matchers, mint, maxt))

    async def label_values(
        self, tenant: str, name: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[str]:
        mint, maxt = self._metadata_range(tenant, mint, maxt)
        return await _union(
            matcher_sets, lambda matchers: self._ingester.label_values(tenant, name, matchers, mint, maxt)
        )

    async def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]:
        return await self._ingester.metadata(tenant, metric)

    def _metadata_range(self, tenant: str, mint: int, maxt: int) -> tuple[int, int]:
        return metadata_range(mint, maxt, self._clock.now_ms(), self._limits.for_tenant(tenant))

    def _prepare(self, tenant: str, path: str, request: InstantQuery | RangeQuery) -> _Run:
        limits = self._limits.for_tenant(tenant)
        check_expression_size(request.query, limits)
        longest = self._config.timeout / 1000
        return _Run(
            tenant=tenant,
            path=path,
            text=request.query,
            limit=request.limit,
            stats=request.stats,
            timeout_s=min(request.timeout_s or longest, longest),
            queryable=self._queryable(tenant, limits),
            limits=QueryLimits(
                timeout_s=request.timeout_s,
                lookback_ms=request.lookback_ms,
                memory_bytes_max=limits.max_estimated_memory_consumption_per_query,
                syntax=syntax(limits),
            ),
        )

    def _queryable(self, tenant: str, limits: TenantLimits) -> TenantQueryable:
        return TenantQueryable(
            ingester=self._ingester,
            tenant=tenant,
            oldest_ms=oldest_allowed_ms(self._clock.now_ms(), limits),
            series_max=limits.max_fetched_series_per_query,
        )

    async def _answer(self, run: _Run, evaluate: Callable[[], Awaitable[Result]]) -> bytes:
        """Wait for a slot, evaluate, encode; the timeout counts from the arrival of the query."""
        began = self._clock.monotonic()
        samples = 0
        failure = ""
        self._queries.labels(run.tenant).value += 1
        try:
            async with asyncio.timeout(run.timeout_s), self._admission.slot(run.tenant):
                waited_s = self._clock.monotonic() - began
                result = await evaluate()
                samples = result.stats.samples_read
                return await self._offload.run(result_json, result, run.limit, run.stats, waited_s)
        except TimeoutError:
            failure = _TIMED_OUT
            raise QueryTimeout(_TIMED_OUT) from None
        except Exception as error:
            failure = str(error)
            raise
        finally:
            self._account(run, self._clock.monotonic() - began, samples, failure)

    def _account(self, run: _Run, seconds: float, samples: int, failure: str) -> None:
        self._seconds.labels(run.tenant).value += seconds
        self._series.labels(run.tenant).value += run.queryable.series_fetched
        self._samples.labels(run.tenant).value += samples
        slow_ms = self._frontend.log_queries_longer_than
        slow = slow_ms < 0 or 0 < slow_ms < seconds * 1000
        if slow or self._frontend.query_stats_enabled:
            self._log.info(
                "slow query detected" if slow else "query stats",
                user=run.tenant,
                path=run.path,
                param_query=run.text[:_QUERY_LOG_CHARACTERS],
                response_time=f"{seconds:.6f}s",
                fetched_series_count=run.queryable.series_fetched,
                samples_processed=samples,
                status="failed" if failure else "success",
                **({"err": failure} if failure else {}),
            )


async def _union(
    matcher_sets: Sequence[Sequence[Matcher]], ask: Callable[[Sequence[Matcher]], Awaitable[list[str]]]
) -> list[str]:
    """The sorted union of the answers for each set; without any set, all there is."""
    if len(matcher_sets) <= 1:
        return await ask(matcher_sets[0] if matcher_sets else ())
    found: set[str] = set()
    for matchers in matcher_sets:
        found.update(await ask(matchers))
    return sorted(found)
