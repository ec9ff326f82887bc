"""The engine's view of one tenant's data during one query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mimir_rw._native import LabelFrame, Looks, SampleColumns
from mimir_rw.model.labels import Matcher
from mimir_rw.rpc.contracts.ingester import IngesterReads
from mimir_rw.storage.contract import SelectHints, SeriesSet
from mimir_rw.storage.fetch_limits import FetchLimits


class NoSeries:
    """The empty series set."""

    @property
    def labels(self) -> LabelFrame:
        return LabelFrame.empty_rows(0)

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None) -> SampleColumns:
        return SampleColumns.concat([])

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return 0


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
        self._limits.check(self.series_fetched, self.bytes_fetched, self.bytes_fetched)
