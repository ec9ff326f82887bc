"""The engine's view of one tenant's data during one query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mimir_rw._native import LabelFrame, SampleColumns
from mimir_rw.model.errors import LimitExceeded
from mimir_rw.model.labels import Matcher
from mimir_rw.rpc.contracts.ingester import Ingester
from mimir_rw.storage.contract import SelectHints, SeriesSet


class NoSeries:
    """The empty series set."""

    @property
    def labels(self) -> LabelFrame:
        return LabelFrame.empty_rows(0)

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int) -> SampleColumns:
        return SampleColumns.concat([])

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return 0


class TenantQueryable:
    """Reads from ingesters. One per query: it counts what the query fetched against the tenant's limits."""

    def __init__(self, *, ingester: Ingester, tenant: str, oldest_ms: int | None, series_max: int) -> None:
        """oldest_ms: nothing before it is read; series_max: 0 means no limit."""
        self._ingester = ingester
        self._tenant = tenant
        self._oldest_ms = oldest_ms
        self._series_max = series_max
        self.series_fetched = 0

    async def select(self, matchers: Sequence[Matcher], hints: SelectHints) -> SeriesSet:
        if self._oldest_ms is not None:
            hints = replace(hints, mint=max(hints.mint, self._oldest_ms))
        if hints.mint > hints.maxt:
            return NoSeries()
        found = await self._ingester.select(self._tenant, matchers, hints)
        self.series_fetched += len(found.labels)
        if 0 < self._series_max < self.series_fetched:
            raise LimitExceeded(
                f"the query exceeded the maximum number of series (limit: {self._series_max} series); consider "
                "reducing the time range and/or number of series selected by the query; to change the limit, set "
                "-querier.max-fetched-series-per-query or contact your service administrator",
                error_id="max-series-per-query",
            )
        return found

    async def label_names(self, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return await self._ingester.label_names(self._tenant, matchers, mint, maxt)

    async def label_values(self, name: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return await self._ingester.label_values(self._tenant, name, matchers, mint, maxt)
