"""What a target runs: targets as data (`targets/`, packed under `_data`), modules with what they need.

A module is a service of the process. Those every process has come by themselves; a component brings what it needs, and
each ring that it joins brings the service that keeps its entry there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from mimir_rw.config.consistency import ring_flags, ring_name, rings, zone_of
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.kvstore import KvStoreConfig
from mimir_rw.config.tree import Config

RINGS = ("ingester", "distributor", "query-scheduler", "querier", "store-gateway", "overrides-exporter", "compactor")
"""Every process watches all of them, so that its pages are whole."""
STORES = "kv-stores"
HAND_OVERS = "hand-over-records"
LEAVING = "ingester-hand-over"
"""How the ingester of this process leaves for good."""
BASE = (
    "server",
    "event-loop-lag",
    "free-memory",
    "runtime-config",
    "rpc-pool",
    STORES,
    *(f"{ring}-ring" for ring in RINGS),
    HAND_OVERS,
    "series-key",
)
"""Modules of every process."""
BUCKET = "bucket"
WITH_BUCKET = ("ingester", "querier", "store-gateway", "compactor")
"""Components that write blocks or read them."""
GOSSIP = "memberlist-kv"
RPC = "rpc-server"
ANNOUNCEMENT = "announcement"
GATE = "api"
"""The gate before the components: after all of them."""


def ring_module(ring: str) -> str:
    """What watches a ring."""
    return f"{ring}-ring"


def lifecycler_module(ring: str) -> str:
    """What keeps this process's entry in a ring. It comes after the component, so that what is in the ring works."""
    return f"{ring}-lifecycler"


_FIRST = ("server", "runtime-config", BUCKET, RPC, "rpc-pool", "series-key", HAND_OVERS, *map(ring_module, RINGS))

# What must be Running before it; only modules of the same process count. At a stop everything goes the other way: the
# gate first, then whoever hands work on before whoever takes it, calls between processes after that, gossip last.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "server": (),
    "event-loop-lag": (),
    "free-memory": (),
    "runtime-config": ("server",),
    BUCKET: ("server",),
    GOSSIP: ("server",),
    STORES: ("runtime-config", GOSSIP),
    RPC: ("server", GOSSIP),
    "rpc-pool": ("server",),
    **{ring_module(ring): (GOSSIP, STORES) for ring in RINGS},
    HAND_OVERS: (GOSSIP, STORES, *map(ring_module, RINGS)),
    "series-key": (GOSSIP, STORES),
    "ingester": _FIRST,
    LEAVING: ("ingester",),
    lifecycler_module("ingester"): ("ingester", LEAVING),
    "distributor": (*_FIRST, lifecycler_module("ingester")),
    lifecycler_module("distributor"): ("distributor",),
    "query-scheduler": _FIRST,
    lifecycler_module("query-scheduler"): ("query-scheduler",),
    "query-frontend": (*_FIRST, lifecycler_module("query-scheduler")),
    "store-gateway": _FIRST,
    lifecycler_module("store-gateway"): ("store-gateway",),
    "querier": (
        *_FIRST,
        lifecycler_module("ingester"),
        lifecycler_module("query-scheduler"),
        lifecycler_module("store-gateway"),
        "query-frontend",
    ),
    lifecycler_module("querier"): ("querier",),
    "overrides-exporter": _FIRST,
    lifecycler_module("overrides-exporter"): ("overrides-exporter",),
    "compactor": _FIRST,
    lifecycler_module("compactor"): ("compactor",),
    ANNOUNCEMENT: tuple(lifecycler_module(ring) for ring in RINGS),
    GATE: (
        "server",
        ANNOUNCEMENT,
        *(lifecycler_module(ring) for ring in RINGS),
        "ingester",
        "distributor",
        "query-scheduler",
        "query-frontend",
        "store-gateway",
        "querier",
        "overrides-exporter",
        "compactor",
    ),
}


@dataclass(frozen=True, slots=True)
class Target:
    """A file of `targets/`. joins, watches and routes are told for components; a group has those of its parts."""

    name: str
    description: str
    components: tuple[str, ...]
    zoned: bool
    """Whether its processes belong to zones."""
    ports: tuple[str, ...]
    """What it listens on: http, rpc, gossip."""
    joins: tuple[str, ...] = ()
    """Rings that it is in."""
    watches: tuple[str, ...] = ()
    """Rings that it finds others in."""
    routes: tuple[str, ...] = ()
    """Paths that it serves, as in `api/routes.py`."""


