"""The configuration file: values, errors with file, line and key, and input that means harm."""

from __future__ import annotations

import contextlib
import dataclasses
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.config.errors import ConfigError
from mimir_rw.config.load import Loaded, load
from mimir_rw.config.render import effective_yaml
from mimir_rw.config.settings import value_at, walk
from mimir_rw.config.tree import Config


def load_text(text: str, *argv: str, **environment: str) -> Loaded:
    return load_bytes(textwrap.dedent(text).encode(), *argv, **environment)


def load_bytes(data: bytes, *argv: str, **environment: str) -> Loaded:
    return load(["-config.file=m.yaml", *argv], environment=environment, read=lambda _: data)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("target: all", "target", ("all",)),
        ("target: [distributor, ingester]", "target", ("distributor", "ingester")),
        ("no_auth_tenant: no", "no_auth_tenant", "no"),
        ("no_auth_tenant: 010", "no_auth_tenant", "010"),
        ("no_auth_tenant: !!str 12", "no_auth_tenant", "12"),
        ("multitenancy_enabled: No", "multitenancy_enabled", False),
        ("server: {http_listen_port: 9009}", "server.http_listen_port", 9009),
        ("server:\n  http_listen_port:", "server.http_listen_port", 8080),
        ("server:", "server.http_listen_port", 8080),
        ("limits: ~", "limits.ingestion_rate", 250_000.0),
        ("limits: {ingestion_rate: '5'}", "limits.ingestion_rate", 5.0),
        ("limits: {out_of_order_time_window: 1h}", "limits.out_of_order_time_window", 3_600_000),
        ("x: &a {http_listen_port: 1}\nserver: *a", None, "unknown"),
        ("server: &a {http_listen_port: 81}\n", "server.http_listen_port", 81),
        ("runtime_config: {file: 'a.yaml, b.yaml'}", "runtime_config.file", ("a.yaml", "b.yaml")),
        ("memberlist: {join_members: []}", "memberlist.join_members", ()),
        ("", "target", ("all",)),
        ("# nothing but a comment\n", "target", ("all",)),
        ("\ufefftarget: all", "target", ("all",)),
    ],
)
def test_values(text: str, key: str | None, value: object) -> None:
    if key is None:
        with pytest.raises(ConfigError, match=str(value)):
            load_text(text)
    else:
        assert value_at(load_text(text).config, tuple(key.split("."))) == value


def test_flags_win_over_the_file() -> None:
    assert load_text("server: {http_listen_port: 1}", "-server.http-listen-port=2").config.server.http_listen_port == 2


def test_a_configuration_for_a_single_mimir_process_starts() -> None:
    loaded = load_text("""
        multitenancy_enabled: false
        blocks_storage:
          backend: filesystem
          bucket_store: {sync_dir: /tmp/sync}
          filesystem: {dir: /tmp/blocks}
          tsdb: {dir: /tmp/tsdb, stripe_size: 512}
        compactor:
          data_dir: /tmp/compactor
          sharding_ring: {kvstore: {store: memberlist}}
        distributor:
          ring: {instance_addr: 127.0.0.1, kvstore: {store: memberlist}}
          ha_tracker: {enable_ha_tracker: false}
        ingester:
          ring: {instance_addr: 127.0.0.1, kvstore: {store: memberlist}, replication_factor: 1}
        ruler_storage: {backend: filesystem, filesystem: {dir: /tmp/rules}}
        server: {http_listen_port: 9009, log_level: error, grpc_server_max_send_msg_size: 1}
        store_gateway: {sharding_ring: {replication_factor: 1}}
        limits: {accept_ha_samples: false, drop_labels: [], compactor_blocks_retention_period: 1y}
        """)
    assert loaded.config.server.http_listen_port == 9009
    assert [warning.split(" ")[1] for warning in loaded.warnings] == [
        "blocks_storage.tsdb.stripe_size",
        "distributor.ha_tracker",
        "ruler_storage",
        "server.grpc_server_max_send_msg_size",
    ]
    assert loaded.warnings[2] == "m.yaml:16: ruler_storage is not available yet and is ignored (the ruler)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits:\n  ingestion_rat: 1", 'm.yaml:2: limits.ingestion_rat: unknown key, the nearest known key is "inges'),
        ("ingestion_rate: 1", 'm.yaml:1: ingestion_rate: unknown key, the nearest known key is "limits.ingestion_rat'),
        (
            "querier: {query_ingesters_within: 1h}",
            'm.yaml:1: querier.query_ingesters_within: unknown key, the nearest known key is "limits.query_ingesters_w',
        ),
        ("sevrer: {}", 'm.yaml:1: sevrer: unknown key, the nearest known key is "server"'),
        ("server:\n\n  http_listen_port: many", 'm.yaml:3: server.http_listen_port: "many" is not a whole number'),
        ("server: {http_listen_port: 70000}", 'm.yaml:1: server.http_listen_port: "70000" is not valid: must be at m'),
        ("querier: {timeout: 5}", 'm.yaml:1: querier.timeout: "5" is not a duration'),
        ("querier: {timeout: 0s}", 'm.yaml:1: querier.timeout: "0s" is not valid: must be at least 1ms'),
        ("server: {log_level: loud}", 'm.yaml:1: server.log_level: "loud" is not valid: must be one of debug, info'),
        ("server: {log_level: [info]}", "m.yaml:1: server.log_level: must be one value (string), not a list"),
        ("server: {log_level: {a: b}}", "m.yaml:1: server.log_level: must be one value (string), not a section"),
        ("server: 5", "m.yaml:1: server: must be a section of further keys"),
        ("- a", "m.yaml:1: must be a section of further keys"),
        ("target: [[all]]", "m.yaml:1: target: an item must be a string, not a list"),
        ("a: 1\nb: [\n", "m.yaml:3: not YAML: "),
        ("a: \x01", "m.yaml: not YAML: "),
        ("target: all\ntarget: all", 'm.yaml:2: "target" was set before, in line 1'),
        ("target: all\n---\ntarget: all", "m.yaml:2: a second YAML document begins here"),
        ("? [a]\n: b", "m.yaml:1: a key must be plain text"),
        ("target: *x", 'm.yaml:1: alias "x" has no anchor before it'),
        ("&a server: &b\n  x: *b", 'm.yaml:2: alias "b" is inside of what it stands for'),
        ("server:\n  <<: 5", 'm.yaml:2: "<<" needs mappings'),
        ("target: !!python/object:os.system x", 'm.yaml:1: tag "tag:yaml.org,2002:python/object:os.system" is not'),
        ("limits: {accept_ha_samples: true}", "m.yaml:1: limits.accept_ha_samples is not available yet (without dedup"),
        (
            "distributor:\n  ha_tracker:\n    enable_ha_tracker: yes",
            "m.yaml:3: distributor.ha_tracker.enable_ha_tracker",
        ),
        ("limits: {drop_labels: [a]}", "m.yaml:1: limits.drop_labels is not available yet (series would be stored"),
        (
            "common:\n  storage: {backend: azure}",
            "m.yaml:2: common.storage.backend (-common.storage.backend): azure is",
        ),
        ("blocks_storage:\n  backend: swift", "m.yaml:2: blocks_storage.backend (-blocks-storage.backend): swift is"),
        ("ingester: {ring: {heartbeat_timeout: 3s}}", "m.yaml:1: ingester.ring.heartbeat_timeout (-ingester.ring.he"),
        ("server:\n  http_tls_config: {key: very-secret}", "m.yaml:2: server.http_tls_config.key: needs"),
    ],
)
def test_errors_are_one_line_naming_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    shown = str(caught.value)
    assert shown.startswith(message)
    assert shown.isprintable()
    assert "very-secret" not in shown


