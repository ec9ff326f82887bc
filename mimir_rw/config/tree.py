"""The configuration tree: every setting this version has, with Mimir's YAML keys and flags.

Defaults are Mimir 2.17's except where a leaf carries a `Departure`; `departures()` lists those. Durations are int
milliseconds, sizes bytes. A component brings its section when it is built: there is no setting here that nothing reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.settings import (
    Category,
    Departure,
    Placed,
    duration,
    integer,
    names,
    number,
    repeated,
    section,
    switch,
    text,
    walk,
)

ADVANCED = Category.ADVANCED
EXPERIMENTAL = Category.EXPERIMENTAL
PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class ApiConfig:
    prometheus_http_prefix: str = text(
        "/prometheus",
        flag="http.prometheus-http-prefix",
        help="URL path under which the Prometheus API is served.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class ServerTlsConfig:
    """TLS of a listener. It is on when a certificate and its key are given, inline or as files."""

    cert: str = text("", flag=None, help="Server certificate (PEM).")
    key: str = text("", flag=None, help="Key of the server certificate (PEM).", secret=True)
    client_ca: str = text("", flag=None, help="Certificates (PEM) of the authorities that sign client certificates.")
    cert_file: str = text("", flag="-cert-path", help="File with the server certificate (PEM).", category=ADVANCED)
    key_file: str = text(
        "", flag="-key-path", help="File with the key of the server certificate (PEM).", category=ADVANCED
    )
    client_auth_type: str = text(
        "",
        flag="-client-auth",
        help="Whether clients show a certificate, and whether it must be signed by the client authority.",
        category=ADVANCED,
        choices=(
            "",
            "NoClientCert",
            "RequestClientCert",
            "RequireAnyClientCert",
            "VerifyClientCertIfGiven",
            "RequireAndVerifyClientCert",
        ),
    )
    client_ca_file: str = text(
        "",
        flag="-ca-path",
        help="File with the certificates (PEM) of the authorities that sign client certificates.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class ServerConfig:
    http_listen_address: str = text(
        "", flag="server.http-listen-address", help="Address the HTTP server listens on; empty means all."
    )
    http_listen_port: int = integer(
        8080, flag="server.http-listen-port", help="Port the HTTP server listens on; 0 picks a free one.", high=PORT_MAX
    )
    grpc_listen_port: int = integer(
        9095,
        flag="server.grpc-listen-port",
        help="Port for calls between processes, in the role that gRPC has in Mimir; one process alone does not use it.",
        high=PORT_MAX,
    )
    tls_cipher_suites: tuple[str, ...] = names(
        (), flag="server.tls-cipher-suites", help="TLS cipher suites to offer; empty means a sound choice."
    )
    tls_min_version: str = text(
        "",
        flag="server.tls-min-version",
        help="Lowest TLS version to accept; empty means TLS 1.2.",
        choices=("", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"),
    )
    http_tls_config: ServerTlsConfig = section(ServerTlsConfig, flag_prefix="server.http-tls")
    graceful_shutdown_timeout: int = duration(
        "30s",
        flag="server.graceful-shutdown-timeout",
        help="How long running requests may take to end at shutdown.",
        category=ADVANCED,
    )
    http_server_read_timeout: int = duration(
        "30s",
        flag="server.http-read-timeout",
        help="Longest time for reading a whole HTTP request.",
        category=ADVANCED,
    )
    http_server_idle_timeout: int = duration(
        "2m",
        flag="server.http-idle-timeout",
        help="How long an HTTP connection may wait for its next request.",
        category=ADVANCED,
    )
    log_format: str = text("logfmt", flag="log.format", help="Format of log lines.", choices=("logfmt", "json"))
    log_level: str = text(
        "info", flag="log.level", help="Lowest level that is logged.", choices=("debug", "info", "warn", "error")
    )
    pid_file: str = text("", flag="server.pid-file", help="File that holds the process id while the process runs.")
    http_path_prefix: str = text(
        "", flag="server.path-prefix", help="URL path under which everything is served.", category=ADVANCED
    )


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
    instance_limits: DistributorInstanceLimits = section(DistributorInstanceLimits)


@dataclass(frozen=True, slots=True)
class KvStoreConfig:
    store: str = text(
        "inmemory",
        flag=".store",
        help="Where the ring is kept. One process is a ring of its own with either of inmemory and memberlist.",
        choices=("inmemory", "memberlist", "consul", "etcd", "multi"),
        departure=Departure("memberlist", "a single process has nobody to gossip with"),
    )


@dataclass(frozen=True, slots=True)
class IngesterRingConfig:
    kvstore: KvStoreConfig = section(KvStoreConfig)
    replication_factor: int = integer(
        1,
        flag=".replication-factor",
        help="How many ingesters hold each series; a single process holds one copy.",
        low=1,
        departure=Departure("3", "a single process can hold one copy only"),
    )


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
    rate_update_period: int = duration(
        "15s",
        flag="ingester.rate-update-period",
        help="How often the ingestion rates of tenants are brought up to date.",
        category=ADVANCED,
        low="100ms",
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
    query_stats_enabled: bool = switch(
        True,
        flag="query-frontend.query-stats-enabled",
        help="Log a line with statistics for every query.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class TsdbConfig:
    dir: str = text(
        "./tsdb/", flag=".dir", help="Directory of the write-ahead logs and local blocks; one directory per tenant."
    )
    wal_compression_enabled: bool = switch(
        False, flag=".wal-compression-enabled", help="Compress the write-ahead log.", category=ADVANCED
    )
    wal_segment_size_bytes: int = integer(
        128 << 20,
        flag=".wal-segment-size-bytes",
        help="Size of a segment file of the write-ahead log, in whole pages of 32 KiB.",
        category=ADVANCED,
        low=32 << 10,
        high=1 << 30,
    )
    wal_fsync: str = text(
        "segment",
        flag=".wal-fsync",
        help="When the write-ahead log is forced to disk: segment (when a segment is full, as Prometheus does), "
        "interval (every second) or always (before a push is acknowledged).",
        category=ADVANCED,
        choices=("segment", "interval", "always"),
    )
    wal_replay_concurrency: int = integer(
        0,
        flag=".wal-replay-concurrency",
        help="Write-ahead logs replayed at once at start. 0 means half of the cores.",
        category=ADVANCED,
    )
    out_of_order_capacity_max: int = integer(
        32,
        flag=".out-of-order-capacity-max",
        help="Samples in a chunk of out-of-order samples.",
        category=EXPERIMENTAL,
        low=1,
        high=255,
    )


@dataclass(frozen=True, slots=True)
class BlocksStorageConfig:
    backend: str = text(
        "filesystem",
        flag="blocks-storage.backend",
        help="Kind of bucket that holds the blocks; only filesystem is available yet.",
        choices=("filesystem", "s3", "gcs", "azure", "swift"),
    )
    tsdb: TsdbConfig = section(TsdbConfig, flag_prefix="blocks-storage.tsdb")


@dataclass(frozen=True, slots=True)
class RuntimeConfigConfig:
    period: int = duration(
        "10s",
        flag="runtime-config.reload-period",
        help="How often the runtime files are looked at for changes.",
        category=ADVANCED,
        low="100ms",
    )
    file: tuple[str, ...] = names(
        (),
        flag="runtime-config.file",
        help="YAML files that are read again while running; later ones overlay earlier ones.",
    )


@dataclass(frozen=True, slots=True)
class MemberlistConfig:
    cluster_label: str = text(
        "mimir-rw",
        flag="memberlist.cluster-label",
        help="Name of the cluster; members with another label are not listened to.",
        category=ADVANCED,
        departure=Departure("", "instances must never gossip with a Mimir cluster by accident"),
    )
    join_members: tuple[str, ...] = repeated(
        (), flag="memberlist.join", help="Members to join at start; clusters are not available yet."
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
    api: ApiConfig = section(ApiConfig)
    server: ServerConfig = section(ServerConfig)
    distributor: DistributorConfig = section(DistributorConfig)
    querier: QuerierConfig = section(QuerierConfig)
    ingester: IngesterConfig = section(IngesterConfig)
    limits: TenantLimits = section(TenantLimits)
    frontend: FrontendConfig = section(FrontendConfig)
    blocks_storage: BlocksStorageConfig = section(BlocksStorageConfig)
    runtime_config: RuntimeConfigConfig = section(RuntimeConfigConfig)
    memberlist: MemberlistConfig = section(MemberlistConfig)


def departures() -> Iterator[tuple[Placed, Departure]]:
    """Every default that differs from Mimir 2.17's."""
    for placed in walk(Config):
        if placed.leaf.departure is not None:
            yield placed, placed.leaf.departure
