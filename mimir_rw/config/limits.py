"""Limits per tenant: the `limits` block of the configuration, overlaid by the runtime file.

`TenantLimits` has Mimir's YAML names as field names; durations are int milliseconds, sizes bytes, rates per second;
0 means "no limit" unless the help says otherwise. `Limits` answers for a tenant from an immutable snapshot which is
replaced as a whole, so a reader sees either the old or the new limits of a tenant, never a mixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mimir_rw.config.settings import Category, Departure, duration, integer, names, number, switch, text

ADVANCED = Category.ADVANCED
EXPERIMENTAL = Category.EXPERIMENTAL
_FIRST_TRY = "a first try with real senders should not meet a limit meant for shared clusters"


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """All limits of one tenant."""

    # Writes: rates.
    request_rate: float = number(
        0, flag="distributor.request-rate-limit", help="Push requests per second a tenant may send. 0 means no limit."
    )
    request_burst_size: int = integer(
        0,
        flag="distributor.request-burst-size",
        help="Push requests a tenant may send at once above its request rate. 0 means no limit.",
    )
    ingestion_rate: float = number(
        250_000,
        flag="distributor.ingestion-rate-limit",
        help="Samples, exemplars and metadata entries per second a tenant may send, over the whole cluster.",
        departure=Departure("10000", _FIRST_TRY),
    )
    ingestion_burst_size: int = integer(
        1_000_000,
        flag="distributor.ingestion-burst-size",
        help="Samples a tenant may send at once above its ingestion rate. A larger request is never accepted.",
        departure=Departure("200000", _FIRST_TRY),
    )
    ingestion_burst_factor: float = number(
        0,
        flag="distributor.ingestion-burst-factor",
        help="If at least 1, the burst is this many times the ingestion rate and ingestion_burst_size has no effect.",
        category=EXPERIMENTAL,
    )
    ingestion_tenant_shard_size: int = integer(
        0,
        flag="distributor.ingestion-tenant-shard-size",
        help="Over how many ingesters, of all zones, the tenant's series are spread. 0 means all.",
    )
    service_overload_status_code_on_rate_limit_enabled: bool = switch(
        False,
        flag="distributor.service-overload-status-code-on-rate-limit-enabled",
        help="Answer with status 529 instead of 429 when a rate limit is hit.",
        category=EXPERIMENTAL,
    )

    # Writes: validation of series and samples.
    max_label_name_length: int = integer(
        1024, flag="validation.max-length-label-name", help="Longest label name accepted, in bytes."
    )
    max_label_value_length: int = integer(
        2048,
        flag="validation.max-length-label-value",
        help="Longest label value accepted, in bytes. It holds for the metric name too.",
    )
    max_label_names_per_series: int = integer(
        30, flag="validation.max-label-names-per-series", help="Most labels a series may have."
    )
    max_label_names_per_info_series: int = integer(
        80,
        flag="validation.max-label-names-per-info-series",
        help="Most labels an info series (metric name ending in _info) may have, where this is above "
        "max_label_names_per_series.",
    )
    max_metadata_length: int = integer(
        1024,
        flag="validation.max-metadata-length",
        help="Longest metric name, help and unit of metadata, in bytes. Longer help is cut, others are rejected.",
    )
    enforce_metadata_metric_name: bool = switch(
        True,
        flag="validation.enforce-metadata-metric-name",
        help="Reject metadata without a metric name.",
        category=ADVANCED,
    )
    name_validation_scheme: str = text(
        "legacy",
        flag="validation.name-validation-scheme",
        help="Which metric and label names are valid: legacy ([a-zA-Z_:][a-zA-Z0-9_:]*) or any utf8.",
        category=EXPERIMENTAL,
        choices=("legacy", "utf8"),
    )
    creation_grace_period: int = duration(
        "10m",
        flag="validation.create-grace-period",
        help="How far ahead of the wall clock a sample may be.",
        category=ADVANCED,
    )
    past_grace_period: int = duration(
        "0s",
        flag="validation.past-grace-period",
        help="How far behind the wall clock a sample may be, on top of the out-of-order window. 0 means no limit.",
        category=ADVANCED,
    )

    # Writes: what a tenant may hold.
    max_global_series_per_user: int = integer(
        1_500_000,
        flag="ingester.max-global-series-per-user",
        help="Series in memory a tenant may have over the whole cluster, before replication. 0 means no limit.",
        departure=Departure("150000", _FIRST_TRY),
    )
    max_global_series_per_metric: int = integer(
        0,
        flag="ingester.max-global-series-per-metric",
        help="Series in memory one metric name may have over the whole cluster, before replication. 0 means no limit.",
    )
    max_global_metadata_per_user: int = integer(
        0,
        flag="ingester.max-global-metadata-per-user",
        help="Metrics with metadata a tenant may have over the whole cluster. 0 means no limit.",
    )
    max_global_metadata_per_metric: int = integer(
        0,
        flag="ingester.max-global-metadata-per-metric",
        help="Different metadata entries one metric may have over the whole cluster. 0 means no limit.",
    )
    max_global_exemplars_per_user: int = integer(
        100_000,
        flag="ingester.max-global-exemplars-per-user",
        help="Exemplars kept in memory for a tenant over the whole cluster. 0 means that none are stored.",
        category=EXPERIMENTAL,
        departure=Departure("0", "exemplars are there without a setting; the bound keeps their memory small"),
    )
    out_of_order_time_window: int = duration(
        "5m",
        flag="ingester.out-of-order-time-window",
        help="How far behind the newest sample of the tenant a sample may be and still be stored out of order. "
        "0 means that samples must be in order.",
        category=EXPERIMENTAL,
        departure=Departure("0s", "several senders and retries are the rule; the usual disorder is below a minute"),
    )

    # Native histograms.
    native_histograms_ingestion_enabled: bool = switch(
        True,
        flag="ingester.native-histograms-ingestion-enabled",
        help="Store the tenant's native histograms; otherwise they are left out of pushes.",
    )
    max_native_histogram_buckets: int = integer(
        0,
        flag="validation.max-native-histogram-buckets",
        help="Buckets a native histogram may have. 0 means no limit.",
    )
    reduce_native_histogram_over_max_buckets: bool = switch(
        True,
        flag="validation.reduce-native-histogram-over-max-buckets",
        help="Give a native histogram with too many buckets a coarser resolution instead of refusing it.",
    )
    type_and_unit_labels_enabled: bool = switch(
        False,
        flag="distributor.type-and-unit-labels-enabled",
        help="Add the labels __type__ and __unit__ to series, from the metadata that remote write 2.0 sends with them.",
        category=EXPERIMENTAL,
    )

    # Queries.
    query_ingesters_within: int = duration(
        "13h",
        flag="querier.query-ingesters-within",
        help="How far back ingesters are asked, and those that a tenant has left. 0 means always.",
        category=ADVANCED,
    )
    store_gateway_tenant_shard_size: int = integer(
        0,
        flag="store-gateway.tenant-shard-size",
        help="Over how many store-gateways, of all zones, the tenant's blocks are spread. 0 means all.",
    )
    max_queriers_per_tenant: int = integer(
        0,
        flag="query-frontend.max-queriers-per-tenant",
        help="How many queriers answer queries of the tenant. 0 means all.",
    )
    max_fetched_series_per_query: int = integer(
        0, flag="querier.max-fetched-series-per-query", help="Series a query may select. 0 means no limit."
    )
    max_fetched_chunk_bytes_per_query: int = integer(
        0,
        flag="querier.max-fetched-chunk-bytes-per-query",
        help="Bytes of chunks a query may fetch. 0 means no limit.",
    )
    max_estimated_memory_consumption_per_query: int = integer(
        0,
        flag="querier.max-estimated-memory-consumption-per-query",
        help="Bytes of memory a query may hold at once, as estimated by the engine. 0 means no limit.",
        category=EXPERIMENTAL,
    )
    max_query_lookback: int = duration(
        "0s",
        flag="querier.max-query-lookback",
        help="How far back queries reach; an older part of the asked range is left out without an error. "
        "0 means no limit.",
    )
    max_partial_query_length: int = duration(
        "0s",
        flag="querier.max-partial-query-length",
        help="Longest time range of one query in the querier. 0 means no limit.",
    )
    max_total_query_length: int = duration(
        "0s",
        flag="query-frontend.max-total-query-length",
        help="Longest time range (end minus start) of a query as the client sends it. 0 means no limit.",
    )
    max_query_expression_size_bytes: int = integer(
        0,
        flag="query-frontend.max-query-expression-size-bytes",
        help="Longest query text accepted, in bytes. 0 means no limit.",
    )
    max_labels_query_length: int = duration(
        "0s",
        flag="store.max-labels-query-length",
        help="Longest time range of a series, label names or label values request; a longer one is cut to its newest "
        "part without an error. 0 means no limit.",
    )
    max_series_query_limit: int = integer(
        0,
        flag="querier.max-series-query-limit",
        help="Most series that the series endpoint returns, whatever limit the request names. 0 means no limit.",
    )
    enabled_promql_experimental_functions: tuple[str, ...] = names(
        (),
        flag="query-frontend.enabled-promql-experimental-functions",
        help="Experimental PromQL functions that the tenant may use, or all.",
    )
    enabled_promql_extended_range_selectors: tuple[str, ...] = names(
        (),
        flag="query-frontend.enabled-promql-extended-range-selectors",
        help="Extended range selector modifiers that the tenant may use: anchored, smoothed, or all.",
        category=EXPERIMENTAL,
    )
    enabled_promql_binop_fill_modifiers: tuple[str, ...] = names(
        (),
        flag="query-frontend.enabled-promql-binop-fill-modifiers",
        help="Fill modifiers of binary operators that the tenant may use: fill, fill_left, fill_right, or all.",
        category=EXPERIMENTAL,
    )
    enable_delayed_name_removal: bool = switch(
        False,
        flag="querier.enable-delayed-name-removal",
        help="Remove metric names at the end of a query, so that label_replace and label_join can set them.",
        category=EXPERIMENTAL,
    )

    # Blocks in the bucket.
    compactor_blocks_retention_period: int = duration(
        "0s",
        flag="compactor.blocks-retention-period",
        help="Blocks are deleted once all of their samples are older. 0 keeps them for ever.",
    )
    compactor_split_and_merge_shards: int = integer(
        0,
        flag="compactor.split-and-merge-shards",
        help="Into how many blocks, by series, blocks are split when they are compacted. 0 does not split.",
    )
    compactor_split_groups: int = integer(
        1,
        flag="compactor.split-groups",
        help="In how many jobs blocks are split that are split at the same time.",
        low=1,
    )
    compactor_tenant_shard_size: int = integer(
        0, flag="compactor.compactor-tenant-shard-size", help="How many compactors work for the tenant. 0 means all."
    )
    compactor_partial_block_deletion_delay: int = duration(
        "1d",
        flag="compactor.partial-block-deletion-delay",
        help="What was uploaded of a block that was never finished is deleted after so long without a change. Below 4h "
        "it is never deleted.",
    )
    compactor_block_upload_enabled: bool = switch(
        False, flag="compactor.block-upload-enabled", help="Let the tenant upload blocks over HTTP."
    )
    compactor_block_upload_validation_enabled: bool = switch(
        True,
        flag="compactor.block-upload-validation-enabled",
        help="Read the index of uploaded blocks before they become visible.",
    )
    compactor_block_upload_verify_chunks: bool = switch(
        True,
        flag="compactor.block-upload-verify-chunks",
        help="Read all chunks of uploaded blocks too.",
    )
    compactor_block_upload_max_block_size_bytes: int = integer(
        0,
        flag="compactor.block-upload-max-block-size-bytes",
        help="Largest block that may be uploaded, in bytes. 0 means no limit.",
        category=ADVANCED,
    )
    compactor_max_lookback: int = duration(
        "0s",
        flag="compactor.max-lookback",
        help="Blocks that were uploaded longer ago are not compacted any more. 0 means no limit.",
        category=EXPERIMENTAL,
    )


class Limits:
    """Answers which limits hold for a tenant. Safe to read from any thread; replaced by the runtime configuration."""

    def __init__(self, *, defaults: TenantLimits, overrides: Mapping[str, TenantLimits] | None = None) -> None:
        self._defaults = defaults
        self._overrides: Mapping[str, TenantLimits] = MappingProxyType(dict(overrides or {}))

    def for_tenant(self, tenant: str) -> TenantLimits:
        return self._overrides.get(tenant, self._defaults)

    @property
    def defaults(self) -> TenantLimits:
        return self._defaults

    @property
    def overrides(self) -> Mapping[str, TenantLimits]:
        """The tenants with limits of their own: defaults overlaid by the runtime file. Read-only."""
        return self._overrides

    def replace_overrides(self, overrides: Mapping[str, TenantLimits]) -> None:
        """From now on these are all the overrides there are."""
        self._overrides = MappingProxyType(dict(overrides))
