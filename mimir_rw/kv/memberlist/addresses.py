"""Names of members to join, as users write them, turned into addresses.

`host:port`, `dns+host:port` (every address of the name), `dnssrv+_service._tcp.name` and `dnssrvnoa+…` (SRV records;
the targets' names, or their addresses as they stand). A port that is missing is the default one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from mimir_rw.kv.memberlist import srv
from mimir_rw.kv.memberlist.messages import Endpoint, WireError

_LOOKUP_TIMEOUT_S = 5.0
_KNOWN_MAX = 1024
"""Addresses that are kept as text and as bytes: each packet that is sent or comes has one of its member."""


@lru_cache(_KNOWN_MAX)
def host_text(endpoint: Endpoint) -> str:
    """`10.0.0.1`, `::1`."""
    return str(ip_address(endpoint.addr))


def endpoint_text(endpoint: Endpoint) -> str:
    """`10.0.0.1:7946`, `[::1]:7946`."""
    host = ip_address(endpoint.addr)
    return f"[{host}]:{endpoint.port}" if host.version == 6 else f"{host}:{endpoint.port}"


def split_host_port(text: str, default_port: int) -> tuple[str, int]:
    """Host and port. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1], default_port
    if not colon or (":" in host and not host.startswith("[")):
        return text, default_port
    number = int(port)
    if not 0 < number < 65536 or not host:
        raise ValueError(f"{text!r} has no host or no valid port")
    return host.removeprefix("[").removesuffix("]"), number


@lru_cache(_KNOWN_MAX)
def parse_endpoint(text: str) -> Endpoint:
    """An address with a port. Raises ValueError."""
    host, port = split_host_port(text, 0)
    if not port:
        raise ValueError(f"{text!r} has no port")
    return Endpoint(ip_address(host).packed, port)


async def resolve(names: Sequence[str], default_port: int) -> tuple[list[Endpoint], list[str]]:
    """Addresses behind `names`, each once and in order, and what could not be resolved and why."""
    found: dict[Endpoint, None] = {}
    failures: list[str] = []
    for name in names:
        try:
            async with asyncio.timeout(_LOOKUP_TIMEOUT_S):
                found.update(dict.fromkeys(await _resolve_one(name, default_port)))
        except (OSError, ValueError, TimeoutError, WireError) as error:
            failures.append(f"{name}: {error or type(error).__name__}")
    return list(found), failures


async def _resolve_one(name: str, default_port: int) -> list[Endpoint]:
    kind, plus, rest = name.partition("+")
    if not plus or kind == "dns":
        host, port = split_host_port(rest if plus else name, default_port)
        return await host_endpoints(host, port)
    if kind in ("dnssrv", "dnssrvnoa"):
        found: list[Endpoint] = []
        for target, port in await srv.lookup(split_host_port(rest, default_port)[0]):
            found += await host_endpoints(target, port)
        return found
    raise ValueError(f"{kind}+ is no known way to find members; use dns+, dnssrv+ or host:port")


async def host_endpoints(host: str, port: int) -> list[Endpoint]:
    """All addresses of a host, sorted. Raises OSError."""
    try:
        return [Endpoint(ip_address(host).packed, port)]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = {ip_address(str(sockaddr[0]).partition("%")[0]).packed for *_, sockaddr in answers}
    return [Endpoint(address, port) for address in sorted(addresses, key=lambda a: (len(a), a))]


async def own_address(hostname: str) -> bytes:
    """The first address of this host that is not loopback; the IPv4 loopback address if there is none."""
    try:
        endpoints = await host_endpoints(hostname, 0)
    except OSError:
        endpoints = []
    usable = [e.addr for e in endpoints if not ip_address(e.addr).is_loopback and not ip_address(e.addr).is_link_local]
    return usable[0] if usable else ip_address("127.0.0.1").packed
