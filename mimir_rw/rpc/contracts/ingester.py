"""What an ingester offers distributors and queriers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mimir_rw._native import LabelFrame, WriteBatch
from mimir_rw.model.labels import Matcher
from mimir_rw.storage.contract import SelectHints, SeriesSet


@dataclass(frozen=True, slots=True)
class Rejection:
    """Rows or samples of a push refused for one reason."""

    error_id: str
    count: int
    first: str
    """Text about the first refused one, ready for the user, without the id."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """samples_stored counts equal duplicates as stored. The rest of the push is listed by reason."""

    samples_stored: int
    rejections: tuple[Rejection, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    metric: str
    type: str
    help: str
    unit: str


@dataclass(frozen=True, slots=True)
class TenantStats:
    tenant: str
    ingestion_rate: float
    """Samples per second, moving average."""
    series: int


class Ingester(Protocol):
    async def push(self, tenant: str, batch: WriteBatch) -> PushResult:
        """Append the batch; on return every accepted sample is in the WAL file. Raises Unavailable when the tenant's
        WAL cannot be written (nothing of the batch is then acknowledged) or the ingester is not running."""
        ...

    async def select(self, tenant: str, matchers: Sequence[Matcher], hints: SelectHints) -> SeriesSet: ...

    async def series(self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int) -> LabelFrame:
        """Union of the label sets that match any of the sets, sorted."""
        ...

    async def label_names(self, tenant: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]: ...

    async def label_values(
        self, tenant: str, name: str, matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> list[str]: ...

    async def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]: ...

    async def all_user_stats(self) -> list[TenantStats]: ...
