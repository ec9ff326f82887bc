"""What must hold between settings. Each check names the setting as users write it; the first one broken is raised."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping

from mimir_rw.config.compactor import block_ranges_ms
from mimir_rw.config.errors import ConfigError, quoted
from mimir_rw.config.kvstore import SINGLE_STORES
from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.process import ServerConfig, ServerTlsConfig
from mimir_rw.config.rings import RingConfig
from mimir_rw.config.settings import walk
from mimir_rw.config.storage import MISSING_BACKENDS, PART_BYTES_MIN, S3Config
from mimir_rw.config.time_chain import time_problems
from mimir_rw.config.tree import Config
from mimir_rw.config.tsdb import TsdbConfig
from mimir_rw.config.values import format_duration
from mimir_rw.model.errors import BadRequest
from mimir_rw.model.tenant import validate_tenant

_WAL_PAGE_BYTES = 32 << 10
_BLOCK_RANGE_MIN_MS = 1000

_RING_FLAGS = {"compactor.sharding_ring": "compactor.ring"}
"""Where Mimir's flag is not its key."""

Problem = tuple[str, str]
"""The key of the setting to change, and what is wrong with it."""


def check_config(config: Config, origins: Mapping[tuple[str, ...], str]) -> None:
    """Raise ConfigError for the first problem. origins: FILE:LINE of settings that come from a file."""
    for key, message in _problems(config):
        path = tuple(key.split("."))
        origin = f"{origins[path]}: " if path in origins else ""
        flag = next((placed.flag for placed in walk(Config) if placed.path == path), None)
        raise ConfigError(f"{origin}{key}{f' (-{flag})' if flag else ''}: {message}")


def limits_problem(limits: TenantLimits) -> Problem | None:
    """What is wrong between one tenant's limits; the key is without `limits.`."""
    if 0 < limits.ingestion_burst_factor < 1:
        return "ingestion_burst_factor", "must be 0 or at least 1"
    return None


def _problems(config: Config) -> Iterator[Problem]:
    if not config.target:
        yield "target", "must name a component"
    try:
        validate_tenant(config.no_auth_tenant)
    except BadRequest as error:
        yield "no_auth_tenant", str(error)
    yield from _server_problems(config.server)
    yield from _prefix_problems("api.prometheus_http_prefix", config.api.prometheus_http_prefix)
    if config.server.http_path_prefix:
        yield from _prefix_problems("server.http_path_prefix", config.server.http_path_prefix.rstrip("/"))
    retry = config.distributor.retry_after_header
    if retry.min_backoff > retry.max_backoff:
        yield "distributor.retry_after_header.min_backoff", "must not be above max_backoff"
    problem = limits_problem(config.limits)
    if problem is not None:
        yield f"limits.{problem[0]}", problem[1]
    yield from _storage_problems(config)
    try:
        block_ranges_ms(config.compactor)
    except ValueError as error:
        yield "compactor.block_ranges", str(error)
    yield from time_problems(config)
    yield from _cache_problems(config)
    yield from _cluster_problems(config)


def _server_problems(server: ServerConfig) -> Iterator[Problem]:
    if server.http_listen_port == server.grpc_listen_port != 0:
        yield "server.http_listen_port", "must differ from server.grpc_listen_port (-server.grpc-listen-port)"
    for kind, tls in (("http", server.http_tls_config), ("grpc", server.grpc_tls_config)):
        yield from _listener_tls_problems(f"server.{kind}_tls_config", f"-server.{kind}-tls", tls)


def _listener_tls_problems(at: str, flags: str, tls: ServerTlsConfig) -> Iterator[Problem]:
    for name, inline, file in (
        ("cert", tls.cert, tls.cert_file),
        ("key", tls.key, tls.key_file),
        ("client_ca", tls.client_ca, tls.client_ca_file),
    ):
        if inline and file:
            yield f"{at}.{name}_file", f"cannot be used together with {name}"
    has_cert, has_key = bool(tls.cert or tls.cert_file), bool(tls.key or tls.key_file)
    if has_cert and not has_key:
        yield f"{at}.{'cert' if tls.cert else 'cert_file'}", f"needs key_file ({flags}-key-path) too"
    if has_key and not has_cert:
        yield f"{at}.{'key' if tls.key else 'key_file'}", f"needs cert_file ({flags}-cert-path) too"
    if tls.client_auth_type not in ("", "NoClientCert") and not has_cert:
        yield f"{at}.client_auth_type", "needs cert_file and key_file"
    verifies = tls.client_auth_type in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    if verifies and not (tls.client_ca or tls.client_ca_file):
        yield f"{at}.client_auth_type", f"{tls.client_auth_type} needs client_ca_file ({flags}-ca-path)"


