"""Carries out one request of a query-frontend: limits of the tenant, engine, ingesters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import numpy as np

from mimir_rw._native import LabelFrame
from mimir_rw.components.querier.core import check_partial_range, metadata_range, oldest_allowed_ms
from mimir_rw.components.querier.queryable import TenantQueryable
from mimir_rw.config.limits import Limits
from mimir_rw.kit.clock import Clock
from mimir_rw.model.errors import QueryTimeout
from mimir_rw.model.exemplars import SeriesExemplars
from mimir_rw.model.labels import Matcher
from mimir_rw.promql.engine import Engine, QueryLimits
from mimir_rw.promql.result_codec import Answer, Evaluated
from mimir_rw.rpc.contracts.ingester import IngesterReads
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
from mimir_rw.storage.fetch_limits import FetchLimits

_TIMED_OUT = "query timed out in query execution"


class QueryExecutor:
    def __init__(
        self,
        *,
        limits: Limits,
        ingesters: IngesterReads,
        engine: Engine,
        clock: Clock,
        warning: Callable[[str, int], str | None] = lambda tenant, mint: None,
    ) -> None:
        """warning: what is to be said of answers for a tenant about samples from a time on."""
        self._limits = limits
        self._ingesters = ingesters
        self._engine = engine
        self._clock = clock
        self._warning = warning

    async def execute(self, tenant: str, request: QueryRequest, timeout_s: float) -> Answer:
        """Raises what the query deserves; QueryTimeout after timeout_s."""
        if isinstance(request, InstantQuery | RangeQuery):
            return await self._evaluate(tenant, request, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                match request:
                    case SeriesRequest():
                        return await self._series(tenant, request)
                    case LabelNamesRequest() | LabelValuesRequest():
                        return await self._labels(tenant, request)
                    case MetadataRequest():
                        return await self._ingesters.metadata(tenant, request.metric)
                    case ExemplarsRequest():
                        return await self._exemplars(tenant, request)
        except TimeoutError:
            raise QueryTimeout(_TIMED_OUT) from None

    async def _evaluate(self, tenant: str, request: InstantQuery | RangeQuery, timeout_s: float) -> Evaluated:
        limits = self._limits.for_tenant(tenant)
        memory_bytes_max = limits.max_estimated_memory_consumption_per_query
        queryable = TenantQueryable(
            ingesters=self._ingesters,
            tenant=tenant,
            oldest_ms=oldest_allowed_ms(self._clock.now_ms(), limits),
            limits=FetchLimits(
                series_max=limits.max_fetched_series_per_query,
                chunk_bytes_max=limits.max_fetched_chunk_bytes_per_query,
                memory_bytes_max=memory_bytes_max,
            ),
        )
        bounds = QueryLimits(
            timeout_s=timeout_s,
            lookback_ms=request.lookback_ms,
            memory_bytes_max=memory_bytes_max,
            explain=request.explain,
            count_samples=request.stats != "",
            delayed_name_removal=limits.enable_delayed_name_removal,
            type_labels=limits.type_and_unit_labels_enabled,
        )
        if isinstance(request, InstantQuery):
            start = request.time_ms
            result = await self._engine.instant(queryable, request.query, request.time_ms, limits=bounds)
        else:
            start, end, step = request.start_ms, request.end_ms, request.step_ms
            check_partial_range(start, end, limits)
            result = await self._engine.range(queryable, request.query, start, end, step, limits=bounds)
        if (warning := self._warning(tenant, start)) is not None:
            result = replace(result, warnings=(*result.warnings, warning))
        return Evaluated(result, queryable.series_fetched, queryable.bytes_fetched)

    async def _series(self, tenant: str, request: SeriesRequest) -> LabelFrame:
        mint, maxt = self._range(tenant, request)
        frame = await self._ingesters.series(tenant, request.matcher_sets, mint, maxt)
        most = self._limits.for_tenant(tenant).max_series_query_limit
        return frame.take(np.arange(most, dtype=np.int64)) if 0 < most < len(frame) else frame

    async def _exemplars(self, tenant: str, request: ExemplarsRequest) -> list[SeriesExemplars]:
        oldest = oldest_allowed_ms(self._clock.now_ms(), self._limits.for_tenant(tenant))
        mint = request.mint if oldest is None else max(request.mint, oldest)
        return await self._ingesters.exemplars(tenant, request.matcher_sets, mint, request.maxt)

    async def _labels(self, tenant: str, request: LabelNamesRequest | LabelValuesRequest) -> list[str]:
        mint, maxt = self._range(tenant, request)
        ingesters = self._ingesters
        if isinstance(request, LabelNamesRequest):
            return await _union(request.matcher_sets, lambda m: ingesters.label_names(tenant, m, mint, maxt))
        name = request.name
        return await _union(request.matcher_sets, lambda m: ingesters.label_values(tenant, name, m, mint, maxt))

    def _range(self, tenant: str, request: SeriesRequest | LabelNamesRequest | LabelValuesRequest) -> tuple[int, int]:
        return metadata_range(request.mint, request.maxt, self._clock.now_ms(), self._limits.for_tenant(tenant))


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
