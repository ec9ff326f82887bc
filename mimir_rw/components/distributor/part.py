"""A push on its way to several ingesters: the batch, and one job for each ingester."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mimir_rw._native import SentSeries, WriteBatch
from mimir_rw.kit.trace import current_trace
from mimir_rw.model.errors import MimirError
from mimir_rw.rpc.contracts.ingester import NO_ROWS, EncodedPart, PushPart, PushResult, U32Column

PartOutcome = PushResult | MimirError


@dataclass(frozen=True, slots=True)
class Share:
    """What of a batch one ingester is to store. rows: ascending; None for all. Ingesters that are to store the same
    have the same object."""

    rows: U32Column | None = None
    metadata: bool = True


class PushSource:
    """A tenant's batch with its encodings: those that several ingesters are sent are made once.

    Encodings may be made in any thread; two threads that make the same one at once do no harm.
    """

    __slots__ = ("_bare", "_full", "batch", "key", "tenant")

    def __init__(self, *, tenant: str, batch: WriteBatch, key: bytes) -> None:
        """key: the series key that the batch is hashed with."""
        self.tenant = tenant
        self.batch = batch
        self.key = key
        # By the identity of the share, which the jobs keep alive.
        self._full: dict[int, bytes] = {}
        self._bare: dict[int, bytes] = {}

    def full(self, share: Share) -> bytes:
        """The share on the wire, each row with its labels."""
        made = self._full.get(id(share))
        if made is None:
            made = self._full[id(share)] = self.batch.encode(share.rows, metadata=share.metadata)
        return made

    def lean(self, share: Share, sent: SentSeries) -> tuple[bytes, U32Column]:
        """The share without the labels of the series that `sent` has, and which rows have labels."""
        labelled = sent.missing(self.batch, share.rows)
        if len(labelled) == (self.batch.series_count if share.rows is None else len(share.rows)):
            return self.full(share), labelled
        if len(labelled):
            return self.batch.encode(share.rows, labelled=labelled, metadata=share.metadata), labelled
        made = self._bare.get(id(share))
        if made is None:
            made = self._bare[id(share)] = self.batch.encode(share.rows, labelled=NO_ROWS, metadata=share.metadata)
        return made, labelled


class PartJob:
    """The share of a push that one ingester is to store."""

    __slots__ = ("_finished", "_share", "deadline_s", "ended", "rows", "size", "source", "trace_id")

    def __init__(
        self,
        source: PushSource,
        share: Share,
        *,
        deadline_s: float,
        finished: Callable[[PartOutcome], None],
    ) -> None:
        """deadline_s: on the monotonic clock, when waiting makes no more sense. finished: told the outcome, with row
        numbers of the whole batch."""
        batch = source.batch
        self.source = source
        self._share = share
        self.rows = batch.series_count if share.rows is None else len(share.rows)
        self.size = batch.byte_size if share.rows is None else batch.byte_size * self.rows // max(batch.series_count, 1)
        self.deadline_s = deadline_s
        self.ended = False
        self.trace_id = current_trace()
        self._finished = finished

    @property
    def tenant(self) -> str:
        return self.source.tenant

    @property
    def key(self) -> bytes:
        return self.source.key

    @property
    def extended(self) -> bool:
        """Whether the batch has what an ingester of an older release does not take; the part itself may have none."""
        return self.source.batch.extended

    def encode(self, sent: SentSeries | None) -> tuple[EncodedPart, U32Column]:
        """The part on the wire, and which rows of the batch `sent` may learn from it; None sends all labels."""
        if sent is None:
            return EncodedPart(self.tenant, self.source.full(self._share), extended=self.extended), NO_ROWS
        payload, labelled = self.source.lean(self._share, sent)
        references = len(labelled) < self.rows
        return EncodedPart(self.tenant, payload, references=references, extended=self.extended), labelled

    def labelled(self, rows: U32Column) -> EncodedPart:
        """Some rows (of the batch) with their labels."""
        return EncodedPart(self.tenant, self.source.batch.encode(rows), extended=self.extended)

    def local(self) -> PushPart:
        """For an ingester in this process."""
        batch, share = self.source.batch, self._share
        whole = share.rows is None and (share.metadata or not batch.metadata_count)
        rows = np.arange(batch.series_count, dtype=np.uint32) if share.rows is None else share.rows
        return PushPart(self.tenant, batch if whole else batch.take(rows, metadata=share.metadata))

    def whole_rows(self, part_rows: U32Column) -> U32Column:
        """Row numbers of the batch for those of this part."""
        return part_rows if self._share.rows is None else self._share.rows[part_rows]

    def finish(self, outcome: PartOutcome) -> None:
        """outcome: with row numbers of this part. Only the first call counts."""
        if self.ended:
            return
        self.ended = True
        if isinstance(outcome, PushResult) and self._share.rows is not None and outcome.rejections:
            moved = tuple(replace(r, rows=self.whole_rows(r.rows)) for r in outcome.rejections)
            outcome = replace(outcome, rejections=moved)
        self._finished(outcome)


def with_resent(first: PushResult, second: PushResult) -> PushResult:
    """The outcome of a part whose unresolved rows were sent again. second: of those rows alone."""
    moved = tuple(replace(r, rows=first.unresolved[r.rows]) for r in second.rejections)
    return PushResult(
        first.samples_stored + second.samples_stored,
        first.rejections + moved,
        exemplars_refused=first.exemplars_refused + second.exemplars_refused,
    )
