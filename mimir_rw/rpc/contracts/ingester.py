"""What an ingester offers distributors and queriers, in process and across `rpc/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import LabelFrame, WriteBatch
from mimir_rw.model.errors import MimirError
from mimir_rw.model.exemplars import SeriesExemplars
from mimir_rw.model.labels import Matcher
from mimir_rw.storage.contract import SelectHints, SeriesSet

U32Column = NDArray[np.uint32]
NO_ROWS: U32Column = np.zeros(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Rows or samples of a push refused for one reason."""

    error_id: str
    count: int
    first: str
    """Text about the first refused one, ready for the user, without the id."""
    rows: U32Column = field(default_factory=lambda: NO_ROWS, compare=False)
    """Rows of the batch that had a sample refused for it, ascending; empty for metadata."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """samples_stored counts equal duplicates as stored. The rest of the push is listed by reason."""

    samples_stored: int
    rejections: tuple[Rejection, ...] = field(default=())
    unresolved: U32Column = field(default_factory=lambda: NO_ROWS, compare=False)
    """Rows that came without labels and whose series this ingester does not hold: nothing of them is stored, they are
    neither stored nor refused until they come again with labels."""
    exemplars_refused: int = 0
    """They are no rejections: a push does not fail for them."""


@dataclass(frozen=True, slots=True)
class PushPart:
    """One tenant's rows for one ingester; rows may lack labels (`WriteBatch.has_labels`). A batch knows the key that it
    is hashed with: under another one than the ingester's, rows without labels are unresolved, the others stored."""

    tenant: str
    batch: WriteBatch


@dataclass(frozen=True, slots=True)
class EncodedPart:
    """A `PushPart` as it travels; several ingesters may be sent the same bytes. payload: of `WriteBatch.encode`, which
    says what key the rows without labels are hashed with. references: whether there are such rows; extended: whether
    any has histograms, exemplars or start timestamps. Neither is sent to a peer that turns out not to take it."""

    tenant: str
    payload: bytes
    references: bool = False
    extended: bool = False


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


Charge = Callable[[int, int], None]
"""Told of (series, bytes) as they arrive; raises LimitExceeded to end a select."""


class IngesterReads(Protocol):
    """What queriers ask: of one ingester, or of a quorum of them as if it were one."""

    async def select(
        self, tenant: str, matchers: Sequence[Matcher], hints: SelectHints, charge: Charge | None = None
    ) -> SeriesSet: ...

    async def series(self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int) -> LabelFrame:
        """Union of the label sets that match any of the sets, sorted."""
        ...

    async def label_names(self, tenant: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]: ...

    async def label_values(
        self, tenant: str, name: str, matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> list[str]: ...

    async def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]: ...

    async def exemplars(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[SeriesExemplars]:
        """The exemplars with mint <= ts <= maxt of the series that match every matcher of any of the sets; in order of
        the series' labels. Series without any are left out."""
        ...


class Ingester(IngesterReads, Protocol):
    async def push(self, tenant: str, batch: WriteBatch) -> PushResult:
        """Append the batch; on return every accepted sample is in the WAL file. Raises Unavailable when the tenant's
        WAL cannot be written (nothing of the batch is then acknowledged) or the ingester is not running."""
        ...

    async def push_group(self, parts: Sequence[PushPart]) -> list[PushResult | MimirError]:
        """Several pushes in one message, one WAL write for each tenant among them; an outcome for each, in order. One
        part's failure is its own. Parts of one tenant are appended in order. An ingester that takes none, as it is
        starting or leaving, answers with that for each: it is there, and no breaker need keep others from it."""
        ...

    async def all_user_stats(self) -> list[TenantStats]: ...

    async def only_here(self) -> dict[str, int]:
        """By tenant: the oldest time (ms) of which this ingester may have a sample that no block in the bucket has.
        Tenants without such samples are left out."""
        ...


class IngesterPeer(Protocol):
    """What a distributor sees of an ingester in another process, beside what `rpc.transport.RpcPeer` says of it."""

    @property
    def healthy(self) -> bool: ...

    @property
    def epoch(self) -> str: ...

    @property
    def references(self) -> bool:
        """Whether rows without labels may be sent on the present connection."""
        ...

    @property
    def extended(self) -> bool:
        """Whether rows with histograms, exemplars or start timestamps may be; true also while there is no connection,
        since a push is what makes one."""
        ...

    async def push_encoded(self, parts: Sequence[EncodedPart], *, timeout_s: float) -> list[PushResult | MimirError]:
        """`Ingester.push_group` on the other side. Row numbers in the results count the rows of each payload. Raises
        Unavailable when there is no answer in time or no connection, and then the parts may have been stored."""
        ...
