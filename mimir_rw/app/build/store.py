"""What reads blocks in the bucket: the store-gateway, and the querier's way to all of them."""

from __future__ import annotations

from pathlib import Path

from mimir_rw.api.store_gateway_pages import StoreGatewayPages
from mimir_rw.app.build.base import Base
from mimir_rw.app.build.cluster import Cluster
from mimir_rw.bucket.index_reader import BucketIndexReader, IndexReaderMetrics, IndexReaderSettings
from mimir_rw.cache.contract import Cache
from mimir_rw.cache.lru import LruCache
from mimir_rw.cache.memcached import MemcachedCache, MemcachedSettings
from mimir_rw.cache.metrics import CacheMetrics
from mimir_rw.cache.tiered import TieredCache
from mimir_rw.components.querier.both_sources import BothSources
from mimir_rw.components.querier.ring_stores import RingStores, StoreReadSettings
from mimir_rw.components.querier.sources import SourceSettings
from mimir_rw.components.querier.unshipped import Unshipped
from mimir_rw.components.store_gateway.block_reader import BlockReader
from mimir_rw.components.store_gateway.catalogue import Catalogue, CatalogueSettings
from mimir_rw.components.store_gateway.gate import Gate
from mimir_rw.components.store_gateway.headers import HeaderSettings, HeaderStore
from mimir_rw.components.store_gateway.place import RingPlace
from mimir_rw.components.store_gateway.range_reader import InFlight, RangeReader, ReadSettings
from mimir_rw.components.store_gateway.select import SelectSettings
from mimir_rw.components.store_gateway.service import StoreGatewayService
from mimir_rw.components.store_gateway.set_aside import SetAside
from mimir_rw.config.bucket_store import MemcachedConfig
from mimir_rw.config.time_chain import shipped_within_ms, stale_ms_max
from mimir_rw.kit.service import Service
from mimir_rw.objstore.contract import Bucket
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.service import RingService
from mimir_rw.ring.watch import on_topology_change
from mimir_rw.rpc.contracts.ingester import IngesterReads
from mimir_rw.rpc.contracts.store_gateway import StoreReads
from mimir_rw.rpc.stubs.hand_over import register_block_loader
from mimir_rw.rpc.stubs.store_gateway import StoreGatewayClients, register_store_gateway

COMPONENT = "store-gateway"
_INDEX_TTL_S = 7 * 24 * 3600.0
_NEAR_TTL_S = 24 * 3600.0


