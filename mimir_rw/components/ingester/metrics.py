"""The ingester's metrics, by Mimir's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mimir_rw._native import HeadStats
from mimir_rw.components.ingester.tenant import Tenant
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.formats.ulid import ulid_time_ms
from mimir_rw.kit.metrics import Counter, Family, Metrics, Reading

_USER = ("user",)

StatsByTenant = Callable[[], Mapping[str, HeadStats]]


class IngesterMetrics:
    """`discarded_…` (labels reason and user) are shared with the distributor, which counts its own reasons."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        discarded_samples: Family[Counter],
        discarded_exemplars: Family[Counter],
        stats: StatsByTenant,
        broken: Callable[[], int],
        tenants: Mapping[str, Tenant],
    ) -> None:
        """stats: of every open head. broken: how many tenants have a log that cannot be replayed. Both are asked in
        the thread that renders the metrics."""
        self.discarded_samples = discarded_samples
        self.discarded_exemplars = discarded_exemplars
        self.samples = metrics.counters("cortex_ingester_ingested_samples_total", "Samples stored.", _USER)
        self.samples_failed = metrics.counters(
            "cortex_ingester_ingested_samples_failures_total", "Samples refused or not stored.", _USER
        )
        self.exemplars = metrics.counters("cortex_ingester_ingested_exemplars_total", "Exemplars stored.", _USER)
        self.exemplars_failed = metrics.counters(
            "cortex_ingester_ingested_exemplars_failures_total", "Exemplars refused.", _USER
        )
        self.metadata = metrics.counters("cortex_ingester_ingested_metadata_total", "Metadata entries stored.", _USER)
        self.metadata_failed = metrics.counters(
            "cortex_ingester_ingested_metadata_failures_total", "Metadata entries refused.", _USER
        )
        self.inflight = metrics.gauge("cortex_ingester_inflight_push_requests", "Pushes being worked on.")
        self.inflight_bytes = metrics.gauge(
            "cortex_ingester_inflight_push_requests_bytes", "Bytes of the pushes being worked on."
        )
        self.wal_failures = metrics.counter(
            "cortex_ingester_tsdb_wal_writes_failed_total", "Groups of pushes that could not be logged."
        )
        self.wal_corruptions = metrics.counter(
            "cortex_ingester_tsdb_wal_corruptions_total", "Damaged places found in write-ahead logs."
        )
        self.torn_records = metrics.counter(
            "mimir_rw_ingester_wal_torn_records_total", "Unfinished records cut off the end of write-ahead logs."
        )
        self.replay_seconds = metrics.gauge(
            "cortex_ingester_tsdb_wal_replay_seconds", "How long the replay of all logs took at start."
        )
        self.rejected = metrics.counters(
            "cortex_ingester_instance_rejected_requests_total", "Pushes refused by limits of this process.", ("reason",)
        )
        self._read(metrics, stats)
        _read_exemplars(metrics, stats)
        metrics.gauges_read(
            "mimir_rw_ingester_broken_tenants",
            "Tenants whose write-ahead log cannot be replayed: all their requests are refused.",
            (),
            lambda: [((), float(broken()))],
        )
        _read_blocks(metrics, tenants)

    def _read(self, metrics: Metrics, stats: StatsByTenant) -> None:
        def per_tenant(value: Callable[[HeadStats], float]) -> Callable[[], Reading]:
            return lambda: [((tenant,), value(s)) for tenant, s in stats().items()]

        def total(value: Callable[[HeadStats], float]) -> Callable[[], Reading]:
            return lambda: _one(value(s) for s in stats().values())

        metrics.gauges_read(
            "cortex_ingester_memory_users", "Tenants with a head in memory.", (), lambda: [((), float(len(stats())))]
        )
        metrics.gauges_read("cortex_ingester_memory_series", "Series in memory.", (), total(lambda s: s.series))
        metrics.counters_read(
            "cortex_ingester_memory_series_created_total",
            "Series created.",
            _USER,
            per_tenant(lambda s: s.series_created),
        )
        metrics.gauges_read("cortex_ingester_tsdb_head_chunks", "Chunks in memory.", (), total(lambda s: s.chunks))
        metrics.gauges_read(
            "cortex_ingester_tsdb_head_memory_bytes",
            "Estimated memory of all heads.",
            (),
            total(lambda s: s.memory_bytes),
        )
        metrics.counters_read(
            "cortex_ingester_tsdb_out_of_order_samples_appended_total",
            "Samples stored out of order.",
            _USER,
            per_tenant(lambda s: s.ooo_samples_appended),
        )
        metrics.counters_read(
            "mimir_rw_ingester_histogram_samples_appended_total",
            "Native histograms among the samples stored.",
            _USER,
            per_tenant(lambda s: s.histogram_samples_appended),
        )
        metrics.counters_read(
            "cortex_ingester_tsdb_wal_written_bytes_total",
            "Bytes written to write-ahead logs.",
            (),
            total(lambda s: s.wal_bytes_written),
        )
        metrics.counters_read(
            "cortex_ingester_tsdb_wal_fsync_failed_total",
            "Syncs of write-ahead logs that failed.",
            (),
            total(lambda s: s.wal_syncs_failed),
        )


