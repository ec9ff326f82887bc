"""The querier's answer to an ingester that leaves: `rpc.contracts.hand_over.RecordFollower`.

Queries take their ranges from the same records when they begin, so what is confirmed here holds for every query that
begins after the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mimir_rw.kv.hand_over import HandOver, HandOvers, Phase
from mimir_rw.model.errors import MimirError
from mimir_rw.rpc.contracts.hand_over import RecordKnown

BEHIND_MAX = 8
"""Tenants named in an answer."""


class Indexes(Protocol):
    """The bucket indexes that queries go by."""

    async def bring_to(self, tenant: str, version: int) -> None:
        """Have an index of the tenant of that version or a newer one, if there is any in memory; an index that is not
        is read when a query needs it, and then is new. Raises what keeps it from that."""
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
        behind: list[str] = []
        if self._indexes is None:
            return ()
        for range_ in record.ranges:
            try:
                await self._indexes.bring_to(range_.tenant, range_.index_version)
            except MimirError:
                behind.append(range_.tenant)
                if len(behind) == BEHIND_MAX:
                    break
        return tuple(behind)