def _prefix_problems(key: str, prefix: str) -> Iterator[Problem]:
    if not prefix.startswith("/") or prefix.endswith("/") or not prefix.isprintable() or set(prefix) & set("?#% {}"):
        yield key, f"{quoted(prefix)} is not a path that begins with / and does not end with one"


def _storage_problems(config: Config) -> Iterator[Problem]:
    storage = config.blocks_storage
    for key, backend in (
        ("common.storage.backend", config.common.storage.backend), ("blocks_storage.backend", storage.backend)
    ):  # fmt: skip
        if backend in MISSING_BACKENDS:
            yield key, f"{backend} is not supported: use s3 or filesystem"
    if not storage.tsdb.dir:
        yield "blocks_storage.tsdb.dir", "must name a directory"
    if storage.storage_prefix and not (storage.storage_prefix.isascii() and storage.storage_prefix.isalnum()):
        yield "blocks_storage.storage_prefix", f"{quoted(storage.storage_prefix)} is not letters and digits only"
    if storage.backend == "s3":
        yield from _s3_problems("blocks_storage.s3", storage.s3)
    else:
        yield from _filesystem_problems("blocks_storage.filesystem", storage.filesystem.dir, storage.tsdb.dir)
    if storage.tsdb.wal_segment_size_bytes % _WAL_PAGE_BYTES:
        yield "blocks_storage.tsdb.wal_segment_size_bytes", f"must be a multiple of {_WAL_PAGE_BYTES}"
    yield from _block_range_problems(storage.tsdb)


def _block_range_problems(tsdb: TsdbConfig) -> Iterator[Problem]:
    key = "blocks_storage.tsdb.block_ranges_period"
    if len(tsdb.block_ranges_period) != 1:
        yield key, "must be one duration: blocks are compacted to longer ranges by the compactor only"
        return
    try:
        range_ms = tsdb.block_range_ms
    except ValueError as error:
        yield key, str(error)
        return
    if range_ms < _BLOCK_RANGE_MIN_MS:
        yield key, f"must be at least {format_duration(_BLOCK_RANGE_MIN_MS)}"


def _filesystem_problems(at: str, bucket: str, tsdb: str) -> Iterator[Problem]:
    if not bucket:
        yield f"{at}.dir", "must name a directory"
        return
    one, other = os.path.abspath(bucket), os.path.abspath(tsdb)
    if os.path.commonpath((one, other)) in (one, other):
        yield f"{at}.dir", f"must not be, hold or be in blocks_storage.tsdb.dir (-blocks-storage.tsdb.dir), {tsdb}"


def _s3_problems(at: str, s3: S3Config) -> Iterator[Problem]:
    flags = "-" + at.replace("_", "-")
    if not s3.bucket_name:
        yield f"{at}.bucket_name", "must name the bucket"
    if not s3.endpoint and not s3.region:
        yield f"{at}.endpoint", f"must be the server's host, or region ({flags}.region) one of Amazon's"
    if "/" in s3.endpoint or not s3.endpoint.isprintable():
        yield f"{at}.endpoint", f"{quoted(s3.endpoint)} is not host or host:port; insecure chooses http"
    if bool(s3.access_key_id) != bool(s3.secret_access_key):
        yield f"{at}.access_key_id", f"must be set together with secret_access_key ({flags}.secret-access-key)"
    if 0 < s3.part_size < PART_BYTES_MIN:
        yield f"{at}.part_size", f"must be 0 or at least {PART_BYTES_MIN}"
    if s3.sse.type == "SSE-KMS" and not s3.sse.kms_key_id:
        yield f"{at}.sse.kms_key_id", "must name a key for SSE-KMS"
    if s3.sse.kms_encryption_context and not _texts_by_name(s3.sse.kms_encryption_context):
        yield f"{at}.sse.kms_encryption_context", "is not a JSON object of texts"
    if bool(s3.http.tls_cert_path) != bool(s3.http.tls_key_path):
        yield f"{at}.http.tls_cert_path", "must be set together with tls_key_path"