def _read_exemplars(metrics: Metrics, stats: StatsByTenant) -> None:
    def total(value: Callable[[HeadStats], float]) -> Callable[[], Reading]:
        return lambda: _one(value(s) for s in stats().values())

    metrics.counters_read(
        "cortex_ingester_tsdb_exemplar_exemplars_appended_total",
        "Exemplars stored.",
        (),
        total(lambda s: s.exemplars_appended),
    )
    metrics.gauges_read(
        "cortex_ingester_tsdb_exemplar_exemplars_in_storage", "Exemplars in memory.", (), total(lambda s: s.exemplars)
    )
    metrics.gauges_read(
        "cortex_ingester_tsdb_exemplar_series_with_exemplars_in_storage",
        "Series that have exemplars in memory.",
        _USER,
        lambda: [((tenant,), float(s.exemplar_series)) for tenant, s in stats().items()],
    )
    metrics.gauges_read(
        "cortex_ingester_tsdb_exemplar_last_exemplars_timestamp_seconds",
        "Time of the exemplar stored last.",
        _USER,
        lambda: [
            ((tenant,), s.exemplar_last_time_ms / 1000)
            for tenant, s in stats().items()
            if s.exemplar_last_time_ms is not None
        ],
    )
    metrics.counters_read(
        "cortex_ingester_tsdb_exemplar_out_of_order_exemplars_total",
        "Exemplars refused because a later one of their series is there.",
        (),
        total(lambda s: s.exemplars_out_of_order),
    )


def _read_blocks(metrics: Metrics, tenants: Mapping[str, Tenant]) -> None:
    def metas() -> list[BlockMeta]:
        return [meta for tenant in list(tenants.values()) for meta in tenant.unshipped]

    metrics.gauges_read(
        "cortex_ingester_tsdb_blocks_loaded",
        "Local blocks.",
        (),
        lambda: _one(float(len(tenant.blocks.blocks)) for tenant in list(tenants.values())),
    )
    metrics.gauges_read(
        "cortex_ingester_oldest_unshipped_block_timestamp_seconds",
        "When the oldest local block that is not in the bucket was made; 0: all are.",
        (),
        lambda: [((), min((ulid_time_ms(meta.ulid) for meta in metas()), default=0) / 1000)],
    )
    metrics.gauges_read(
        "mimir_rw_ingester_oldest_only_here_timestamp_seconds",
        "Oldest time of which this process has samples that no block in the bucket has.",
        ("user",),
        lambda: [
            ((name,), oldest / 1000)
            for name, tenant in list(tenants.items())
            if (oldest := tenant.oldest_only_here_ms) is not None
        ],
    )


def _one(values: Iterable[float]) -> Reading:
    return [((), float(sum(values)))]