@cache
def targets() -> Mapping[str, Target]:
    """Every target by name: `all`, the groups, then the components."""
    found = {}
    for file in resources.files("mimir_rw._data").joinpath("targets").iterdir():
        name, dot, suffix = file.name.rpartition(".")
        if dot and suffix == "toml":
            found[name] = _target(name, tomllib.loads(file.read_text(encoding="utf-8")))
    return dict(sorted(found.items(), key=lambda item: (item[0] != "all", item[1].components == (item[0],), item[0])))


def _target(name: str, data: Mapping[str, object]) -> Target:
    description, zoned = data["description"], data["zoned"]
    assert isinstance(description, str)
    assert isinstance(zoned, bool)
    lists = {key: _names(name, key, data) for key in ("components", "ports", "joins", "watches", "routes")}
    return Target(name, description, zoned=zoned, **lists)


def _names(target: str, key: str, data: Mapping[str, object]) -> tuple[str, ...]:
    value = data.get(key, [])
    assert isinstance(value, list), f"target {target}: {key} is not a list"
    return tuple(str(each) for each in value)


def components_of(names: Sequence[str]) -> tuple[str, ...]:
    """The components that a list of targets runs, in the order in which they start. Raises ConfigError."""
    chosen: set[str] = set()
    for name in names:
        target = targets().get(name)
        if target is None:
            raise ConfigError(f'target (-target): "{name}" is not one of {", ".join(targets())}')
        chosen.update(target.components)
    return tuple(name for name in NEEDS if name in chosen)


def checked_components(config: Config) -> tuple[str, ...]:
    """The components that the configuration asks for. Raises ConfigError for those that could not do their work."""
    components = components_of(config.target)
    found = {ring_name(key): (key, ring.kvstore) for key, ring in rings(config).items()}
    for component in components:
        for ring in targets()[component].watches:
            key, kvstore = found[ring]
            if kvstore.store == "inmemory" and ring not in components:
                raise ConfigError(
                    f"target (-target): {component} needs the {ring} ring, which {key}.kvstore.store "
                    f"(-{ring_flags(key)}.store) keeps in the memory of one process; use memberlist, or "
                    f"-target={ring},{','.join(config.target)}"
                )
    if _in_a_cluster(config) and not config.server.grpc_listen_port:
        raise ConfigError("server.grpc_listen_port (-server.grpc-listen-port): 0 cannot be told to others in a ring")
    for component, key, aware in (
        ("ingester", "ingester.ring", config.ingester.ring.zone_awareness_enabled),
        ("store-gateway", "store_gateway.sharding_ring", config.store_gateway.sharding_ring.zone_awareness_enabled),
    ):
        if aware and component in components and not zone_of(config, component):
            flags = key.replace("_", "-")
            raise ConfigError(
                f"{key}.instance_availability_zone (-{flags}.instance-availability-zone): each {component} needs a "
                f"zone while {key}.zone_awareness_enabled (-{flags}.zone-awareness-enabled) is on"
            )
    return components


def _in_a_cluster(config: Config) -> bool:
    """Whether any ring is kept outside of this process."""
    return any(store != "inmemory" for ring in rings(config).values() for store in stores_of(ring.kvstore))


def modules_of(config: Config, components: Sequence[str]) -> tuple[str, ...]:
    """All modules of the process, in graph order."""
    stores = [name for ring in rings(config).values() for name in stores_of(ring.kvstore)]
    wanted = {*BASE, *components, GATE}
    if not wanted.isdisjoint(WITH_BUCKET):
        wanted.add(BUCKET)
    if "memberlist" in stores:
        wanted.update((GOSSIP, ANNOUNCEMENT))
    if _in_a_cluster(config):
        wanted.add(RPC)
    joined = {ring for component in components for ring in targets()[component].joins}
    if not config.overrides_exporter.ring.enabled:
        joined.discard("overrides-exporter")
    wanted.update(lifecycler_module(ring) for ring in joined)
    if "ingester" in components:
        wanted.add(LEAVING)
    return tuple(name for name in NEEDS if name in wanted)


def stores_of(kvstore: KvStoreConfig) -> tuple[str, ...]:
    """The stores that a ring is in: one, or the two of `multi`."""
    return (kvstore.multi.primary, kvstore.multi.secondary) if kvstore.store == "multi" else (kvstore.store,)


def modules_text() -> str:
    """What -modules prints: the targets, which components a group has, and which are part of `all`."""
    part = set(targets()["all"].components)
    lines = []
    for name, target in targets().items():
        parts = f" ({', '.join(target.components)})" if target.components != (name,) else ""
        lines.append(f"{'* ' if name in part else '  '}{name:<20}{target.description}{parts}\n")
    return "".join(lines) + "\n* part of all\n"
