"""What runs on this machine for a cluster of its own: processes, ports, flags. Pure.

Node i (from 0) listens for HTTP on `base_port + i`, for calls between processes on `base_port + 100 + i` and for gossip
on `base_port + 200 + i`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RPC_OFFSET = 100
GOSSIP_OFFSET = 200
NODES_MAX = 100
ZONES = ("zone-a", "zone-b", "zone-c")


@dataclass(frozen=True, slots=True)
class Node:
    """One process. zone: "" where the target has none."""

    name: str
    target: str
    zone: str
    host: str
    http_port: int

    @property
    def address(self) -> str:
        """`host:port` of its HTTP server."""
        return f"{self.host}:{self.http_port}"

    @property
    def rpc_port(self) -> int:
        return self.http_port + RPC_OFFSET

    @property
    def gossip_port(self) -> int:
        return self.http_port + GOSSIP_OFFSET

    @property
    def ports(self) -> tuple[int, int, int]:
        return self.http_port, self.rpc_port, self.gossip_port


@dataclass(frozen=True, slots=True)
class Layout:
    """nodes: in the order in which they start. Flags after `--` of the command line go to each of them."""

    host: str
    gateway_port: int
    data: Path
    nodes: tuple[Node, ...]
    extra_flags: tuple[str, ...] = ()

    def group(self, target: str) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.target == target)

    @property
    def gateway(self) -> str:
        """`host:port` of the gateway."""
        return f"{self.host}:{self.gateway_port}"

    def upstreams(self) -> dict[str, tuple[str, ...]]:
        """`host:port` of each group's HTTP servers."""
        return {group: tuple(node.address for node in self.group(group)) for group in ("read", "write", "backend")}

    def flags(self, node: Node) -> list[str]:
        """The server's command line, without the program."""
        seeds = [f"{other.host}:{other.gossip_port}" for other in self.nodes if other != node]
        flags = [
            f"-target={node.target}",
            "-auth.multitenancy-enabled=false",
            f"-common.instance-id={node.name}",
            f"-common.instance-addr={node.host}",
            f"-server.http-listen-address={node.host}",
            f"-server.http-listen-port={node.http_port}",
            f"-server.grpc-listen-address={node.host}",
            f"-server.grpc-listen-port={node.rpc_port}",
            f"-memberlist.bind-addr={node.host}",
            f"-memberlist.bind-port={node.gossip_port}",
            f"-memberlist.advertise-addr={node.host}",
            *(f"-memberlist.join={seed}" for seed in seeds),
            "-ingester.ring.zone-awareness-enabled",
            "-ingester.ring.unregister-on-shutdown=false",
            "-store-gateway.sharding-ring.zone-awareness-enabled",
            f"-blocks-storage.tsdb.dir={self.data / node.name / 'tsdb'}",
            f"-blocks-storage.bucket-store.sync-dir={self.data / node.name / 'tsdb-sync'}",
            f"-blocks-storage.filesystem.dir={self.data / 'blocks'}",
            f"-compactor.data-dir={self.data / node.name / 'compactor'}",
            f"-server.pid-file={self.data / node.name / 'pid'}",
        ]
        if node.zone:
            flags.append(f"-common.instance-availability-zone={node.zone}")
        return [*flags, *self.extra_flags]


def read_write_layout(
    *,
    data: Path,
    gateway_port: int = 8080,
    base_port: int = 8001,
    host: str = "127.0.0.1",
    per_zone: int = 1,
    readers: int = 2,
    zone_hosts: Mapping[str, str] | None = None,
    extra_flags: Sequence[str] = (),
) -> Layout:
    """Three zones of write and backend processes, `per_zone` of each, and `readers` read processes.

    zone_hosts: the address of each zone where it is not `host`. Raises ValueError when that is more than NODES_MAX.
    """
    names: list[tuple[str, str, str]] = []
    for target in ("write", "backend"):
        for number in range(per_zone):
            suffix = f"-{number + 1}" if per_zone > 1 else ""
            names += [(f"{target}-{zone.removeprefix('zone-')}{suffix}", target, zone) for zone in ZONES]
    names += [(f"read-{number + 1}", "read", "") for number in range(readers)]
    if len(names) > NODES_MAX:
        raise ValueError(f"{len(names)} processes are more than {NODES_MAX}")
    hosts = zone_hosts or {}
    nodes = tuple(
        Node(name, target, zone, hosts.get(zone, host), base_port + i) for i, (name, target, zone) in enumerate(names)
    )
    return Layout(host, gateway_port, data, nodes, tuple(extra_flags))
