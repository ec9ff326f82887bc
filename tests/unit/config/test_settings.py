"""The tree as data: every setting is complete and unambiguous."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import mimir_rw
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.settings import Kind, build, value_at, walk
from mimir_rw.config.tree import Config, departures

PLACED = list(walk(Config))
INLINE = ("cert", "key", "client_ca")


def test_every_setting_has_help_and_a_flag_or_is_yaml_only() -> None:
    for placed in PLACED:
        assert placed.leaf.help.endswith("."), placed.key
        assert placed.flag is None or placed.flag[0].isalnum(), placed.key
    yaml_only = {placed.key for placed in PLACED if placed.flag is None}
    assert yaml_only == {f"server.{kind}_tls_config.{name}" for kind in ("http", "grpc") for name in INLINE}


def test_no_setting_is_dead() -> None:
    """Each name is read as an attribute somewhere."""
    package = Path(mimir_rw.__file__).parent
    tree = {
        package / "config" / name
        for name in ("tree.py", "limits.py", "process.py", "kvstore.py", "rings.py", "compactor.py", "storage.py")
    }
    source = "".join(file.read_text() for file in package.rglob("*.py") if file not in tree)
    read = set(re.findall(r"\.([a-z_0-9]+)\b", source))
    unread = {placed.key for placed in PLACED if placed.path[-1] not in read}
    assert unread == set()


def test_paths_and_flags_are_unique() -> None:
    assert len({placed.path for placed in PLACED}) == len(PLACED)
    flags = [placed.flag for placed in PLACED if placed.flag is not None]
    assert len(set(flags)) == len(flags)


def test_defaults_are_valid_and_survive_the_way_through_text() -> None:
    for placed in PLACED:
        placed.leaf.check(placed.leaf.default)
        if placed.leaf.kind is not Kind.REPEATED:
            assert placed.leaf.parse(placed.leaf.format(placed.leaf.default)) == placed.leaf.default, placed.key


@pytest.mark.parametrize(
    ("key", "mimir", "ours"),
    [
        ("limits.ingestion_rate", "10000", "250000"),
        ("limits.ingestion_burst_size", "200000", "1000000"),
        ("limits.max_global_series_per_user", "150000", "1500000"),
        ("limits.max_global_exemplars_per_user", "0", "100000"),
        ("limits.out_of_order_time_window", "0s", "5m"),
        ("ingester.ring.kvstore.store", "memberlist", "inmemory"),
        ("distributor.ring.kvstore.store", "memberlist", "inmemory"),
        ("query_scheduler.ring.kvstore.store", "memberlist", "inmemory"),
        ("querier.ring.kvstore.store", "memberlist", "inmemory"),
        ("overrides_exporter.ring.kvstore.store", "memberlist", "inmemory"),
        ("compactor.sharding_ring.kvstore.store", "memberlist", "inmemory"),
        ("ingester.ring.replication_factor", "3", "1"),
        ("store_gateway.sharding_ring.kvstore.store", "memberlist", "inmemory"),
        ("store_gateway.sharding_ring.replication_factor", "3", "1"),
        ("blocks_storage.bucket_store.index_cache.inmemory.max_size_bytes", "1073741824", "67108864"),
        ("blocks_storage.bucket_store.chunks_cache.backend", "", "inmemory"),
        ("ingester.ring.min_ready_duration", "15s", "0s"),
        ("query_scheduler.max_used_instances", "0", "2"),
        ("querier.minimize_ingester_requests_hedging_delay", "3s", "500ms"),
        ("server.grpc_server_max_concurrent_streams", "100", "1000"),
        ("server.grpc_listen_conn_limit", "0", "4096"),
        ("memberlist.advertise_port", "7946", "0"),
        ("memberlist.rejoin_interval", "0s", "15s"),
        ("memberlist.cluster_label", "", "mimir-rw"),
    ],
)
def test_departures_from_mimir(key: str, mimir: str, ours: str) -> None:
    found = {
        placed.key: (departure.mimir, departure.alone or placed.leaf.format(placed.leaf.default))
        for placed, departure in departures()
    }
    assert found[key] == (mimir, ours)
    assert len(found) == 24


def test_build_puts_chosen_values_at_their_paths() -> None:
    config = build(Config, {("limits", "ingestion_rate"): 5.0, ("ingester", "ring", "replication_factor"): 3})
    assert config.limits.ingestion_rate == 5.0
    assert value_at(config, ("ingester", "ring", "replication_factor")) == 3
    assert config.server == Config().server


def test_limits_answer_from_one_snapshot() -> None:
    limits = Limits(defaults=TenantLimits())
    assert limits.for_tenant("a") is limits.defaults
    own = dataclasses.replace(TenantLimits(), ingestion_rate=1.0)
    limits.replace_overrides({"a": own})
    assert limits.for_tenant("a") is own
    assert limits.for_tenant("b") is limits.defaults
    limits.replace_overrides({})
    assert limits.for_tenant("a") is limits.defaults
