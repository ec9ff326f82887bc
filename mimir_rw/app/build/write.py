"""The write path: ingester and distributor."""

from __future__ import annotations

from mimir_rw.api.ingester_pages import IngesterPages
from mimir_rw.api.push import PushApi
from mimir_rw.app.build.base import Base
from mimir_rw.app.build.cluster import Cluster
from mimir_rw.components.distributor.retry_after import RetryAfter
from mimir_rw.components.distributor.service import DistributorService
from mimir_rw.components.ingester.service import IngesterService
from mimir_rw.kit.service import Service
from mimir_rw.kv.series_key import KEY_BYTES


class Write:
    def __init__(self, base: Base, cluster: Cluster) -> None:
        self._base = base
        self._cluster = cluster
        self._series_key = base.world.secret(KEY_BYTES)
        self.local_ingester: IngesterService

    def ingester(self) -> Service:
        base = self._base
        self.local_ingester = IngesterService(
            config=base.config.ingester,
            tsdb=base.config.blocks_storage.tsdb,
            limits=base.limits,
            instance_limits=lambda: base.runtime.settings.ingester_limits,
            offload=base.offload,
            clock=base.clock,
            metrics=base.metrics,
            discarded_samples=base.discarded_samples,
            series_key=self._series_key,
        )
        base.apis["ingester"] = IngesterPages(ingester=self.local_ingester, root=base.prefixes.root)
        return self.local_ingester

    def distributor(self) -> Service:
        base = self._base
        config = base.config.distributor
        distributor = DistributorService(
            config=config,
            limits=base.limits,
            instance_limits=lambda: base.runtime.settings.distributor_limits,
            ingester=self.local_ingester,
            offload=base.offload,
            clock=base.clock,
            metrics=base.metrics,
            discarded_samples=base.discarded_samples,
            series_key=self._series_key,
        )
        base.apis["distributor"] = push = PushApi(
            distributor=distributor,
            stats=self.local_ingester,
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
