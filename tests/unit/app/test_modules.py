import itertools

import pytest

from mimir_rw.api.routes import EVERYWHERE, ROUTES
from mimir_rw.app.modules import (
    BASE,
    GATE,
    GOSSIP,
    NEEDS,
    RINGS,
    RPC,
    checked_components,
    components_of,
    lifecycler_module,
    modules_of,
    modules_text,
    targets,
)
from mimir_rw.config.consistency import ring_name, rings
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.load import load
from mimir_rw.config.tree import Config

EVERYTHING = ("ingester", "distributor", "query-scheduler", "query-frontend", "store-gateway", "querier", "compactor")
COMPONENTS = {name: target for name, target in targets().items() if target.components == (name,)}


def config(*argv: str) -> Config:
    return load(argv, environment={}, read=lambda name: b"").config


@pytest.mark.parametrize(
    ("names", "components"),
    [
        (["all"], EVERYTHING),
        (["read", "write", "query-scheduler", "store-gateway", "compactor"], EVERYTHING),
        (["all", "overrides-exporter"], (*EVERYTHING[:-1], "overrides-exporter", "compactor")),
        (["read"], ("query-frontend", "querier")),
        (["write"], ("ingester", "distributor")),
        (["backend"], ("query-scheduler", "store-gateway", "overrides-exporter", "compactor")),
        (["querier", "querier"], ("querier",)),
    ],
)
def test_components_in_the_order_of_their_start(names, components):
    assert components_of(names) == components


def test_a_target_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(
        ConfigError, match='"nonsense" is not one of all, backend, read, write, compactor, distributor, ingester'
    ):
        components_of(["nonsense"])


def test_the_groups_are_those_of_the_read_write_mode_and_hold_every_component():
    groups = {name: target for name, target in targets().items() if name not in COMPONENTS}
    assert set(groups) == {"all", "read", "write", "backend"}
    parts = [part for name in ("read", "write", "backend") for part in groups[name].components]
    assert sorted(parts) == sorted(COMPONENTS)
    for target in groups.values():
        assert set(target.components) <= set(COMPONENTS)
        assert not target.joins
        assert not target.routes


def test_every_component_is_a_module_that_traffic_waits_for():
    for name, target in COMPONENTS.items():
        assert name in NEEDS[GATE]
        assert set(target.joins) | set(target.watches) <= set(RINGS)
        assert set(target.joins) <= set(target.watches)
        for ring in target.joins:
            assert lifecycler_module(ring) in NEEDS[GATE]
    assert {ring for target in COMPONENTS.values() for ring in target.joins} == set(RINGS)


def test_each_ring_has_settings():
    assert {ring_name(key) for key in rings(Config())} == set(RINGS)


def test_needs_name_modules_that_come_before():
    order = list(NEEDS)
    for name, needs in NEEDS.items():
        assert all(order.index(need) < order.index(name) for need in needs)
    assert set(BASE) < set(order)


def test_at_a_stop_work_ends_before_what_carries_it():
    """Traffic, then the distributor out of its ring, the ingester out of its, calls, gossip."""
    order = [GATE, "distributor-lifecycler", "distributor", "ingester-lifecycler", "ingester", RPC, GOSSIP, "server"]
    for earlier, later in itertools.pairwise(order):
        assert later in NEEDS[earlier], f"{earlier} must stop before {later}"


def test_routes_of_targets_are_those_of_the_table():
    for name, target in COMPONENTS.items():
        assert sorted(target.routes) == sorted(route.path for route in ROUTES if route.component == name)
    assert {route.component for route in ROUTES} <= {*EVERYWHERE, *COMPONENTS}


def test_a_process_that_is_alone_listens_to_nobody():
    alone = config("-target=all")
    modules = modules_of(alone, checked_components(alone))
    assert GOSSIP not in modules
    assert RPC not in modules
    assert {"ingester-ring", "query-scheduler-ring", "ingester-lifecycler", "series-key"} <= set(modules)


@pytest.mark.parametrize("argv", [["-target=all", "-memberlist.join=a"], ["-target=read"], ["-target=backend"]])
def test_a_process_of_a_cluster_gossips_and_takes_calls(argv):
    chosen = config(*argv)
    modules = modules_of(chosen, checked_components(chosen))
    assert {GOSSIP, RPC, *(f"{ring}-ring" for ring in RINGS)} <= set(modules)


def test_a_ring_in_another_store_needs_no_gossip():
    stores = ["-ingester.ring.store=inmemory"]
    for ring in (
        "distributor.ring",
        "query-scheduler.ring",
        "querier.ring",
        "store-gateway.sharding-ring",
        "overrides-exporter.ring",
    ):
        stores += [f"-{ring}.store=etcd", f"-{ring}.etcd.endpoints=e:2379"]
    chosen = config("-target=all", *stores)
    modules = modules_of(chosen, checked_components(chosen))
    assert GOSSIP not in modules
    assert RPC in modules


def test_only_exporters_with_a_ring_join_it():
    chosen = config("-target=backend")
    assert "overrides-exporter-lifecycler" not in modules_of(chosen, checked_components(chosen))
    chosen = config("-target=backend", "-overrides-exporter.ring.enabled")
    assert "overrides-exporter-lifecycler" in modules_of(chosen, checked_components(chosen))


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (
            ["-target=distributor", "-ingester.ring.store=inmemory"],
            "distributor needs the ingester ring, which",
        ),
        (["-target=read", "-query-scheduler.ring.store=inmemory"], "-target=query-scheduler,read"),
        (["-target=write", "-ingester.ring.zone-awareness-enabled"], "each ingester needs a zone while"),
        (["-target=write", "-server.grpc-listen-port=0"], "0 cannot be told to others"),
    ],
)
def test_what_could_not_work_says_so(argv, text):
    with pytest.raises(ConfigError, match=text):
        checked_components(config(*argv))


def test_modules_text_names_parts_and_marks_those_of_all():
    lines = modules_text().splitlines()
    assert lines[0].startswith("  all")
    assert any(line.startswith("* ingester ") for line in lines)
    assert any(line.startswith("  overrides-exporter ") for line in lines)
    assert any(line.startswith("  read ") and line.endswith("(query-frontend, querier)") for line in lines)
