"""Follows the ring: which part of each tenant's series this ingester is to hold, and which of those it has are its own.

Both change with the ring and with the tenant's shard size. A tenant's limits follow its share (local_limits.py); its
head counts only the series of owned tokens against them. Runs on the event loop; heads are told through their lanes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from mimir_rw.components.ingester.local_limits import ShareHistory, share_of
from mimir_rw.components.ingester.tenant import Tenant
from mimir_rw.config.limits import Limits
from mimir_rw.kit.clock import Clock
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.view import RingView
from mimir_rw.rpc.contracts.ingester import U32Column

LIMIT_KEPT_S = 2 * 3600.0
"""How long a limit that the ring lowered is not: one block range, after which old series have left the head."""
_TENANTS_A_TURN = 50


class RingSource(Protocol):
    """A `ring.service.RingService`, as far as it is used here."""

    def view(self) -> RingView: ...

    def watch(self, watcher: Callable[[RingView], None]) -> Callable[[], None]: ...


class Ownership:
    def __init__(
        self, *, ring: RingSource, instance_id: str, tenants: Mapping[str, Tenant], limits: Limits, clock: Clock,
        interval_s: float,
    ) -> None:  # fmt: skip
        """tenants: all there are, as they come and go. interval_s: between two looks at them while nothing changes."""
        self._ring = ring
        self._id = instance_id
        self._tenants = tenants
        self._limits = limits
        self._clock = clock
        self._interval_s = interval_s
        self._changed = asyncio.Event()
        self._seen: object = None

    def history(self, tenant: str) -> ShareHistory:
        """Of a new tenant, whose head is still to be told."""
        return ShareHistory(self._share(self._shard(tenant)), keep_s=LIMIT_KEPT_S)

    def tell(self, name: str, tenant: Tenant) -> asyncio.Future[None] | None:
        """Bring one tenant up to date: its share at once, its head in the next turn of its lane, which the future waits
        for. None when there is nothing to tell the head. Raises Unavailable when it is closed."""
        shard = self._shard(name)
        tenant.shares.update(self._share(shard), self._clock.monotonic())
        ranges = self._ranges(shard)
        if _same(ranges, tenant.owned_ranges):
            return None
        told = tenant.head.own(ranges)
        tenant.owned_ranges = ranges
        return told

    async def follow(self, name: str, tenant: Tenant) -> None:
        """Bring one tenant up to date."""
        try:
            told = self.tell(name, tenant)
            if told is not None:
                await told
        except Unavailable:
            tenant.owned_ranges = None  # it is closed or cannot be opened

    async def run(self) -> None:
        """Follow the ring for as long as the task lives."""
        unwatch = self._ring.watch(self._look)
        try:
            while True:
                self._changed.clear()
                tenants = list(self._tenants.items())
                for start in range(0, len(tenants), _TENANTS_A_TURN):
                    turn = tenants[start : start + _TENANTS_A_TURN]
                    await asyncio.gather(*(self.follow(name, tenant) for name, tenant in turn))
                try:
                    async with asyncio.timeout(self._interval_s):
                        await self._changed.wait()
                except TimeoutError:
                    pass  # shard sizes may have changed
        finally:
            unwatch()

    def _look(self, view: RingView) -> None:
        """Heartbeats change nothing."""
        if view.topology is not self._seen:
            self._seen = view.topology
            self._changed.set()

    def _shard(self, tenant: str) -> RingView:
        return self._ring.view().shuffle_shard(tenant, self._limits.for_tenant(tenant).ingestion_tenant_shard_size)

    def _share(self, shard: RingView) -> float:
        return share_of(shard, self._id)

    def _ranges(self, shard: RingView) -> U32Column | None:
        """None before this instance is in the ring: all series are its own."""
        if self._id not in self._ring.view():
            return None
        ranges = shard.owned_ranges(self._id)
        return None if len(ranges) == 1 and not ranges.any() else ranges


def _same(a: U32Column | None, b: U32Column | None) -> bool:
    return a is b if a is None or b is None else bool(np.array_equal(a, b))
