"""Which process of the cluster this is: its name, its zone, and the address that others reach it at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mimir_rw.config.consistency import ring_name, zone_of
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.rings import RingConfig
from mimir_rw.config.tree import Config
from mimir_rw.kit.host import InterfaceAddress, choose_address


@dataclass(frozen=True, slots=True)
class RingIdentity:
    """How a process is shown in a ring. address: `host:port` of its calls between processes."""

    id: str
    address: str
    zone: str


@dataclass(frozen=True, slots=True)
class Machine:
    name: str
    addresses: Sequence[InterfaceAddress]


def process_id(config: Config, machine: Machine) -> str:
    return config.common.instance_id or machine.name


def ring_identity(key: str, ring: RingConfig, config: Config, machine: Machine, *, port: int) -> RingIdentity:
    """key: the ring's YAML key. port: where this process listens for calls. Raises ConfigError when an interface that
    is to be used has no address."""
    host = ring.instance_addr or process_address(
        config,
        machine,
        f"{key}.instance_interface_names",
        ring.instance_interface_names,
        ipv6=ring.instance_enable_ipv6,
    )
    return RingIdentity(
        ring.instance_id or process_id(config, machine),
        joined_address(host, ring.instance_port or port),
        zone_of(config, ring_name(key)),
    )


def process_address(
    config: Config, machine: Machine, key: str = "", interfaces: Sequence[str] = (), *, ipv6: bool = False
) -> str:
    """The host part. key and interfaces: a more special setting of interface names and its value."""
    if config.common.instance_addr and not interfaces:
        return config.common.instance_addr
    names = interfaces or config.common.instance_interface_names
    found = choose_address(machine.addresses, names, ipv6=ipv6)
    if found is None:
        shown = key if interfaces else "common.instance_interface_names"
        raise ConfigError(f"{shown}: no interface {' or '.join(names)} with an address on this machine")
    return found


def joined_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
