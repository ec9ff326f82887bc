"""The configuration tree: every setting this version has, with Mimir's YAML keys and flags.

Defaults are Mimir 2.17's except where a leaf carries a `Departure`; `departures()` lists those. Durations are int
milliseconds, sizes bytes. A component brings its section when it is built: there is no setting here that nothing reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mimir_rw.config.bucket_store import BucketStoreConfig
from mimir_rw.config.compactor import CompactorConfig
from mimir_rw.config.kvstore import (
    ADVANCED,
    EXPERIMENTAL,
    PORT_MAX,
    ClientTlsConfig,
    MemberlistConfig,
)
from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.process import ApiConfig, CommonConfig, RuntimeConfigConfig, ServerConfig
from mimir_rw.config.rings import (
    ForgettingRingConfig,
    IngesterRingConfig,
    OverridesExporterRingConfig,
    StoreGatewayRingConfig,
)
from mimir_rw.config.settings import (
    Departure,
    Placed,
    Value,
    duration,
    integer,
    names,
    number,
    section,
    switch,
    text,
    walk,
)
from mimir_rw.config.storage import BACKENDS, BlocksFilesystemConfig, S3Config
from mimir_rw.config.tsdb import TsdbConfig

LIMIT_METRICS = (
    "ingestion_rate",
    "ingestion_burst_size",
    "ingestion_burst_factor",
    "max_global_series_per_user",
    "max_global_series_per_metric",
    "max_global_exemplars_per_user",
    "max_fetched_chunks_per_query",
    "max_fetched_series_per_query",
    "max_fetched_chunk_bytes_per_query",
    "max_estimated_memory_consumption_per_query",
    "ruler_max_rules_per_rule_group",
    "ruler_max_rule_groups_per_tenant",
    "max_global_metadata_per_user",
    "max_global_metadata_per_metric",
    "request_rate",
    "request_burst_size",
    "ingestion_tenant_shard_size",
)
"""Limits that the overrides-exporter may be asked for; it exports those of them that there are."""


@dataclass(frozen=True, slots=True)
class RetryAfterConfig:
    enabled: bool = switch(
        True,
        flag="distributor.retry-after-header.enabled",
        help="Send Retry-After with 429 and 5xx answers to pushes.",
        category=ADVANCED,
    )
    min_backoff: int = duration(
        "6s",
        flag="distributor.retry-after-header.min-backoff",
        help="Retry-After of a first attempt; it doubles with each further one and has up to 50% jitter.",
        category=ADVANCED,
        low="1s",
    )
    max_backoff: int = duration(
        "1m36s",
        flag="distributor.retry-after-header.max-backoff",
        help="Longest Retry-After.",
        category=ADVANCED,
        low="1s",
    )


@dataclass(frozen=True, slots=True)
class DistributorInstanceLimits:
    """Limits of one process over all tenants; `distributor_limits` of the runtime file overlays them."""

    max_ingestion_rate: float = number(
        0,
        flag="distributor.instance-limits.max-ingestion-rate",
        help="Samples per second this distributor accepts, as a moving average. 0 means no limit.",
        category=ADVANCED,
    )
    max_inflight_push_requests: int = integer(
        2000,
        flag="distributor.instance-limits.max-inflight-push-requests",
        help="Push requests this distributor works on at once. 0 means no limit.",
        category=ADVANCED,
    )
    max_inflight_push_requests_bytes: int = integer(
        0,
        flag="distributor.instance-limits.max-inflight-push-requests-bytes",
        help="Bytes of push requests this distributor works on at once. 0 means no limit.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class DistributorConfig:
    retry_after_header: RetryAfterConfig = section(RetryAfterConfig)
    max_recv_msg_size: int = integer(
        100 << 20,
        flag="distributor.max-recv-msg-size",
        help="Largest remote write body accepted, in bytes, uncompressed.",
        category=ADVANCED,
        low=1,
    )
    max_receiving_bytes: int = integer(
        1 << 30,
        flag="distributor.max-receiving-bytes",
        help="Bytes of push bodies, as sent, that may be in memory at once; further pushes get 503. 0 means no limit.",
        category=ADVANCED,
    )
    remote_timeout: int = duration(
        "2s",
        flag="distributor.remote-timeout",
        help="Longest time an ingester may take for a push.",
        category=ADVANCED,
        low="1ms",
    )
    ingester_queue_bytes_max: int = integer(
        64 << 20,
        flag="distributor.ingester-queue-bytes-max",
        help="Bytes that may wait for one ingester, what it is working on included; what comes then is not sent to it.",
        category=ADVANCED,
        low=1,
    )
    ingester_queue_series_max: int = integer(
        1_000_000,
        flag="distributor.ingester-queue-series-max",
        help="Series, each counted once per push, that may wait for one ingester, what it is working on included.",
        category=ADVANCED,
        low=1,
    )
    series_references_max: int = integer(
        2_000_000,
        flag="distributor.series-references-max",
        help="Series of a tenant that are sent to an ingester without labels because it knows them; 16 bytes each. "
        "0 always sends labels.",
        category=ADVANCED,
    )
    tenants_max: int = integer(
        10_000,
        flag="distributor.tenants-max",
        help="Tenants whose rates and known series this distributor keeps in mind. Beyond it the one longest unused is "
        "forgotten, and its rates begin anew with its next push.",
        category=ADVANCED,
        low=1,
    )
    ring: ForgettingRingConfig = section(ForgettingRingConfig, flag_prefix="distributor.ring")
    instance_limits: DistributorInstanceLimits = section(DistributorInstanceLimits)


@dataclass(frozen=True, slots=True)
class CircuitBreakerConfig:
    """Keeps a distributor from waiting for an ingester that does not answer."""

    enabled: bool = switch(
        True,
        flag="ingester.client.circuit-breaker.enabled",
        help="Stop pushing to an ingester that keeps failing, until a trial push succeeds.",
        category=ADVANCED,
    )
    failure_threshold: int = integer(
        5,
        flag="ingester.client.circuit-breaker.failure-threshold",
        help="Pushes to an ingester that must fail one after the other.",
        category=ADVANCED,
        low=1,
    )
    cooldown_period: int = duration(
        "10s",
        flag="ingester.client.circuit-breaker.cooldown-period",
        help="How long an ingester is left alone before a trial.",
        category=ADVANCED,
        low="1ms",
    )


@dataclass(frozen=True, slots=True)
class IngesterClientConfig:
    """How this process calls others. The TLS settings are those of every call between processes."""

    grpc_client_config: ClientTlsConfig = section(ClientTlsConfig, flag_prefix="ingester.client")
    circuit_breaker: CircuitBreakerConfig = section(CircuitBreakerConfig)


@dataclass(frozen=True, slots=True)
class IngesterInstanceLimits:
    """Limits of one process over all tenants; `ingester_limits` of the runtime file overlays them."""

    max_ingestion_rate: float = number(
        0,
        flag="ingester.instance-limits.max-ingestion-rate",
        help="Samples per second this ingester accepts, as a moving average. 0 means no limit.",
        category=ADVANCED,
    )
    max_tenants: int = integer(
        0,
        flag="ingester.instance-limits.max-tenants",
        help="Tenants this ingester holds. 0 means no limit.",
        category=ADVANCED,
    )
    max_series: int = integer(
        0,
        flag="ingester.instance-limits.max-series",
        help="Series this ingester holds over all tenants. 0 means no limit.",
        category=ADVANCED,
    )
    max_inflight_push_requests: int = integer(
        30_000,
        flag="ingester.instance-limits.max-inflight-push-requests",
        help="Pushes this ingester works on at once. 0 means no limit.",
        category=ADVANCED,
    )
    max_inflight_push_requests_bytes: int = integer(
        0,
        flag="ingester.instance-limits.max-inflight-push-requests-bytes",
        help="Bytes of pushes this ingester works on at once. 0 means no limit.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class IngesterConfig:
    ring: IngesterRingConfig = section(IngesterRingConfig, flag_prefix="ingester.ring")
    metadata_retain_period: int = duration(
        "10m",
        flag="ingester.metadata-retain-period",
        help="How long metadata that is no longer sent stays in memory.",
        category=ADVANCED,
    )
    owned_series_update_interval: int = duration(
        "15s",
        flag="ingester.owned-series-update-interval",
        help="How often it is looked which series belong to this ingester, by the ring.",
        category=EXPERIMENTAL,
        low="100ms",
    )
    rate_update_period: int = duration(
        "15s",
        flag="ingester.rate-update-period",
        help="How often the ingestion rates of tenants are brought up to date.",
        category=ADVANCED,
        low="100ms",
    )
    hand_over_action_timeout: int = duration(
        "15m",
        flag="ingester.hand-over-action-timeout",
        help="How long one action of a hand-over is tried (others asked for their confirmation, say) before it waits "
        "for an operator.",
        category=EXPERIMENTAL,
        low="1s",
    )
    instance_limits: IngesterInstanceLimits = section(IngesterInstanceLimits)


@dataclass(frozen=True, slots=True)
class QuerierConfig:
    max_concurrent: int = integer(
        20, flag="querier.max-concurrent", help="Queries evaluated at once by a process; at least 4.", low=1
    )
    timeout: int = duration("2m", flag="querier.timeout", help="Longest time a query may take.", low="1ms")
    max_samples: int = integer(
        50_000_000, flag="querier.max-samples", help="Samples a query may hold in memory at once. 0 means no limit."
    )
    default_evaluation_interval: int = duration(
        "1m",
        flag="querier.default-evaluation-interval",
        help="Step of subqueries that name none.",
        category=ADVANCED,
        low="1ms",
    )
    lookback_delta: int = duration(
        "5m",
        flag="querier.lookback-delta",
        help="How old the newest sample of a series may be for an instant selector to return it.",
        category=ADVANCED,
        low="1ms",
    )
    query_store_after: int = duration(
        "12h",
        flag="querier.query-store-after",
        help="The store is asked only for what is older, but for what ingesters that left have handed over. 0 means "
        "that it is asked for everything.",
        category=ADVANCED,
    )
    shuffle_sharding_ingesters_enabled: bool = switch(
        True,
        flag="querier.shuffle-sharding-ingesters-enabled",
        help="Ask only the ingesters that may have had series of the tenant within limits.query_ingesters_within.",
        category=ADVANCED,
    )
    minimize_ingester_requests: bool = switch(
        True,
        flag="querier.minimize-ingester-requests",
        help="Ask as few ingesters as a quorum needs first, and others when those fail or are slow.",
        category=ADVANCED,
    )
    minimize_ingester_requests_hedging_delay: int = duration(
        "500ms",
        flag="querier.minimize-ingester-requests-hedging-delay",
        help="How long an answer may take before others are asked too. 0 asks them on failure only.",
        category=ADVANCED,
        departure=Departure("3s", "a stopped ingester costs a query half a second"),
    )
    prefer_availability_zone: str = text(
        "",
        flag="querier.prefer-availability-zone",
        help="Zone whose ingesters are asked first; empty means common.instance_availability_zone.",
        category=EXPERIMENTAL,
    )
    ring: ForgettingRingConfig = section(ForgettingRingConfig, flag_prefix="querier.ring")


@dataclass(frozen=True, slots=True)
class FrontendConfig:
    log_queries_longer_than: int = duration(
        "0s",
        flag="query-frontend.log-queries-longer-than",
        help="Log queries that take longer. 0 logs none, a negative duration all.",
        low="-2562047h",
    )
    max_body_size: int = integer(
        10 << 20,
        flag="query-frontend.max-body-size",
        help="Largest body of a query request accepted, in bytes.",
        category=ADVANCED,
        low=1,
    )
    max_retries: int = integer(
        5,
        flag="query-frontend.max-retries-per-request",
        help="How often a query that failed for no fault of its own is tried again.",
        category=ADVANCED,
    )
    not_running_timeout: int = duration(
        "2s",
        flag="query-frontend.not-running-timeout",
        help="How long a request waits for a query-frontend that starts, and for a query-scheduler to be known.",
        category=ADVANCED,
    )
    instance_interface_names: tuple[str, ...] = names(
        (),
        flag="query-frontend.instance-interface-names",
        help="Network interfaces whose address queriers send results to; empty means common.instance_interface_names.",
        category=ADVANCED,
    )
    address: str = text(
        "",
        flag="query-frontend.instance-addr",
        help="Address that queriers send results to; empty means common.instance_addr.",
        category=ADVANCED,
    )
    port: int = integer(
        0,
        flag="query-frontend.instance-port",
        help="Port that queriers send results to; 0 means server.grpc_listen_port.",
        category=ADVANCED,
        high=PORT_MAX,
    )
    query_stats_enabled: bool = switch(
        True,
        flag="query-frontend.query-stats-enabled",
        help="Log a line with statistics for every query.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class BlocksStorageConfig:
    """`backend`, `s3` and `filesystem` are those of common.storage where they are not told here."""

    backend: str = text(
        "filesystem",
        flag="blocks-storage.backend",
        help="Kind of object storage that holds the blocks: filesystem or s3.",
        choices=BACKENDS,
    )
    s3: S3Config = section(S3Config, flag_prefix="blocks-storage.s3")
    filesystem: BlocksFilesystemConfig = section(BlocksFilesystemConfig, flag_prefix="blocks-storage.filesystem")
    storage_prefix: str = text(
        "",
        flag="blocks-storage.storage-prefix",
        help="Directory in the bucket that holds everything; letters and digits.",
        category=EXPERIMENTAL,
    )
    bucket_store: BucketStoreConfig = section(BucketStoreConfig, flag_prefix="blocks-storage.bucket-store")
    tsdb: TsdbConfig = section(TsdbConfig, flag_prefix="blocks-storage.tsdb")


@dataclass(frozen=True, slots=True)
class FrontendWorkerConfig:
    """The querier's side of the queues."""

    id: str = text(
        "",
        flag="querier.id",
        help="Name of this querier; empty means common.instance_id, and else the host's name.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class QuerySchedulerConfig:
    max_outstanding_requests_per_tenant: int = integer(
        100,
        flag="query-scheduler.max-outstanding-requests-per-tenant",
        help="Queries of a tenant that may wait in one query-scheduler; further ones get 429.",
        low=1,
    )
    querier_forget_delay: int = duration(
        "0s",
        flag="query-scheduler.querier-forget-delay",
        help="How long a querier that was lost keeps its share of the tenants.",
        category=EXPERIMENTAL,
    )
    max_used_instances: int = integer(
        2,
        flag="query-scheduler.max-used-instances",
        help="How many query-schedulers are in use, of all that there are. 0 means all.",
        category=EXPERIMENTAL,
        departure=Departure("0", "they are found by their ring, not by DNS, and two are enough"),
    )
    ring: ForgettingRingConfig = section(ForgettingRingConfig, flag_prefix="query-scheduler.ring")


@dataclass(frozen=True, slots=True)
class StoreGatewayConfig:
    sharding_ring: StoreGatewayRingConfig = section(StoreGatewayRingConfig, flag_prefix="store-gateway.sharding-ring")


@dataclass(frozen=True, slots=True)
class OverridesExporterConfig:
    ring: OverridesExporterRingConfig = section(OverridesExporterRingConfig, flag_prefix="overrides-exporter.ring")
    enabled_metrics: tuple[str, ...] = names(
        (
            "ingestion_rate",
            "ingestion_burst_size",
            "max_global_series_per_user",
            "max_global_series_per_metric",
            "max_global_exemplars_per_user",
            "max_fetched_chunks_per_query",
            "max_fetched_series_per_query",
            "max_fetched_chunk_bytes_per_query",
            "ruler_max_rules_per_rule_group",
            "ruler_max_rule_groups_per_tenant",
        ),
        flag="overrides-exporter.enabled-metrics",
        help="Limits to export; those that are not here yet are left out.",
        choices=LIMIT_METRICS,
    )


@dataclass(frozen=True, slots=True)
class Config:
    target: tuple[str, ...] = names(
        ("all",), flag="target", help="Components to run. -modules lists them and what is part of which."
    )
    multitenancy_enabled: bool = switch(
        True,
        flag="auth.multitenancy-enabled",
        help="Take the tenant from the X-Scope-OrgID header of each request. Otherwise it is no_auth_tenant.",
    )
    no_auth_tenant: str = text(
        "anonymous", flag="auth.no-auth-tenant", help="Tenant of all requests without multitenancy.", category=ADVANCED
    )
    shutdown_delay: int = duration(
        "0s",
        flag="shutdown-delay",
        help="How long the process reports not ready before it begins to stop.",
        category=ADVANCED,
    )
    common: CommonConfig = section(CommonConfig)
    api: ApiConfig = section(ApiConfig)
    server: ServerConfig = section(ServerConfig)
    distributor: DistributorConfig = section(DistributorConfig)
    querier: QuerierConfig = section(QuerierConfig)
    ingester_client: IngesterClientConfig = section(IngesterClientConfig)
    ingester: IngesterConfig = section(IngesterConfig)
    limits: TenantLimits = section(TenantLimits)
    frontend_worker: FrontendWorkerConfig = section(FrontendWorkerConfig)
    frontend: FrontendConfig = section(FrontendConfig)
    blocks_storage: BlocksStorageConfig = section(BlocksStorageConfig)
    store_gateway: StoreGatewayConfig = section(StoreGatewayConfig)
    runtime_config: RuntimeConfigConfig = section(RuntimeConfigConfig)
    memberlist: MemberlistConfig = section(MemberlistConfig, flag_prefix="memberlist")
    query_scheduler: QuerySchedulerConfig = section(QuerySchedulerConfig)
    overrides_exporter: OverridesExporterConfig = section(OverridesExporterConfig)
    compactor: CompactorConfig = section(CompactorConfig)


INHERITING = {("common", "storage"): (("blocks_storage",),)}
"""Sections whose settings are those of others where these are not told."""


def inherited(values: Mapping[tuple[str, ...], Value]) -> dict[tuple[str, ...], Value]:
    """What one source (a file, the flags) tells, with what it tells for a common section told for each place that takes
    it from there; flags for all, as in Mimir, thus win over a file's word for one."""
    found = dict(values)
    for common, places in INHERITING.items():
        for path, value in values.items():
            if path[: len(common)] == common:
                for place in places:
                    found.setdefault((*place, *path[len(common) :]), value)
    return found


def chosen_defaults(target: Sequence[str], join_members: Sequence[str]) -> dict[tuple[str, ...], Value]:
    """Defaults that are not those of the tree: a process that does everything and joins nobody is alone."""
    if "all" not in target or join_members:
        return {}
    return {
        placed.path: placed.leaf.parse(departure.alone)
        for placed, departure in departures()
        if departure.alone is not None
    }


def departures() -> Iterator[tuple[Placed, Departure]]:
    """Every default that differs from Mimir 2.17's."""
    for placed in walk(Config):
        if placed.leaf.departure is not None:
            yield placed, placed.leaf.departure
