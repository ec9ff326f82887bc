"""What must hold between settings. Each check names the setting as users write it; the first one broken is raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mimir_rw.config.errors import ConfigError, quoted
from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.settings import walk
from mimir_rw.config.tree import Config, ServerConfig
from mimir_rw.model.errors import BadRequest
from mimir_rw.model.tenant import validate_tenant

_WAL_PAGE_BYTES = 32 << 10
_NO_CLUSTER = "clusters are not available yet: this version is one process"

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
    yield from _cluster_problems(config)


def _server_problems(server: ServerConfig) -> Iterator[Problem]:
    if server.http_listen_port == server.grpc_listen_port != 0:
        yield "server.http_listen_port", "must differ from server.grpc_listen_port (-server.grpc-listen-port)"
    tls = server.http_tls_config
    at = "server.http_tls_config"
    for name, inline, file in (
        ("cert", tls.cert, tls.cert_file),
        ("key", tls.key, tls.key_file),
        ("client_ca", tls.client_ca, tls.client_ca_file),
    ):
        if inline and file:
            yield f"{at}.{name}_file", f"cannot be used together with {name}"
    has_cert, has_key = bool(tls.cert or tls.cert_file), bool(tls.key or tls.key_file)
    if has_cert and not has_key:
        yield f"{at}.{'cert' if tls.cert else 'cert_file'}", "needs key_file (-server.http-tls-key-path) too"
    if has_key and not has_cert:
        yield f"{at}.{'key' if tls.key else 'key_file'}", "needs cert_file (-server.http-tls-cert-path) too"
    if tls.client_auth_type not in ("", "NoClientCert") and not has_cert:
        yield f"{at}.client_auth_type", "needs cert_file and key_file"
    verifies = tls.client_auth_type in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    if verifies and not (tls.client_ca or tls.client_ca_file):
        yield f"{at}.client_auth_type", f"{tls.client_auth_type} needs client_ca_file (-server.http-tls-ca-path)"


def _prefix_problems(key: str, prefix: str) -> Iterator[Problem]:
    if not prefix.startswith("/") or prefix.endswith("/") or not prefix.isprintable() or set(prefix) & set("?#% {}"):
        yield key, f"{quoted(prefix)} is not a path that begins with / and does not end with one"


def _storage_problems(config: Config) -> Iterator[Problem]:
    storage = config.blocks_storage
    if storage.backend != "filesystem":
        message = f"{storage.backend} is not available yet: data stays on local disk, use filesystem"
        yield "blocks_storage.backend", message
    if not storage.tsdb.dir:
        yield "blocks_storage.tsdb.dir", "must name a directory"
    if storage.tsdb.wal_segment_size_bytes % _WAL_PAGE_BYTES:
        yield "blocks_storage.tsdb.wal_segment_size_bytes", f"must be a multiple of {_WAL_PAGE_BYTES}"


def _cluster_problems(config: Config) -> Iterator[Problem]:
    if config.memberlist.join_members:
        yield "memberlist.join_members", _NO_CLUSTER
    # Memberlist without members is a cluster of one, which is what configurations for a single Mimir process have.
    if config.ingester.ring.kvstore.store not in ("inmemory", "memberlist"):
        yield "ingester.ring.kvstore.store", _NO_CLUSTER
    if config.ingester.ring.replication_factor > 1:
        yield "ingester.ring.replication_factor", f"{_NO_CLUSTER} and holds one copy, use 1"
