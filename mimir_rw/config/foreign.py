"""Mimir's settings that this version does not have, and what a configuration that uses them gets.

Three verdicts. MEANINGLESS: there is nothing here that it could tune (gRPC, Go's runtime, Kafka); a warning. UNBUILT:
it belongs to a component or feature that is not there yet; a warning, because an existing mimir.yaml should start, and
what is missing shows itself (its API answers 404). REFUSED: ignoring it would silently store something else than was
asked for; an error, unless the value is the one that asks for nothing.

Patterns have `*` for any text, except in rows that are REFUSED. A pattern for a YAML section covers all of it and gives
one warning; a refused key inside of it is refused all the same.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mimir_rw.config.document import Items, Node, Scalar
from mimir_rw.config.storage import MISSING_BACKENDS


class Verdict(enum.Enum):
    MEANINGLESS = "has no meaning here and is ignored"
    UNBUILT = "is not available yet and is ignored"
    REFUSED = "is not available yet"


@dataclass(frozen=True, slots=True)
class Foreign:
    verdict: Verdict
    keys: tuple[str, ...]
    flags: tuple[str, ...]
    reason: str = ""
    """What is missing, or why there is nothing to tune."""
    harmless: tuple[str, ...] = ()
    """Values that ask for nothing: accepted without a word where the verdict is REFUSED."""

    def message(self) -> str:
        return self.verdict.value if not self.reason else f"{self.verdict.value} ({self.reason})"

    def accepts(self, value: Node | str) -> bool:
        """Whether the value, as a YAML node or a flag's text, asks for nothing."""
        if isinstance(value, Scalar):
            return value.null or value.text in self.harmless
        if isinstance(value, Items):
            return not value.items
        return isinstance(value, str) and value in self.harmless


def _row(verdict: Verdict, keys: str, flags: str, reason: str = "", harmless: Sequence[str] = ()) -> Foreign:
    return Foreign(verdict, tuple(keys.split()), tuple(flags.split()), reason, tuple(harmless))


_NO_GRPC = "calls between processes do not use gRPC"
_NO_GO = "it tunes Mimir's own implementation"

