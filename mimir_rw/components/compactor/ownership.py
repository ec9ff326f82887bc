"""Which work is this compactor's, by the ring."""

from __future__ import annotations

from collections.abc import Callable

from mimir_rw.components.compactor.jobs import CompactionJob
from mimir_rw.ring.operations import COMPACTOR
from mimir_rw.ring.owner import compactor_of
from mimir_rw.ring.service import RingService


class Ownership:
    """Nothing is this compactor's before it is in the ring, and nothing of what it has lost. For a moment two may think
    of something as theirs, or nobody: `runner` and `planner` say why that does no harm."""

    def __init__(self, *, ring: RingService, instance_id: str, shard_size: Callable[[str], int]) -> None:
        """shard_size: how many compactors work for a tenant; 0 for all."""
        self._ring = ring
        self._id = instance_id
        self._shard_size = shard_size

    def in_ring(self) -> bool:
        return self._ring.view().healthy(self._id, COMPACTOR, now_s=self._ring.now_s())

    def shares(self, tenant: str) -> bool:
        """Whether this is one of those that work for the tenant."""
        view, size = self._ring.view(), self._shard_size(tenant)
        shard = view.shuffle_shard(tenant, size) if size else view
        return self._id in shard and shard.healthy(self._id, COMPACTOR, now_s=self._ring.now_s())

    def owns_tenant(self, tenant: str) -> bool:
        return self._owns(tenant, "")

    def owns_job(self, job: CompactionJob) -> bool:
        return self._owns(job.tenant, job.key)

    def _owns(self, tenant: str, key: str) -> bool:
        ring = self._ring
        found = compactor_of(ring.view(), tenant, shard_size=self._shard_size(tenant), now_s=ring.now_s(), key=key)
        return found is not None and found.id == self._id
