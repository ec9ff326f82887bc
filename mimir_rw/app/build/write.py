"""The write path: ingester and distributor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mimir_rw._native import LocalBlock
from mimir_rw.api.ingester_pages import IngesterPages
from mimir_rw.api.push import PushApi
from mimir_rw.app.build.base import Base
from mimir_rw.app.build.cluster import Cluster
from mimir_rw.app.build.hand_over import RingOthers
from mimir_rw.bucket.shipper import Shipper, ShipperMetrics
from mimir_rw.components.distributor.breaker import CircuitBreaker
from mimir_rw.components.distributor.group_queue import GroupQueue, QueueBounds
from mimir_rw.components.distributor.metrics import DistributorMetrics
from mimir_rw.components.distributor.references import References
from mimir_rw.components.distributor.replication import RingStore
from mimir_rw.components.distributor.retry_after import RetryAfter
from mimir_rw.components.distributor.sender import IngesterSender, LocalSender, Sender
from mimir_rw.components.distributor.senders import Senders
from mimir_rw.components.distributor.service import DistributorService
from mimir_rw.components.distributor.traffic import RingPeers
from mimir_rw.components.distributor.user_stats import StatsPeer, UserStats
from mimir_rw.components.ingester.hand_over.asking import Asking
from mimir_rw.components.ingester.hand_over.core import HandOverCore, HandOverSettings
from mimir_rw.components.ingester.hand_over.service import HandOverService
from mimir_rw.components.ingester.service import IngesterService
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.service import Service, ServiceState
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.desc import InstanceDesc, InstanceState
from mimir_rw.rpc.stubs.hand_over import register_write_planner
from mimir_rw.rpc.stubs.ingester import IngesterClients, register_ingester

_log = get_logger(component="ingester")
_INDEX_AGE_S_MAX = 3600
"""By then every bucket index has been written anew, or queries say that it is too old."""


class Write:
    def __init__(self, base: Base, cluster: Cluster) -> None:
        self._base = base
        self._cluster = cluster
        self.local_ingester: IngesterService
        """Where the process has one."""
        self._local: IngesterService | None = None
        self._hand_over: HandOverService
        self.ingesters = IngesterClients(
            cluster.pool, offload=base.offload, timeout_s=base.config.querier.timeout / 1000
        )

    def ingester(self) -> Service:
        base, cluster = self._base, self._cluster
        self.local_ingester = self._local = ingester = IngesterService(
            config=base.config.ingester,
            tsdb=base.config.blocks_storage.tsdb,
            limits=base.limits,
            instance_limits=lambda: base.runtime.settings.ingester_limits,
            offload=base.offload,
            clock=base.clock,
            metrics=base.metrics,
            discarded_samples=base.discarded_samples,
            discarded_exemplars=base.discarded_exemplars,
            series_key=self._series_key,
            ring=cluster.rings["ingester"],
            instance_id=cluster.ring_identity("ingester").id,
            rng=base.rng,
            open_block=LocalBlock,
            new_shipper=self._shippers(),
            blocks_offload=self._blocks_offload(),
        )
        cluster.flush_ingester = self._flush_at_stop
        cluster.series_key.on_new_key(lambda key: ingester.rekey(key.key))
        register_ingester(cluster.router, ingester, offload=base.offload, key=self._series_key)
        base.apis["ingester"] = IngesterPages(
            ingester=ingester,
            place=lambda: cluster.ingester_lifecycler,
            leaving=lambda: self._hand_over,
            root=base.prefixes.root,
        )
        return ingester

    def hand_over(self) -> Service:
        """How the ingester leaves for good."""
        base, cluster, ingester = self._base, self._cluster, self.local_ingester
        config, me = base.config, cluster.ring_identity("ingester")
        alone = config.ingester.ring.kvstore.store == "inmemory"
        settings = HandOverSettings(
            linger_s=config.querier.timeout / 1000, action_s_max=config.ingester.hand_over_action_timeout / 1000
        )
        others = RingOthers(cluster, clock=base.clock, limits=base.limits)
        self._hand_over = hand_over = HandOverService(
            core=HandOverCore(instance=me.id, settings=settings, alone=alone),
            alone=alone,
            instance_id=me.id,
            zone=me.zone,
            directory=Path(config.blocks_storage.tsdb.dir),
            leaver=ingester,
            place=lambda: cluster.ingester_lifecycler,
            in_ring=lambda: cluster.ingester_lifecycler.wait_state(ServiceState.RUNNING),
            records=cluster.hand_over_records,
            asking=Asking(others=others, instance_id=me.id, clock=base.clock),
            ring=cluster.rings["ingester"].view,
            needed_s=self._asked_of_the_store_after_s,
            clock=base.clock,
            offload=base.offload,
            metrics=base.metrics,
        )
        cluster.ingester_departs = lambda: hand_over.depart(for_good=ingester.shutdown_prepared)
        cluster.ingester_read_only_first = lambda: hand_over.unfinished
        return hand_over

    def _asked_of_the_store_after_s(self, tenant: str) -> int:
        """How old a tenant's samples are when every query asks the store for them, and has an index that has them."""
        limits, querier = self._base.limits.for_tenant(tenant), self._base.config.querier
        return max(limits.query_ingesters_within, querier.query_store_after) // 1000 + _INDEX_AGE_S_MAX

    def _shippers(self) -> Callable[[str, Path], Shipper]:
        base = self._base
        metrics, bucket = ShipperMetrics(base.metrics), base.buckets.blocks("ingester")
        return lambda tenant, directory: Shipper(
            bucket=bucket,
            tenant=tenant,
            directory=directory,
            offload=base.offload,
            clock=base.clock,
            metrics=metrics,
        )

    def _blocks_offload(self) -> Offload | None:
        """Cutting blocks takes long: pushes must not wait for its threads."""
        new = self._base.world.new_offload
        return new and new("blocks", self._base.config.blocks_storage.tsdb.head_compaction_concurrency)

    async def _flush_at_stop(self) -> None:
        """An ingester that could not bring everything to the bucket stays in the ring: what is left is here."""
        ingester, place = self.local_ingester, self._cluster.ingester_lifecycler
        if ingester.shutdown_prepared:
            place.unregister_on_shutdown = True
        try:
            await ingester.flush_at_stop()
        except Unavailable as error:
            _log.error("the ingester stays in the ring", err=str(error))
            place.unregister_on_shutdown = False

    def distributor(self) -> Service:
        base = self._base
        config = base.config.distributor
        metrics = DistributorMetrics(
            metrics=base.metrics,
            discarded_samples=base.discarded_samples,
            discarded_exemplars=base.discarded_exemplars,
        )
        distributor = DistributorService(
            config=config,
            limits=base.limits,
            instance_limits=lambda: base.runtime.settings.distributor_limits,
            store=self._ring_store(metrics),
            peers=self._peers(),
            offload=base.offload,
            clock=base.clock,
            metrics=metrics,
            series_key=self._series_key,
        )
        register_write_planner(self._cluster.router, distributor)
        base.apis["distributor"] = push = PushApi(
            distributor=distributor,
            stats=UserStats(view=self._cluster.rings["ingester"].view, peer=self._stats_peer, clock=base.clock),
            limits=base.limits,
            body_bytes_max=config.max_recv_msg_size,
            bodies_bytes_max=config.max_receiving_bytes,
            retry_after_s=RetryAfter(config=config.retry_after_header, rng=base.rng),
            root=base.prefixes.root,
        )
        base.metrics.gauges_read(
            "mimir_rw_distributor_push_body_bytes",
            "Bytes of push bodies, as sent, that are in memory.",
            (),
            lambda: [((), push.bodies.held)],
        )
        return distributor

    def _ring_store(self, metrics: DistributorMetrics) -> RingStore:
        base, cluster = self._base, self._cluster

        def senders(tasks: TaskSupervisor) -> Senders:
            return Senders(make=lambda instance: self._sender(instance, tasks, metrics))

        local = self._local
        return RingStore(
            ring=cluster.rings["ingester"],
            senders=senders,
            local=None if local is None else (cluster.ring_identity("ingester").id, local),
            clock=base.clock,
            timeout_s=base.config.distributor.remote_timeout / 1000,
        )

    def _sender(self, instance: InstanceDesc, tasks: TaskSupervisor, metrics: DistributorMetrics) -> Sender:
        """The way to one ingester."""
        base, config = self._base, self._base.config.distributor
        if self._local is not None and instance.id == self._cluster.ring_identity("ingester").id:
            return LocalSender(ingester=self._local, tasks=tasks)
        breaker = base.config.ingester_client.circuit_breaker
        return IngesterSender(
            instance_id=instance.id,
            peer=self.ingesters.peer(instance.addr),
            queue=GroupQueue(
                QueueBounds(bytes_max=config.ingester_queue_bytes_max, rows_max=config.ingester_queue_series_max)
            ),
            breaker=CircuitBreaker(
                failures_max=breaker.failure_threshold if breaker.enabled else 0,
                cooldown_s=breaker.cooldown_period / 1000,
            ),
            references=References(entries_max=config.series_references_max, tenants_max=config.tenants_max)
            if config.series_references_max
            else None,
            timeout_s=config.remote_timeout / 1000,
            clock=base.clock,
            rng=base.rng,
            offload=base.offload,
            tasks=tasks,
            metrics=metrics.sender(instance.id),
        )

    def _peers(self) -> RingPeers:
        """The other distributors; the entry of this one is made after it."""
        cluster = self._cluster

        async def announce(state: InstanceState) -> None:
            lifecycler = cluster.lifecyclers["distributor"]
            if lifecycler.state is ServiceState.RUNNING:
                await lifecycler.change_state(state)

        return RingPeers(
            view=cluster.rings["distributor"].view,
            instance_id=cluster.ring_identity("distributor").id,
            announce=announce,
            clock=self._base.clock,
        )

    def _stats_peer(self, instance: InstanceDesc) -> StatsPeer:
        if self._local is not None and instance.id == self._cluster.ring_identity("ingester").id:
            return self._local
        return self.ingesters.peer(instance.addr)

    def _series_key(self) -> bytes:
        return self._cluster.series_key.current().key