class Store:
    def __init__(self, base: Base, cluster: Cluster) -> None:
        self._base = base
        self._cluster = cluster
        self._config = base.config.blocks_storage.bucket_store
        self._gateway: StoreGatewayService | None = None
        self._index_metrics: IndexReaderMetrics | None = None
        self.querier_indexes: BucketIndexReader
        """Once the querier has been built."""
        self._clients = StoreGatewayClients(
            cluster.pool, offload=base.offload, timeout_s=base.config.querier.timeout / 1000
        )

    def _indexes(self, component: str) -> BucketIndexReader:
        """Those that a component goes by."""
        base, config = self._base, self._config
        if self._index_metrics is None:
            self._index_metrics = IndexReaderMetrics(base.metrics)
        return BucketIndexReader(
            bucket=base.buckets.blocks(component),
            component=component,
            settings=IndexReaderSettings(
                refresh_s=config.sync_interval / 1000,
                retry_s=config.bucket_index.update_on_error_interval / 1000,
                idle_s=config.bucket_index.idle_timeout / 1000,
            ),
            clock=base.clock,
            rng=base.rng,
            metrics=self._index_metrics,
        )

    def gateway(self) -> Service:
        base, cluster, config = self._base, self._cluster, self._config
        bucket, ring = base.buckets.blocks(COMPONENT), cluster.rings[COMPONENT]
        headers, indexes = self._headers(bucket), self._indexes(COMPONENT)
        aside = SetAside(clock=base.clock, metrics=base.metrics)
        gateway = self._gateway = StoreGatewayService(
            place=self._place(ring),
            catalogue=self._catalogue(bucket, indexes, headers, aside, ring),
            indexes=indexes,
            headers=headers,
            reader=self._reader(bucket, headers),
            aside=aside,
            gate=Gate(
                most=config.max_concurrent,
                wait_s=config.max_concurrent_queue_timeout / 1000,
                clock=base.clock,
                metrics=base.metrics,
            ),
            limits=base.limits,
            settings=SelectSettings(series_batch=config.streaming_series_batch_size),
            directory=Path(config.sync_dir),
            sync_s=config.sync_interval / 1000,
            on_ring_change=lambda changed: on_topology_change(ring, changed),
            offload=base.offload,
            clock=base.clock,
            rng=base.rng,
            metrics=base.metrics,
        )
        register_store_gateway(cluster.router, gateway, offload=base.offload)
        register_block_loader(cluster.router, gateway)
        base.apis[COMPONENT] = StoreGatewayPages(gateway=gateway, root=base.prefixes.root)
        return gateway

    def both(self, ingesters: IngesterReads, unshipped: Unshipped) -> BothSources:
        """Ingesters, and the store for what is older."""
        base, cluster, config = self._base, self._cluster, self._base.config
        self.querier_indexes = self._indexes("querier")
        stores = RingStores(
            view=cluster.rings[COMPONENT].view,
            client=self._client,
            settings=StoreReadSettings(zone=config.querier.prefer_availability_zone),
            limits=base.limits,
            offload=base.offload,
            clock=base.clock,
            metrics=base.metrics,
        )
        return BothSources(
            ingesters=ingesters,
            stores=stores,
            indexes=self.querier_indexes,
            settings=SourceSettings(
                store_after_ms=config.querier.query_store_after,
                shipped_within_ms=shipped_within_ms(config),
                stale_ms=self._config.bucket_index.max_stale_period,
                stale_ms_max=stale_ms_max(config),
                ignore_marks_after_ms=self._config.ignore_deletion_mark_while_querying_delay,
            ),
            unshipped_from_ms=unshipped.oldest_ms,
            handed_over=lambda tenant: cluster.hand_over_records.current().served(tenant, base.clock.now_ms() // 1000),
            limits=base.limits,
            offload=base.offload,
            clock=base.clock,
            metrics=base.metrics,
        )

    def _client(self, instance: InstanceDesc) -> StoreReads:
        if self._gateway is not None and instance.id == self._cluster.ring_identity(COMPONENT).id:
            return self._gateway
        return self._clients.peer(instance.addr)

    def _place(self, ring: RingService) -> RingPlace:
        config = self._base.config.store_gateway.sharding_ring
        return RingPlace(
            lifecycler=lambda: self._cluster.lifecyclers[COMPONENT],
            view=ring.view,
            stable_s=config.wait_stability_min_duration / 1000,
            stable_wait_s=config.wait_stability_max_duration / 1000,
            unregisters_by_default=config.unregister_on_shutdown,
            clock=self._base.clock,
        )

    def _headers(self, bucket: Bucket) -> HeaderStore:
        base, config = self._base, self._config.index_header
        return HeaderStore(
            settings=HeaderSettings(
                directory=Path(self._config.sync_dir),
                idle_s=config.lazy_loading_idle_timeout / 1000,
                opens_max=config.lazy_loading_concurrency,
                open_wait_s=config.lazy_loading_concurrency_queue_timeout / 1000,
            ),
            bucket=bucket,
            offload=base.offload,
            clock=base.clock,
            metrics=base.metrics,
        )

    def _catalogue(
        self, bucket: Bucket, indexes: BucketIndexReader, headers: HeaderStore, aside: SetAside, ring: RingService
    ) -> Catalogue:
        base, cluster, config = self._base, self._cluster, self._config
        return Catalogue(
            settings=CatalogueSettings(
                instance_id=cluster.ring_identity(COMPONENT).id,
                tenants_at_once=config.tenant_sync_concurrency,
                headers_at_once=config.block_sync_concurrency,
                ignore_within_ms=config.ignore_blocks_within,
                ignore_marks_after_ms=config.ignore_deletion_mark_delay,
            ),
            bucket=bucket,
            indexes=indexes,
            headers=headers,
            aside=aside,
            view=ring.view,
            handed_over=lambda tenant: cluster.hand_over_records.current().loaded(tenant, base.clock.now_ms() // 1000),
            limits=base.limits,
            clock=base.clock,
            metrics=base.metrics,
        )

    def _reader(self, bucket: Bucket, headers: HeaderStore) -> BlockReader:
        base, config = self._base, self._config
        metrics = CacheMetrics(base.metrics)
        in_flight = InFlight(
            bytes_max=config.max_fetching_bytes, requests_max=config.max_fetching_requests, metrics=base.metrics
        )
        index, chunks = config.index_cache, config.chunks_cache
        index_cache = self._cache("index-cache", index.backend, index.inmemory.max_size_bytes, index.memcached, metrics)
        chunk_cache = self._cache(
            "chunks-cache", chunks.backend, chunks.inmemory.max_size_bytes, chunks.memcached, metrics
        )
        gap = config.partitioner_max_gap_bytes
        return BlockReader(
            headers=headers,
            bucket=bucket,
            indexes=RangeReader(
                kind="sgi",
                bucket=bucket,
                cache=index_cache,
                in_flight=in_flight,
                settings=ReadSettings(gap_bytes_max=gap, ttl_s=_INDEX_TTL_S),
            ),
            segments=RangeReader(
                kind="sgc",
                bucket=bucket,
                cache=chunk_cache,
                in_flight=in_flight,
                settings=ReadSettings(gap_bytes_max=gap, ttl_s=chunks.subrange_ttl / 1000),
            ),
            offload=base.offload,
            gap_bytes_max=gap,
        )

    def _cache(
        self, name: str, backend: str, bytes_max: int, config: MemcachedConfig, metrics: CacheMetrics
    ) -> Cache | None:
        if not backend:
            return None
        near = LruCache(name=name, bytes_max=bytes_max, clock=self._base.clock, metrics=metrics)
        if backend == "inmemory":
            return near
        settings = MemcachedSettings(
            addresses=config.addresses,
            timeout_s=config.timeout / 1000,
            connect_timeout_s=config.connect_timeout / 1000,
            connections_max=config.max_idle_connections,
            keys_per_get_max=config.max_get_multi_batch_size,
            item_bytes_max=config.max_item_size,
            writers=config.max_async_concurrency,
            queue_items_max=config.max_async_buffer_size,
        )
        far = MemcachedCache(name=name, settings=settings, clock=self._base.clock, metrics=metrics)
        return TieredCache(near, far, near_ttl_s=_NEAR_TTL_S)
