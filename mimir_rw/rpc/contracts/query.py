"""What answers PromQL over the tenant's data, and the requests that travel from query-frontends to queriers.

Answers of `query` and `query_range` are finished JSON bodies (encoded once, from columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mimir_rw._native import LabelFrame
from mimir_rw.model.exemplars import SeriesExemplars
from mimir_rw.model.labels import Matcher
from mimir_rw.rpc.contracts.ingester import MetricMetadata


@dataclass(frozen=True, slots=True)
class InstantQuery:
    """limit: of series, 0 for none. explain: tell what each operator did."""

    query: str
    time_ms: int
    timeout_s: float | None = None
    limit: int = 0
    lookback_ms: int | None = None
    stats: str = ""
    explain: bool = False


@dataclass(frozen=True, slots=True)
class RangeQuery:
    query: str
    start_ms: int
    end_ms: int
    step_ms: int
    timeout_s: float | None = None
    limit: int = 0
    lookback_ms: int | None = None
    stats: str = ""
    explain: bool = False


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """Times of this and the following are int ms, both ends inclusive."""

    matcher_sets: Sequence[Sequence[Matcher]]
    mint: int
    maxt: int


@dataclass(frozen=True, slots=True)
class LabelNamesRequest:
    matcher_sets: Sequence[Sequence[Matcher]]
    mint: int
    maxt: int


@dataclass(frozen=True, slots=True)
class LabelValuesRequest:
    name: str
    matcher_sets: Sequence[Sequence[Matcher]]
    mint: int
    maxt: int


@dataclass(frozen=True, slots=True)
class MetadataRequest:
    """metric: None for all."""

    metric: str | None


@dataclass(frozen=True, slots=True)
class ExemplarsRequest:
    matcher_sets: Sequence[Sequence[Matcher]]
    mint: int
    maxt: int


QueryRequest = (
    InstantQuery
    | RangeQuery
    | SeriesRequest
    | LabelNamesRequest
    | LabelValuesRequest
    | MetadataRequest
    | ExemplarsRequest
)


class QueryService(Protocol):
    async def query(self, tenant: str, request: InstantQuery) -> bytes:
        """The response body, a success envelope. Raises BadRequest (parse error), QueryFailed,
        LimitExceeded, QueryTimeout."""
        ...

    async def query_range(self, tenant: str, request: RangeQuery) -> bytes: ...

    async def series(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> LabelFrame: ...

    async def label_names(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[str]: ...

    async def label_values(
        self, tenant: str, name: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[str]: ...

    async def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]: ...

    async def exemplars(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[SeriesExemplars]: ...