FOREIGN: tuple[Foreign, ...] = (
    # Would change what is stored.
    _row(
        Verdict.REFUSED,
        "limits.accept_ha_samples distributor.ha_tracker.enable_ha_tracker",
        "distributor.ha-tracker.enable-for-all-users distributor.ha-tracker.enable",
        "without deduplication of HA replicas every sample would be stored once per replica",
        ("false",),
    ),
    _row(
        Verdict.REFUSED,
        "limits.metric_relabel_configs limits.drop_labels",
        "distributor.drop-label",
        "series would be stored with labels that should be changed or dropped",
    ),
    _row(
        Verdict.REFUSED,
        "limits.s3_sse_type limits.s3_sse_kms_key_id limits.s3_sse_kms_encryption_context "
        "common.storage.s3.sts_endpoint blocks_storage.s3.sts_endpoint",
        "common.storage.s3.sts-endpoint blocks-storage.s3.sts-endpoint",
        "encryption is one for the whole bucket, and AWS_ENDPOINT_URL_STS of the environment names another STS",
        ("",),
    ),
    _row(
        Verdict.REFUSED,
        "common.storage.s3.signature_version blocks_storage.s3.signature_version",
        "common.storage.s3.signature-version blocks-storage.s3.signature-version",
        "requests are signed in version 4",
        ("v4", ""),
    ),
    _row(
        Verdict.REFUSED,
        "common.storage.s3.list_objects_version blocks_storage.s3.list_objects_version",
        "common.storage.s3.list-objects-version blocks-storage.s3.list-objects-version",
        "lists are asked for in version 2",
        ("v2", ""),
    ),
    _row(
        Verdict.REFUSED,
        "server.proxy_protocol_enabled",
        "server.proxy-protocol-enabled",
        "connections that begin with a PROXY header would fail",
        ("false",),
    ),
    # Nothing here that it could tune.
    _row(
        Verdict.MEANINGLESS,
        "server.grpc_server_max_send_msg_size server.grpc_server_max_connection_* server.grpc_server_keepalive_* "
        "server.grpc_server_min_* server.grpc_server_ping_* server.grpc_server_num_* server.grpc_server_stats_* "
        "server.grpc_server_recv_* server.grpc_collect_max_streams_by_conn server.grpc_listen_network "
        "server.report_grpc_codes_in_instrumentation_label_enabled "
        "ingester_client.grpc_client_config.max_* ingester_client.grpc_client_config.grpc_* "
        "ingester_client.grpc_client_config.rate_* ingester_client.grpc_client_config.backoff_* "
        "ingester_client.grpc_client_config.initial_* ingester_client.grpc_client_config.connect_* "
        "ingester_client.grpc_client_config.cluster_validation ingester_client.report_grpc_codes_* "
        "ingester_client.deprecated_* frontend.grpc_client_config frontend_worker.*grpc_client_config "
        "query_scheduler.grpc_client_config ruler.*grpc_client_config",
        "server.grpc-max-send-msg-size-bytes server.grpc.* server.grpc-collect-* server.grpc-listen-network "
        "server.grpc-num-workers server.report-grpc-codes-* ingester.client.grpc-* "
        "ingester.client.backoff-* ingester.client.initial-* ingester.client.connect-* "
        "ingester.client.cluster-validation.* ingester.client.report-grpc-codes-* *.grpc-client-config.* "
        "querier.frontend-client.* querier.scheduler-client.*",
        _NO_GRPC,
    ),
    _row(
        Verdict.MEANINGLESS,
        "activity_tracker usage_stats enable_go_runtime_metrics include_tenant_id_in_profile_labels "
        "timeseries_unmarshal_caching_optimization_enabled flusher vault max_separate_metrics_groups_per_user",
        "activity-tracker.* usage-stats.* enable-go-runtime-metrics include-tenant-id-in-profile-labels "
        "timeseries-unmarshal-caching-optimization-enabled flusher.* vault.* max-separate-metrics-groups-per-user "
        "debug.*",
        _NO_GO,
    ),
    _row(
        Verdict.MEANINGLESS,
        "ingest_storage ingester.partition_ring block_builder block_builder_scheduler usage_tracker "
        "usage_tracker_client distributor.usage_tracker_client compactor_scheduler "
        "limits.ingest_storage_read_consistency limits.ingestion_partitions_tenant_shard_size",
        "ingest-storage.* ingester.partition-ring.* block-builder.* block-builder-scheduler.* usage-tracker.* "
        "usage-tracker-client.* distributor.usage-tracker-client.* compactor-scheduler.* "
        "ingest-storage.read-consistency ingester.partitions-shard-size",
        "there is no Kafka in the write path",
    ),
    _row(
        Verdict.MEANINGLESS,
        "server.http_listen_network server.register_instrumentation server.log_source_ips_* "
        "server.http_log_closed_connections_without_response_enabled server.trace_* server.cluster_validation "
        "distributor.pool distributor.max_request_pool_buffer_size distributor.write_requests_buffer_pooling_enabled "
        "distributor.reusable_ingester_push_workers querier.query_engine querier.enable_query_engine_fallback "
        "querier.mimir_query_engine querier.filter_queryables_enabled querier.prefer_streaming_chunks_* "
        "querier.streaming_chunks_* frontend.query_engine frontend.enable_query_engine_fallback "
        "frontend.query_result_response_format frontend.use_active_series_decoder",
        "server.http-listen-network server.register-instrumentation server.log-source-ips-* "
        "server.http-log-closed-connections-without-response-enabled server.trace-* server.cluster-validation.* "
        "distributor.client-cleanup-period distributor.health-check-ingesters "
        "distributor.max-request-pool-buffer-size distributor.write-requests-buffer-pooling-enabled "
        "distributor.reusable-ingester-push-workers querier.query-engine querier.enable-query-engine-fallback "
        "querier.mimir-query-engine.* querier.filter-queryables-enabled querier.prefer-streaming-chunks-* "
        "querier.streaming-chunks-* query-frontend.query-engine query-frontend.enable-query-engine-fallback "
        "query-frontend.query-result-response-format query-frontend.use-active-series-decoder",
        _NO_GO,
    ),
    _row(
        Verdict.MEANINGLESS,
        "blocks_storage.tsdb.stripe_size blocks_storage.tsdb.head_chunks_* blocks_storage.tsdb.series_hash_cache_* "
        "blocks_storage.tsdb.head_postings_* blocks_storage.tsdb.block_postings_* "
        "blocks_storage.tsdb.shared_postings_* blocks_storage.tsdb.index_lookup_planning_enabled "
        "blocks_storage.tsdb.memory_snapshot_on_shutdown",
        "blocks-storage.tsdb.stripe-size blocks-storage.tsdb.head-chunks-* blocks-storage.tsdb.series-hash-cache-* "
        "blocks-storage.tsdb.head-postings-* blocks-storage.tsdb.block-postings-* "
        "blocks-storage.tsdb.shared-postings-* blocks-storage.tsdb.index-lookup-planning-enabled "
        "blocks-storage.tsdb.memory-snapshot-on-shutdown",
        _NO_GO,
    ),
    _row(
        Verdict.MEANINGLESS,
        " ".join(
            f"{at}.s3.{key}"
            for at in ("common.storage", "blocks_storage")
            for key in (
                "dualstack_enabled",
                "native_aws_auth_enabled",
                "trace",
                "http.idle_conn_timeout",
                "http.expect_continue_timeout",
                "http.max_idle_connections",
                "http.max_idle_connections_per_host",
                "http.tls_server_name",
            )
        ),
        " ".join(
            f"{at}.s3.{flag}"
            for at in ("common.storage", "blocks-storage")
            for flag in (
                "dualstack-enabled",
                "native-aws-auth-enabled",
                "trace.*",
                "http.idle-conn-timeout",
                "expect-continue-timeout",
                "max-idle-connections",
                "max-idle-connections-per-host",
                "http.tls-server-name",
            )
        ),
        "connections live as long as the store lets them, keys that are not given are looked for, an endpoint names "
        "itself",
    ),
    # Components that are not there yet.
    _row(
        Verdict.UNBUILT,
        " ".join(f"{at}.{kind}" for at in ("common.storage", "blocks_storage") for kind in MISSING_BACKENDS),
        " ".join(f"{at}.{kind}.*" for at in ("common.storage", "blocks-storage") for kind in MISSING_BACKENDS),
        "object storage is filesystem or s3",
    ),
    _row(
        Verdict.MEANINGLESS,
        "compactor.sharding_ring.wait_active_instance_timeout",
        "compactor.ring.wait-active-instance-timeout",
        "a compactor takes work as soon as it is in the ring",
    ),
    _row(
        Verdict.MEANINGLESS,
        "compactor.max_opening_blocks_concurrency compactor.max_closing_blocks_concurrency "
        "compactor.symbols_flushers_concurrency compactor.update_blocks_concurrency compactor.consistency_delay "
        "compactor.upload_sparse_index_headers compactor.sparse_index_headers_* "
        "limits.compactor_in_memory_tenant_meta_cache_size limits.compactor_max_per_block_upload_concurrency",
        "compactor.max-opening-blocks-concurrency compactor.max-closing-blocks-concurrency "
        "compactor.symbols-flushers-concurrency compactor.update-blocks-concurrency compactor.consistency-delay "
        "compactor.upload-sparse-index-headers compactor.sparse-index-headers-* "
        "compactor.in-memory-tenant-meta-cache-size compactor.max-per-block-upload-concurrency",
        "a job is one process that streams its blocks; what is read of a block's meta.json is kept",
    ),
    _row(
        Verdict.UNBUILT,
        "store_gateway.enabled_tenants store_gateway.disabled_tenants store_gateway.dynamic_replication "
        "limits.store_gateway_tenant_shard_size_per_zone blocks_storage.bucket_store.metadata_cache "
        "blocks_storage.bucket_store.index_cache.redis blocks_storage.bucket_store.chunks_cache.redis "
        "blocks_storage.bucket_store.*.memcached.*tls_*",
        "store-gateway.enabled-tenants store-gateway.disabled-tenants store-gateway.dynamic-replication.* "
        "store-gateway.tenant-shard-size-per-zone blocks-storage.bucket-store.metadata-cache.* "
        "blocks-storage.bucket-store.index-cache.redis.* blocks-storage.bucket-store.chunks-cache.redis.* "
        "blocks-storage.bucket-store.*.memcached.tls-*",
        "a part of the store-gateway that comes later",
    ),
    _row(
        Verdict.MEANINGLESS,
        "blocks_storage.bucket_store.meta_sync_concurrency blocks_storage.bucket_store.posting_offsets_in_mem_sampling "
        "blocks_storage.bucket_store.series_* blocks_storage.bucket_store.index_header.max_idle_file_handles "
        "blocks_storage.bucket_store.index_header.verify_on_load "
        "blocks_storage.bucket_store.index_header.eager_loading_startup_enabled "
        "blocks_storage.bucket_store.index_header.lazy_loading_enabled "
        "blocks_storage.bucket_store.index_header.sparse_persistence_enabled "
        "blocks_storage.bucket_store.index_header.bucket_reader "
        "blocks_storage.bucket_store.*.memcached.min_idle_connections_headroom_percentage "
        "blocks_storage.bucket_store.*.memcached.max_get_multi_concurrency "
        "blocks_storage.bucket_store.*.memcached.addresses_provider "
        "blocks_storage.bucket_store.*.memcached.*buffer_size_bytes "
        "blocks_storage.bucket_store.chunks_cache.attributes_* blocks_storage.bucket_store.chunks_cache.max_get_* "
        "blocks_storage.bucket_store.chunks_cache.fine_grained_*",
        "blocks-storage.bucket-store.meta-sync-concurrency "
        "blocks-storage.bucket-store.posting-offsets-in-mem-sampling blocks-storage.bucket-store.series-* "
        "blocks-storage.bucket-store.index-header.max-idle-file-handles "
        "blocks-storage.bucket-store.index-header.verify-on-load "
        "blocks-storage.bucket-store.index-header.eager-loading-startup-enabled "
        "blocks-storage.bucket-store.index-header.lazy-loading-enabled "
        "blocks-storage.bucket-store.index-header.sparse-persistence-enabled "
        "blocks-storage.bucket-store.index-header.bucket-reader.* "
        "blocks-storage.bucket-store.*.memcached.min-idle-connections-headroom-percentage "
        "blocks-storage.bucket-store.*.memcached.max-get-multi-concurrency "
        "blocks-storage.bucket-store.*.memcached.addresses-provider "
        "blocks-storage.bucket-store.*.memcached.*buffer-size-bytes "
        "blocks-storage.bucket-store.chunks-cache.attributes-* blocks-storage.bucket-store.chunks-cache.max-get-* "
        "blocks-storage.bucket-store.chunks-cache.fine-grained-*",
        _NO_GO,
    ),
    _row(Verdict.UNBUILT, "ruler ruler_storage limits.ruler_*", "ruler.* ruler-storage.*", "the ruler"),
    _row(
        Verdict.UNBUILT,
        "alertmanager alertmanager_storage limits.alertmanager_* api.alertmanager_http_prefix",
        "alertmanager.* alertmanager-storage.* http.alertmanager-http-prefix",
        "the Alertmanager",
    ),
    _row(
        Verdict.UNBUILT,
        "frontend.split_queries_by_interval frontend.results_cache frontend.cache_* "
        "frontend.parallelize_shardable_queries frontend.query_sharding_* "
        "frontend.shard_* frontend.extra_propagated_headers frontend.client_cluster_validation "
        "frontend.log_query_request_headers frontend.active_series_write_timeout limits.max_query_parallelism "
        "limits.query_sharding_* limits.results_cache_* limits.max_cache_freshness limits.cache_unaligned_requests "
        "limits.align_queries_with_step limits.split_instant_queries_by_interval limits.blocked_queries "
        "limits.limited_queries limits.blocked_requests limits.prom2_range_compat limits.subquery_spin_off_enabled "
        "limits.labels_query_optimizer_enabled limits.instant_queries_with_subquery_spin_off "
        "frontend.prune_queries frontend.rewrite_histogram_queries "
        "frontend.remote_execution_enabled",
        "query-frontend.split-* query-frontend.results-cache* query-frontend.cache-* "
        "query-frontend.parallelize-shardable-queries "
        "query-frontend.query-sharding-* query-frontend.shard-* query-frontend.extra-propagated-headers "
        "query-frontend.client-cluster-validation.* query-frontend.log-query-request-headers "
        "query-frontend.active-series-write-timeout querier.max-query-parallelism query-frontend.max-cache-freshness "
        "query-frontend.align-queries-with-step query-frontend.prom2-range-compat "
        "query-frontend.subquery-spin-off-enabled query-frontend.labels-query-optimizer-enabled "
        "query-frontend.instant-queries-with-subquery-spin-off "
        "query-frontend.prune-queries "
        "query-frontend.rewrite-histogram-queries query-frontend.enable-remote-execution",
        "the query-frontend's rewriting, sharding, caching and blocking of queries",
    ),
    _row(
        Verdict.MEANINGLESS,
        "frontend_worker.frontend_address frontend_worker.scheduler_address frontend_worker.dns_lookup_* "
        "frontend_worker.response_streaming_enabled frontend.scheduler_address frontend.scheduler_dns_lookup_period "
        "frontend.scheduler_worker_concurrency frontend.additional_query_queue_* "
        "query_scheduler.additional_query_queue_* query_scheduler.prioritize_query_components "
        "query_scheduler.service_discovery_mode",
        "querier.frontend-address querier.scheduler-address querier.dns-lookup-period "
        "querier.response-streaming-enabled query-frontend.scheduler-address "
        "query-frontend.scheduler-dns-lookup-period query-frontend.scheduler-worker-concurrency "
        "query-frontend.additional-query-queue-* query-scheduler.additional-query-queue-* "
        "query-scheduler.prioritize-query-components query-scheduler.service-discovery-mode",
        "processes find each other in rings and share one connection",
    ),
    _row(
        Verdict.MEANINGLESS,
        "ingester.track_ingester_owned_series ingester.use_ingester_owned_series_for_limits "
        "overrides_exporter.ring.wait_stability_* memberlist.notify_interval memberlist.watch_prefix_buffer_size "
        "memberlist.zone_aware_routing memberlist.propagation_delay_tracker "
        "memberlist.abort_if_fast_join_fails_min_nodes",
        "ingester.track-ingester-owned-series ingester.use-ingester-owned-series-for-limits "
        "overrides-exporter.ring.wait-stability-* memberlist.notify-interval memberlist.watch-prefix-buffer-size "
        "memberlist.transport-debug memberlist.zone-aware-routing.* memberlist.propagation-delay-tracker.* "
        "memberlist.abort-if-fast-join-fails-min-nodes",
        "it is always so, or there is nothing to tune",
    ),
    _row(
        Verdict.UNBUILT,
        "blocks_storage.tsdb.bigger_out_of_order_* blocks_storage.tsdb.timely_head_compaction_enabled "
        "blocks_storage.tsdb.head_compaction_interval_* limits.out_of_order_blocks_*",
        "blocks-storage.tsdb.head-compaction-interval-* blocks-storage.tsdb.bigger-out-of-order-* "
        "blocks-storage.tsdb.timely-head-compaction-enabled "
        "ingester.out-of-order-blocks-*",
        "blocks and object storage",
    ),
    _row(
        Verdict.UNBUILT,
        "tenant_federation limits.cardinality_analysis_* limits.label_names_and_values_results_* "
        "limits.label_values_max_cardinality_* limits.active_series_results_* "
        "querier.max_concurrent_remote_read_queries",
        "tenant-federation.* querier.cardinality-* querier.label-* querier.active-series-results-* "
        "querier.max-concurrent-remote-read-queries",
        "federation of tenants, cardinality analysis and remote read",
    ),
    _row(
        Verdict.UNBUILT,
        "distributor.ha_tracker limits.ha_* distributor.max_otlp_request_size distributor.max_influx_request_size "
        "distributor.influx_endpoint_enabled limits.otel_* limits.metric_relabeling_enabled "
        "limits.max_exemplars_per_series_per_request limits.ignore_ooo_exemplars "
        "limits.active_series_* ingester.active_series_* ingester.tsdb_config_update_period "
        "limits.separate_metrics_group_label limits.cost_attribution_* limits.max_cost_attribution_* "
        "cost_attribution_* ingester.read_path_* ingester.*_circuit_breaker ingester.*_reactive_limiter "
        "ingester.rejection_prioritizer ingester.error_sample_rate "
        "ingester.ignore_series_limit_for_metric_names api.skip_label_* limits.max_estimated_fetched_chunks_* "
        "limits.max_fetched_chunks_per_query limits.label_value_length_over_limit_strategy "
        "limits.promote_otel_resource_attributes limits.ooo_native_histograms_ingestion_enabled "
        "limits.ingestion_artificial_delay* limits.max_active_series_per_user "
        "ingester.log_utilization_based_limiter_cpu_samples",
        "distributor.ha-tracker.* distributor.max-otlp-request-size distributor.max-influx-request-size "
        "distributor.influx-endpoint-enabled distributor.otel-* distributor.metric-relabeling-enabled "
        "distributor.max-exemplars-per-series-per-request ingester.ignore-ooo-exemplars "
        "ingester.active-series-* ingester.tsdb-config-update-period validation.separate-metrics-group-label "
        "validation.*cost-attribution-* cost-attribution.* ingester.read-path-* ingester.*-circuit-breaker.* "
        "ingester.*-reactive-limiter.* ingester.rejection-prioritizer.* ingester.error-sample-rate "
        "ingester.ignore-series-limit-for-metric-names api.skip-label-* "
        "querier.max-estimated-fetched-chunks-* querier.max-fetched-chunks-per-query "
        "validation.label-value-length-over-limit-strategy ingester.ooo-native-histograms-ingestion-enabled "
        "distributor.ingestion-artificial-delay* ingester.log-utilization-based-limiter-cpu-samples",
        "a part of ingestion, validation or query limits that comes later",
    ),
    _row(
        Verdict.UNBUILT,
        "server.http_listen_conn_limit common.client_cluster_validation "
        "server.http_server_read_header_timeout server.http_server_write_timeout server.log_request_headers "
        "server.log_request_at_info_level_enabled server.log_request_exclude_headers_list",
        "server.http-conn-limit common.client-cluster-validation.* server.http-read-header-timeout "
        "server.http-write-timeout server.log-request-headers server.log-request-at-info-level-enabled "
        "server.log-request-headers-exclude-list",
        "finer control of the servers",
    ),
)


def foreign_key(path: Sequence[str]) -> Foreign | None:
    """The row for a YAML path that is not in the tree, if Mimir has it."""
    return _find(_BY_KEY, ".".join(path))


def foreign_homes(name: str) -> list[str]:
    """Mimir's YAML keys, from the root, whose last part is `name`."""
    return [key for row in FOREIGN for key in row.keys if key.rpartition(".")[2] == name]


def foreign_flag(flag: str) -> Foreign | None:
    return _find(_BY_FLAG, flag)


def refused_keys() -> Sequence[tuple[tuple[str, ...], Foreign]]:
    """The YAML paths that are refused, each with its row."""
    return _REFUSED


def _find(table: Sequence[tuple[re.Pattern[str], Foreign]], name: str) -> Foreign | None:
    return next((row for pattern, row in table if pattern.fullmatch(name)), None)


def _compile(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns))


_BY_KEY = tuple((_compile(row.keys), row) for row in FOREIGN)
_BY_FLAG = tuple((_compile(row.flags), row) for row in FOREIGN)
_REFUSED = tuple((tuple(key.split(".")), row) for row in FOREIGN if row.verdict is Verdict.REFUSED for key in row.keys)