def test_merge_keys_overlay_and_own_keys_win() -> None:
    config = load_text("""
        ingester:
          instance_limits: &base {max_series: 5, max_tenants: 6}
        distributor:
          instance_limits:
            max_ingestion_rate: 1
        """).config
    assert config.ingester.instance_limits.max_series == 5
    merged = load_text("""
        server:
          <<: [{log_level: warn, http_listen_port: 1}, {log_level: error, http_listen_address: x}]
          http_listen_port: 2
        """).config.server
    assert (merged.log_level, merged.http_listen_port, merged.http_listen_address) == ("warn", 2, "x")


def test_environment_is_expanded_when_asked_for() -> None:
    text = "no_auth_tenant: ${WHO}\nserver: {http_listen_port: ${PORT:81}, http_listen_address: '${NONE}$x'}\n"
    config = load_text(text, "-config.expand-env", WHO="me").config
    assert (config.no_auth_tenant, config.server.http_listen_port) == ("me", 81)
    assert config.server.http_listen_address == "$x"
    assert load_text(text, "-config.expand-env=true", WHO="me", PORT="7").config.server.http_listen_port == 7
    with pytest.raises(ConfigError, match=r"tenant ID '\$\{PORT\}x'"):
        load_text(text, "-config.expand-env", WHO="${PORT}x", PORT="7")
    with pytest.raises(ConfigError, match="no_auth_tenant"):
        load_text("no_auth_tenant: ${WHO}")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b"{a: " * 100_000,
        b"- " * 100_000,
        "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 40))]).encode(),
        b"big: &b {"
        + b",".join(b"k%d: 1" % i for i in range(3000))
        + b"}\n"
        + b"".join(b"t%d: {<<: *b}\n" % i for i in range(3000)),
        b"a: " + b"9" * 1_000_000,
        b"querier: {timeout: " + b"9" * 100_000 + b"s}",
        b"server: {http_listen_port: 1e" + b"9" * 100_000 + b"}",
        b"k" * 100_000 + b": 1",
        b"\xff\xfe\x00",
        b"a: \xed\xa0\x80",
        b"\0",
    ],
    ids=[
        "flow",
        "maps",
        "dashes",
        "aliases",
        "merges",
        "scalar",
        "duration",
        "exponent",
        "key",
        "utf16",
        "surrogate",
        "nul",
    ],
)
def test_bombs_are_refused_in_one_short_line(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        load_bytes(data)
    assert len(str(caught.value)) < 500


@given(st.binary(max_size=300))
def test_any_bytes_load_or_are_a_configuration_error(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        load_bytes(data)


KEYS = st.sampled_from(["server", "limits", "target", "http_listen_port", "ingestion_rate", "<<", "ruler", "x"])
SCALARS = st.sampled_from(["1", "all", "~", "'", "[", "{", "&a", "*a", "!!int x", "5m", "${X}", "|", "- a", ": b"])
LINES = st.builds(lambda indent, key, value: f"{'  ' * indent}{key}: {value}", st.integers(0, 3), KEYS, SCALARS)


@given(st.lists(LINES, max_size=8).map("\n".join))
def test_any_near_configuration_loads_or_is_a_configuration_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        load_bytes(text.encode())


def test_what_is_printed_loads_to_the_same() -> None:
    config = load_text(
        "target: [querier, ingester]\nno_auth_tenant: 'no'\nlimits: {ingestion_rate: 0.5, request_rate: 1e20}",
        "-querier.timeout=1h1ms",
    ).config
    again = load_text(effective_yaml(config)).config
    assert [p.key for p in walk(Config) if value_at(again, p.path) != value_at(config, p.path)] == []
    assert again == dataclasses.replace(config)
