"""The engine's view of one tenant's data during one query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mimir_rw._native import LabelFrame, Looks, SampleColumns
from mimir_rw.model.errors import LimitExceeded
from mimir_rw.model.labels import Matcher
from mimir_rw.rpc.contracts.ingester import IngesterReads
from mimir_rw.storage.contract import SelectHints, SeriesSet


class NoSeries:
    """The empty series set."""

    @property
    def labels(self) -> LabelFrame:
        return LabelFrame.empty_rows(0)

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None) -> SampleColumns:
        return SampleColumns.concat([])

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Of what one query fetches. 0 means no limit."""

    series_max: int = 0
    chunk_bytes_max: int = 0
    memory_bytes_max: int = 0


class TenantQueryable:
    """Reads from ingesters. One per query: it counts what the query fetches against the tenant's limits, as it
    arrives."""

    def __init__(self, *, ingesters: IngesterReads, tenant: str, oldest_ms: int | None, limits: FetchLimits) -> None:
        """oldest_ms: nothing before it is read."""
        self._ingesters = ingesters
        self._tenant = tenant
        self._oldest_ms = oldest_ms
        self._limits = limits
        self.series_fetched = 0
        self.bytes_fetched = 0

    async def select(self, matchers: Sequence[Matcher], hints: SelectHints) -> SeriesSet:
        if self._oldest_ms is not None:
            hints = replace(hints, mint=max(hints.mint, self._oldest_ms))
        if hints.mint > hints.maxt:
            return NoSeries()
        arrived = 0

        def charge(series: int, size: int) -> None:
            nonlocal arrived
            arrived += series
            self._count(series, size)

        found = await self._ingesters.select(self._tenant, matchers, hints, charge)
        self._count(len(found.labels) - arrived, 0)
        return found

    async def label_names(self, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return await self._ingesters.label_names(self._tenant, matchers, mint, maxt)

    async def label_values(self, name: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return await self._ingesters.label_values(self._tenant, name, matchers, mint, maxt)

    def _count(self, series: int, size: int) -> None:
        """Raises LimitExceeded."""
        self.series_fetched += series
        self.bytes_fetched += size
        limits = self._limits
        if 0 < limits.series_max < self.series_fetched:
            raise _exceeded(
                "number of series",
                f"{limits.series_max} series",
                "-querier.max-fetched-series-per-query",
                "max-series-per-query",
            )
        if 0 < limits.chunk_bytes_max < self.bytes_fetched:
            raise _exceeded(
                "aggregated chunks size",
                f"{limits.chunk_bytes_max} bytes",
                "-querier.max-fetched-chunk-bytes-per-query",
                "max-chunks-bytes-per-query",
            )
        if 0 < limits.memory_bytes_max < self.bytes_fetched:
            raise _exceeded(
                "allowed amount of estimated memory consumed by a single query",
                f"{limits.memory_bytes_max} bytes",
                "-querier.max-estimated-memory-consumption-per-query",
                "max-estimated-memory-consumption-per-query",
            )


def _exceeded(what: str, limit: str, flag: str, error_id: str) -> LimitExceeded:
    return LimitExceeded(
        f"the query exceeded the maximum {what} (limit: {limit}); consider reducing the time range and/or number of "
        f"series selected by the query; to change the limit, set {flag} or contact your service administrator",
        error_id=error_id,
    )