def _texts_by_name(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _cache_problems(config: Config) -> Iterator[Problem]:
    store = config.blocks_storage.bucket_store
    for name, cache in (("index_cache", store.index_cache), ("chunks_cache", store.chunks_cache)):
        if cache.backend == "memcached" and not cache.memcached.addresses:
            flag = f"-blocks-storage.bucket-store.{name.replace('_', '-')}.memcached.addresses"
            yield f"blocks_storage.bucket_store.{name}.backend", f"memcached needs memcached.addresses ({flag})"


def _cluster_problems(config: Config) -> Iterator[Problem]:
    for key, ring in rings(config).items():
        yield from _ring_problems(key, ring_flags(key), ring)
    ingesters = config.ingester.ring
    zones = ingesters.spread_minimizing_zones
    at = "ingester.ring"
    if (zone := zone_of(config)) and zone in ingesters.excluded_zones:
        yield f"{at}.excluded_zones", f"must not have the zone of this process (-{at}.instance-availability-zone)"
    if ingesters.token_generation_strategy == "spread-minimizing" and not zones:
        yield (
            f"{at}.token_generation_strategy",
            f"needs spread_minimizing_zones (-{at.replace('_', '-')}.spread-minimizing-zones)",
        )
    if zones and ingesters.zone_awareness_enabled and len(zones) < ingesters.replication_factor:
        message = f"{len(zones)} zones cannot hold replication_factor (-{at}.replication-factor) copies"
        yield f"{at}.spread_minimizing_zones", message
    yield from _address_problems(config)
    yield from _memberlist_problems(config)


def zone_of(config: Config, ring: str = "ingester") -> str:
    """The zone of this process as a ring shows it, "" if it has none."""
    own = config.ingester.ring.instance_availability_zone
    if ring == "store-gateway":
        own = config.store_gateway.sharding_ring.instance_availability_zone
    return own or config.common.instance_availability_zone


def ring_name(key: str) -> str:
    """The name of a ring by its YAML key: `query-scheduler` for `query_scheduler.ring`."""
    return key.partition(".")[0].replace("_", "-")


def rings(config: Config) -> Mapping[str, RingConfig]:
    """Every ring's settings, by YAML key."""
    return {
        "ingester.ring": config.ingester.ring,
        "distributor.ring": config.distributor.ring,
        "query_scheduler.ring": config.query_scheduler.ring,
        "querier.ring": config.querier.ring,
        "store_gateway.sharding_ring": config.store_gateway.sharding_ring,
        "overrides_exporter.ring": config.overrides_exporter.ring,
        "compactor.sharding_ring": config.compactor.sharding_ring,
    }


def ring_flags(key: str) -> str:
    """What the flags of a ring begin with, by its YAML key."""
    return _RING_FLAGS.get(key, key.replace("_", "-"))


def _ring_problems(key: str, flags: str, ring: RingConfig) -> Iterator[Problem]:
    if 0 < ring.heartbeat_timeout <= ring.heartbeat_period:
        yield f"{key}.heartbeat_timeout", f"must be above heartbeat_period (-{flags}.heartbeat-period)"
    if ring.heartbeat_timeout and not ring.heartbeat_period:
        yield f"{key}.heartbeat_period", f"cannot be 0 while heartbeat_timeout (-{flags}.heartbeat-timeout) is not"
    stores = {ring.kvstore.store: "store"}
    if ring.kvstore.store == "multi":
        multi = ring.kvstore.multi
        stores = {multi.primary: "multi.primary", multi.secondary: "multi.secondary"}
        if len(stores) < 2:
            yield f"{key}.kvstore.multi.secondary", f"must not be primary (-{flags}.multi.primary) as well"
        for store, name in stores.items():
            if store not in SINGLE_STORES:
                yield f"{key}.kvstore.{name}", f"must be one of {', '.join(SINGLE_STORES)}"
    if "etcd" in stores and not ring.kvstore.etcd.endpoints:
        name = "store" if stores["etcd"] == "store" else stores["etcd"]
        yield f"{key}.kvstore.{name}", f"etcd needs endpoints (-{flags}.etcd.endpoints)"


def _address_problems(config: Config) -> Iterator[Problem]:
    addresses = {
        "common.instance_addr": config.common.instance_addr,
        "memberlist.advertise_addr": config.memberlist.advertise_addr,
        "frontend.address": config.frontend.address,
        **{f"{key}.instance_addr": ring.instance_addr for key, ring in rings(config).items()},
    }
    for key, address in addresses.items():
        if address in ("0.0.0.0", "::", "[::]"):
            yield key, f"{quoted(address)} is no address that others could connect to"


def _memberlist_problems(config: Config) -> Iterator[Problem]:
    gossip, server = config.memberlist, config.server
    if gossip.min_join_backoff > gossip.max_join_backoff:
        message = "must not be above max_join_backoff (-memberlist.max-join-backoff)"
        yield "memberlist.min_join_backoff", message
    if gossip.bind_port:
        for name in ("http", "grpc"):
            if gossip.bind_port == getattr(server, f"{name}_listen_port"):
                yield "memberlist.bind_port", f"must differ from server.{name}_listen_port (-server.{name}-listen-port)"
    if gossip.tls_enabled and not (gossip.tls_cert_path and gossip.tls_key_path):
        yield "memberlist.tls_enabled", "needs tls_cert_path and tls_key_path (-memberlist.tls-cert-path, …-key-path)"
    for path, client in (
        ("memberlist", gossip),
        ("ingester_client.grpc_client_config", config.ingester_client.grpc_client_config),
    ):
        if bool(client.tls_cert_path) != bool(client.tls_key_path):
            yield f"{path}.tls_cert_path", "must be set together with tls_key_path"
