"""The querier's answer to an ingester that leaves: `rpc.contracts.hand_over.RecordFollower`.

Queries take their ranges from the same records when they begin, so what is confirmed here holds for every query that
begins after the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.kv.hand_over import HandOver, HandOvers, Phase
from mimir_rw.model.errors import MimirError
from mimir_rw.rpc.contracts.hand_over import RecordKnown

BEHIND_MAX = 8
"""Tenants named in an answer."""


class Indexes(Protocol):
    """The bucket indexes that queries go by."""

    def loaded(self) -> Mapping[str, BucketIndex]:
        """Those in memory, by tenant. One that is not is read when a query needs it, and then is new."""
        ...

    async def at_least(self, tenant: str, version: int) -> BucketIndex:
        """One of that version or newer if there is one, else what there is. Raises what keeps it from being read."""
        ...


class RecordConfirmer:
    def __init__(self, *, records: Callable[[], HandOvers], indexes: Indexes | None) -> None:
        """indexes: None in a process that asks no store."""
        self._records = records
        self._indexes = indexes

    async def confirm_record(self, name: str, updated_ms: int) -> RecordKnown:
        """See `RecordFollower`."""
        record = self._records().get(name)
        if record is None or record.updated_ms < updated_ms or record.phase is not Phase.SERVING:
            return RecordKnown(known=False)
        return RecordKnown(known=True, behind=await self._behind(record))

    async def _behind(self, record: HandOver) -> tuple[str, ...]:
        """Tenants whose index in memory is older than the record asks for, and cannot be read anew."""
        if self._indexes is None:
            return ()
        behind: list[str] = []
        loaded = self._indexes.loaded()
        for range_ in record.ranges:
            known = loaded.get(range_.tenant)
            if known is None or known.updated_at_s >= range_.index_version:
                continue
            if not await self._newer(self._indexes, range_.tenant, range_.index_version):
                behind.append(range_.tenant)
                if len(behind) == BEHIND_MAX:
                    break
        return tuple(behind)

    async def _newer(self, indexes: Indexes, tenant: str, version: int) -> bool:
        try:
            return (await indexes.at_least(tenant, version)).updated_at_s >= version
        except MimirError:
            return False
