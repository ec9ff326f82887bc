"""Whom an ingester that leaves asks, and the ways to them."""

from __future__ import annotations

from mimir_rw.app.build.cluster import Cluster
from mimir_rw.config.limits import Limits
from mimir_rw.kit.clock import Clock
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.owner import compactor_of
from mimir_rw.ring.view import RingView
from mimir_rw.rpc.contracts.hand_over import BlockLoader, IndexWriter, RecordFollower, WritePlanner
from mimir_rw.rpc.stubs.hand_over import (
    BlockLoaderClient,
    IndexWriterClient,
    RecordFollowerClient,
    WritePlannerClient,
)

_ANSWER_S = 10.0
"""For what is known or read at once."""
_INDEX_S = 120.0
"""For an index to be written: the bucket is listed for it."""


class RingOthers:
    """`components.ingester.hand_over.asking.Others`. The others of this very process are called as all are."""

    def __init__(self, cluster: Cluster, *, clock: Clock, limits: Limits) -> None:
        self._cluster = cluster
        self._clock = clock
        self._limits = limits

    def distributors(self) -> RingView:
        return self._cluster.rings["distributor"].view()

    def store_gateways(self) -> RingView:
        return self._cluster.rings["store-gateway"].view()

    def queriers(self) -> RingView:
        return self._cluster.rings["querier"].view()

    def compactor_of(self, tenant: str) -> InstanceDesc:
        view, limits = self._cluster.rings["compactor"].view(), self._limits.for_tenant(tenant)
        owner = compactor_of(
            view, tenant, shard_size=limits.compactor_tenant_shard_size, now_s=self._clock.now_ms() // 1000
        )
        if owner is None:
            raise Unavailable("there is none that works in their ring")
        return owner

    def distributor(self, instance: InstanceDesc) -> WritePlanner:
        return WritePlannerClient(self._cluster.pool.peer(instance.addr), timeout_s=_ANSWER_S)

    def compactor(self, instance: InstanceDesc) -> IndexWriter:
        return IndexWriterClient(self._cluster.pool.peer(instance.addr), timeout_s=_INDEX_S)

    def store_gateway(self, instance: InstanceDesc) -> BlockLoader:
        return BlockLoaderClient(self._cluster.pool.peer(instance.addr), timeout_s=_ANSWER_S)

    def querier(self, instance: InstanceDesc) -> RecordFollower:
        return RecordFollowerClient(self._cluster.pool.peer(instance.addr), timeout_s=_ANSWER_S)
