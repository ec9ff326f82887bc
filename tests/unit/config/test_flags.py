from __future__ import annotations

import pytest

from mimir_rw.config.errors import ConfigError
from mimir_rw.config.flags import parse_arguments
from mimir_rw.config.help import help_text
from mimir_rw.config.load import load, settings_by_flag
from mimir_rw.config.settings import Category, value_at

SETTINGS = settings_by_flag()


def no_file(name: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory")


@pytest.mark.parametrize(
    ("argv", "key", "value"),
    [
        (["-target=all"], "target", ("all",)),
        (["--target", "distributor, ingester"], "target", ("distributor", "ingester")),
        (["-target=querier", "-target", "all"], "target", ("all",)),
        (["-auth.multitenancy-enabled=false"], "multitenancy_enabled", False),
        (["-auth.multitenancy-enabled", "-target=all"], "multitenancy_enabled", True),
        (["-auth.multitenancy-enabled=0"], "multitenancy_enabled", False),
        (["-server.http-listen-port", "0x50"], "server.http_listen_port", 80),
        (["-querier.timeout=1m30s"], "querier.timeout", 90_000),
        (["-query-frontend.log-queries-longer-than", "-1s"], "frontend.log_queries_longer_than", -1_000),
        (["-distributor.ingestion-rate-limit=1e5"], "limits.ingestion_rate", 100_000.0),
        (["-server.http-listen-address="], "server.http_listen_address", ""),
        (["-server.http-listen-address=a=b"], "server.http_listen_address", "a=b"),
        (["-ingester.ring.replication-factor=1", "--"], "ingester.ring.replication_factor", 1),
        (["-server.http-listen-address", "--"], "server.http_listen_address", "--"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_flags(argv: list[str], key: str, value: object) -> None:
    loaded = load(argv, environment={}, read=no_file)
    assert value_at(loaded.config, tuple(key.split("."))) == value
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("argv", "copies", "store"),
    [
        ([], 1, "inmemory"),
        (["-target=all,overrides-exporter"], 1, "inmemory"),
        (["-memberlist.join=a:7946"], 3, "memberlist"),
        (["-target=write"], 3, "memberlist"),
        (["-ingester.ring.replication-factor=2"], 2, "inmemory"),
        (["-ingester.ring.store=memberlist"], 1, "memberlist"),
    ],
)
def test_a_process_that_does_everything_and_joins_nobody_is_alone(argv: list[str], copies: int, store: str) -> None:
    ring = load(argv, environment={}, read=no_file).config.ingester.ring
    assert (ring.replication_factor, ring.kvstore.store) == (copies, store)


def test_a_repeated_list_flag_adds_up() -> None:
    assert parse_arguments(["-memberlist.join=a", "-memberlist.join", "b"], SETTINGS).values == {
        ("memberlist", "join_members"): ("a", "b")
    }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-targte=all"], "flag -targte is not known, the nearest known flag is -target"),
        (["-server.http-listen-prt=1"], "flag -server.http-listen-prt is not known, the nearest known flag is "),
        (["-server.http-listen-port=80000"], 'flag -server.http-listen-port: "80000": must be at most 65535'),
        (["-server.http-listen-port=x"], 'flag -server.http-listen-port: "x": not a whole number'),
        (["-server.http-listen-port"], "flag -server.http-listen-port needs a value"),
        (["-auth.multitenancy-enabled=maybe"], 'flag -auth.multitenancy-enabled: "maybe": neither true nor false'),
        (["-auth.multitenancy-enabled", "false"], 'argument "false" is not a flag'),
        (["-querier.timeout=5"], 'flag -querier.timeout: "5": not a duration'),
        (["-log.level=loud"], 'flag -log.level: "loud": must be one of debug, info, warn, error'),
        (["-version=maybe"], 'flag -version: "maybe": neither true nor false'),
        (["all"], 'argument "all" is not a flag'),
        (["---target=all"], 'argument "---target=all" is not a flag'),
        (["-"], 'argument "-" is not a flag'),
        (["-target=all", "--", "x"], 'argument "x" is not a flag'),
        (["-config.file=nowhere.yaml"], "nowhere.yaml: No such file or directory"),
        (["-distributor.ha-tracker.enable"], "flag -distributor.ha-tracker.enable is not available yet (without"),
        (
            ["-blocks-storage.backend=gcs"],
            "blocks_storage.backend (-blocks-storage.backend): gcs is not supported: use",
        ),
        (["-ingester.ring.store=etcd"], "ingester.ring.kvstore.store (-ingester.ring.store): etcd needs endpoints (-i"),
        (["-ingester.ring.store=multi"], "ingester.ring.kvstore.multi.secondary (-ingester.ring.multi.secondary): mus"),
        (
            ["-distributor.ring.store=multi", "-distributor.ring.multi.primary=multi"],
            "distributor.ring.kvstore.multi.primary (-distributor.ring.multi.primary): must be one of memberlis",
        ),
        (["-ingester.ring.heartbeat-timeout=15s"], "ingester.ring.heartbeat_timeout (-ingester.ring.heartbeat-timeou"),
        (["-query-scheduler.ring.heartbeat-period=0"], "query_scheduler.ring.heartbeat_period (-query-scheduler.ring"),
        (["-common.instance-addr=0.0.0.0"], 'common.instance_addr (-common.instance-addr): "0.0.0.0" is no address th'),
        (["-memberlist.advertise-addr=::"], 'memberlist.advertise_addr (-memberlist.advertise-addr): "::" is no addre'),
        (["-memberlist.min-join-backoff=2m"], "memberlist.min_join_backoff (-memberlist.min-join-backoff): must not"),
        (["-memberlist.bind-port=9095"], "memberlist.bind_port (-memberlist.bind-port): must differ from server.grpc"),
        (["-memberlist.tls-enabled"], "memberlist.tls_enabled (-memberlist.tls-enabled): needs tls_cert_path and tls"),
        (["-ingester.client.tls-key-path=a"], "ingester_client.grpc_client_config.tls_cert_path (-ingester.client.tl"),
        (["-server.grpc-tls-key-path=a"], "server.grpc_tls_config.key_file (-server.grpc-tls-key-path): needs cert_f"),
        (
            ["-ingester.ring.excluded-zones=a", "-ingester.ring.instance-availability-zone=a"],
            "ingester.ring.excluded_zones (-ingester.ring.excluded-zones): must not have the zone of this process",
        ),
        (
            [
                "-target=write",
                "-ingester.ring.zone-awareness-enabled",
                "-ingester.ring.spread-minimizing-zones=a,b",
            ],
            "ingester.ring.spread_minimizing_zones (-ingester.ring.spread-minimizing-zones): 2 zones cannot hold repl",
        ),
        (["-server.grpc-listen-port=8080"], "server.http_listen_port (-server.http-listen-port): must differ from "),
        (["-server.http-tls-cert-path=a"], "server.http_tls_config.cert_file (-server.http-tls-cert-path): needs key"),
        (["-server.http-tls-key-path=a"], "server.http_tls_config.key_file (-server.http-tls-key-path): needs cert"),
        (["-server.http-tls-client-auth=RequireAnyClientCert"], "server.http_tls_config.client_auth_type (-server.ht"),
        (["-auth.no-auth-tenant=.."], "no_auth_tenant (-auth.no-auth-tenant): tenant ID is '.' or '..'"),
        (["-target="], "target (-target): must name a component"),
        (["-http.prometheus-http-prefix=prom"], 'api.prometheus_http_prefix (-http.prometheus-http-prefix): "prom"'),
        (["-distributor.retry-after-header.min-backoff=5m"], "distributor.retry_after_header.min_backoff (-distrib"),
        (["-blocks-storage.tsdb.block-ranges-period=2h,12h"], "blocks_storage.tsdb.block_ranges_period (-bloc"),
        (["-blocks-storage.tsdb.block-ranges-period=soon"], "blocks_storage.tsdb.block_ranges_period (-bloc"),
        (["-blocks-storage.tsdb.block-ranges-period=10ms"], "blocks_storage.tsdb.block_ranges_period (-bloc"),
        (["-blocks-storage.tsdb.wal-segment-size-bytes=40000"], "blocks_storage.tsdb.wal_segment_size_bytes (-bloc"),
        (["-blocks-storage.tsdb.dir="], "blocks_storage.tsdb.dir (-blocks-storage.tsdb.dir): must name a directory"),
        (["-distributor.ingestion-burst-factor=0.5"], "limits.ingestion_burst_factor (-distributor.ingestion-burst-"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_are_one_line_naming_the_flag(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(argv, environment={}, read=no_file)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "warning"),
    [
        (["-server.grpc.keepalive.time=1h"], "-server.grpc.keepalive.time has no meaning here"),
        (["-ingester.client.grpc-compression", "snappy", "-target=all"], "-ingester.client.grpc-compression has no"),
        (["-ruler.poll-interval=1m"], "-ruler.poll-interval is not available yet and is ignored (the ruler)"),
        (["-query-scheduler.service-discovery-mode=dns"], "-query-scheduler.service-discovery-mode has no"),
        (["-usage-stats.enabled=false"], "-usage-stats.enabled has no meaning here"),
        (["-compactor.upload-sparse-index-headers", "-target=all"], "-compactor.upload-sparse-index-headers has no"),
    ],
)
def test_what_only_mimir_has_is_accepted_with_one_warning(argv: list[str], warning: str) -> None:
    (found,) = load(argv, environment={}, read=no_file).warnings
    assert found.startswith(f"flag {warning}")


def test_asking_for_nothing_is_no_use_of_what_is_missing() -> None:
    assert load(["-distributor.ha-tracker.enable=false"], environment={}, read=no_file).warnings == ()


def test_help() -> None:
    basic, everything = help_text(everything=False), help_text(everything=True)
    for flag, placed in SETTINGS.items():
        assert (f"  -{flag}" in basic.replace(" string", "").split("\n") or f"  -{flag} " in basic) == (
            placed.leaf.category is Category.BASIC
        ), flag
        assert f"  -{flag}\n" in everything or f"  -{flag} " in everything
    assert "Use -help-all" in basic
