"""What tenants send, over all ingesters of the ring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from mimir_rw.kit.clock import Clock
from mimir_rw.model.errors import MimirError
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.operations import READ
from mimir_rw.ring.view import RingView
from mimir_rw.rpc.contracts.ingester import TenantStats


class StatsPeer(Protocol):
    async def all_user_stats(self) -> list[TenantStats]: ...


class UserStats:
    def __init__(
        self, *, view: Callable[[], RingView], peer: Callable[[InstanceDesc], StatsPeer], clock: Clock
    ) -> None:
        self._view = view
        self._peer = peer
        self._clock = clock

    async def all_user_stats(self) -> list[TenantStats]:
        """By tenant: what the ingesters that answer hold and take, each series and sample counted once. An ingester
        that does not answer makes the numbers smaller. Raises Unavailable when too many are unhealthy."""
        view = self._view()
        asked = view.query_set(READ, now_s=self._clock.now_ms() // 1000).instances
        answers = await asyncio.gather(*(self._ask(instance) for instance in asked))
        copies = view.settings.replication_factor
        total: dict[str, tuple[float, int]] = {}
        for stats in (each for answer in answers for each in answer):
            rate, series = total.get(stats.tenant, (0.0, 0))
            total[stats.tenant] = rate + stats.ingestion_rate, series + stats.series
        return [TenantStats(name, rate / copies, series // copies) for name, (rate, series) in sorted(total.items())]

    async def _ask(self, instance: InstanceDesc) -> list[TenantStats]:
        try:
            return await self._peer(instance).all_user_stats()
        except MimirError:
            return []
