"""Settings of what reads blocks in the bucket: `blocks_storage.bucket_store`."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.config.kvstore import ADVANCED, EXPERIMENTAL
from mimir_rw.config.settings import Departure, duration, integer, names, section, text

_SMALL = "a store-gateway fits into 512 MiB"


@dataclass(frozen=True, slots=True)
class MemcachedConfig:
    addresses: tuple[str, ...] = names(
        (), flag=".addresses", help="Memcached servers, host:port. A key belongs to one of them."
    )
    timeout: int = duration(
        "200ms", flag=".timeout", help="How long a call to a server may take.", category=ADVANCED, low="1ms"
    )
    connect_timeout: int = duration(
        "200ms", flag=".connect-timeout", help="How long connecting may take.", category=ADVANCED, low="1ms"
    )
    max_idle_connections: int = integer(
        100,
        flag=".max-idle-connections",
        help="Connections to a server, each for one call at a time.",
        category=ADVANCED,
        low=1,
    )
    max_async_concurrency: int = integer(
        50,
        flag=".max-async-concurrency",
        help="Items that are written at once.",
        category=ADVANCED,
        low=1,
    )
    max_async_buffer_size: int = integer(
        25_000, flag=".max-async-buffer-size", help="Items that may wait to be written.", category=ADVANCED, low=1
    )
    max_get_multi_batch_size: int = integer(
        100, flag=".max-get-multi-batch-size", help="Keys in one call.", category=ADVANCED, low=1, high=1000
    )
    max_item_size: int = integer(
        1 << 20, flag=".max-item-size", help="Bytes of an item; larger ones are not stored.", category=ADVANCED, low=1
    )


@dataclass(frozen=True, slots=True)
class IndexCacheMemoryConfig:
    max_size_bytes: int = integer(
        64 << 20,
        flag=".max-size-bytes",
        help="Bytes of the index cache in this process.",
        low=1 << 20,
        departure=Departure("1073741824", _SMALL),
    )


@dataclass(frozen=True, slots=True)
class IndexCacheConfig:
    backend: str = text(
        "inmemory",
        flag=".backend",
        help="Where parts of indexes are kept: inmemory, or memcached with the cache in memory before it.",
        choices=("inmemory", "memcached"),
    )
    inmemory: IndexCacheMemoryConfig = section(IndexCacheMemoryConfig, flag_prefix=".inmemory")
    memcached: MemcachedConfig = section(MemcachedConfig, flag_prefix=".memcached")


@dataclass(frozen=True, slots=True)
class ChunksCacheMemoryConfig:
    max_size_bytes: int = integer(
        64 << 20,
        flag=".max-size-bytes",
        help="Bytes of the chunks cache in this process.",
        category=EXPERIMENTAL,
        low=1 << 20,
    )


@dataclass(frozen=True, slots=True)
class ChunksCacheConfig:
    backend: str = text(
        "inmemory",
        flag=".backend",
        help="Where parts of chunk files are kept: empty for nowhere, inmemory, or memcached with the cache in memory "
        "before it.",
        choices=("", "inmemory", "memcached"),
        departure=Departure("", "a small cache costs little and spares repeated reads"),
    )
    inmemory: ChunksCacheMemoryConfig = section(ChunksCacheMemoryConfig, flag_prefix=".inmemory")
    memcached: MemcachedConfig = section(MemcachedConfig, flag_prefix=".memcached")
    subrange_ttl: int = duration(
        "1d", flag=".subrange-ttl", help="How long a part of a chunk file is kept.", category=ADVANCED, low="1s"
    )


@dataclass(frozen=True, slots=True)
class IndexHeaderConfig:
    lazy_loading_idle_timeout: int = duration(
        "1h",
        flag=".lazy-loading-idle-timeout",
        help="An index-header that is not used for so long is taken out of memory. 0 means never.",
        category=ADVANCED,
    )
    lazy_loading_concurrency: int = integer(
        4,
        flag=".lazy-loading-concurrency",
        help="Index-headers that are made or opened at once. 0 means any number.",
        category=ADVANCED,
    )
    lazy_loading_concurrency_queue_timeout: int = duration(
        "5s",
        flag=".lazy-loading-concurrency-queue-timeout",
        help="How long one may wait for its turn. 0 means any time.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class BucketIndexConfig:
    update_on_error_interval: int = duration(
        "1m",
        flag=".update-on-error-interval",
        help="How soon a bucket index is loaded again that could not be, or was not there.",
        category=ADVANCED,
        low="1s",
    )
    idle_timeout: int = duration(
        "1h",
        flag=".idle-timeout",
        help="A bucket index that is not used for so long is taken out of memory.",
        category=ADVANCED,
        low="1m",
    )
    max_stale_period: int = duration(
        "1h",
        flag=".max-stale-period",
        help="How old a bucket index may be. An older one is still used for what it proves, with a warning, as long as "
        "ingesters have the rest; a query over anything else fails.",
        category=ADVANCED,
        low="1m",
    )


@dataclass(frozen=True, slots=True)
class BucketStoreConfig:
    sync_dir: str = text("./tsdb-sync/", flag=".sync-dir", help="Directory of index-headers, worth keeping.")
    sync_interval: int = duration(
        "15m",
        flag=".sync-interval",
        help="How old the bucket indexes are that store-gateways and queriers use.",
        category=ADVANCED,
        low="1s",
    )
    tenant_sync_concurrency: int = integer(
        1, flag=".tenant-sync-concurrency", help="Tenants looked at at once.", category=ADVANCED, low=1, high=128
    )
    block_sync_concurrency: int = integer(
        4,
        flag=".block-sync-concurrency",
        help="Index-headers made at once before anybody asks for them.",
        category=ADVANCED,
        low=1,
        high=128,
    )
    max_concurrent: int = integer(
        200, flag=".max-concurrent", help="Questions worked on at once. 0 means any number.", category=ADVANCED
    )
    max_concurrent_queue_timeout: int = duration(
        "5s",
        flag=".max-concurrent-queue-timeout",
        help="How long a question may wait for its turn. 0 means any time.",
        category=ADVANCED,
    )
    ignore_deletion_mark_delay: int = duration(
        "1h",
        flag=".ignore-deletion-marks-delay",
        help="A block that was marked for deletion so long ago is not kept at hand any more.",
        category=ADVANCED,
    )
    ignore_deletion_mark_while_querying_delay: int = duration(
        "50m",
        flag=".ignore-deletion-marks-while-querying-delay",
        help="A block that was marked for deletion so long ago is not asked for any more.",
        category=ADVANCED,
    )
    ignore_blocks_within: int = duration(
        "10h",
        flag=".ignore-blocks-within",
        help="Blocks whose samples begin within this time are not kept at hand. 0 means that all are.",
        category=ADVANCED,
    )
    streaming_series_batch_size: int = integer(
        5000, flag=".batch-series-size", help="Series of a block that are read at once.", category=ADVANCED, low=1
    )
    partitioner_max_gap_bytes: int = integer(
        512 << 10,
        flag=".partitioner-max-gap-bytes",
        help="Parts of an object that lie so near one another are read as one.",
        category=ADVANCED,
    )
    max_fetching_bytes: int = integer(
        128 << 20,
        flag=".max-fetching-bytes",
        help="Bytes that are read from the bucket at once, over all queries of the process.",
        category=EXPERIMENTAL,
        low=1 << 20,
    )
    max_fetching_requests: int = integer(
        64,
        flag=".max-fetching-requests",
        help="Reads from the bucket at once, over all queries of the process.",
        category=EXPERIMENTAL,
        low=1,
    )
    index_cache: IndexCacheConfig = section(IndexCacheConfig, flag_prefix=".index-cache")
    chunks_cache: ChunksCacheConfig = section(ChunksCacheConfig, flag_prefix=".chunks-cache")
    bucket_index: BucketIndexConfig = section(BucketIndexConfig, flag_prefix=".bucket-index")
    index_header: IndexHeaderConfig = section(IndexHeaderConfig, flag_prefix=".index-header")
