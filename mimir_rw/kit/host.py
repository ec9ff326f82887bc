"""The machine's own name and addresses."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SIOCGIFADDR = 0x8915
_IF_INET6 = Path("/proc/net/if_inet6")


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    interface: str
    address: str


def host_name() -> str:
    return socket.gethostname()


def interface_addresses() -> list[InterfaceAddress]:
    """The first IPv4 and every IPv6 address of each interface, in the system's order; empty where it does not tell."""
    found = []
    with contextlib.suppress(ImportError):
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for _, name in socket.if_nameindex():
                with contextlib.suppress(OSError):
                    answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                    found.append(InterfaceAddress(name, socket.inet_ntoa(answer[20:24])))
    with contextlib.suppress(OSError):
        for line in _IF_INET6.read_text().splitlines():
            fields = line.split()
            address = ipaddress.IPv6Address(int(fields[0], 16))
            found.append(InterfaceAddress(fields[5], str(address)))
    return found


def choose_address(addresses: Sequence[InterfaceAddress], interfaces: Sequence[str], *, ipv6: bool) -> str | None:
    """The address that others reach this machine at: of the first named interface that has one; without names the
    first private one, then any but loopback, then loopback. None when a name was given and none of them has one."""
    known = {each.address: ipaddress.ip_address(each.address) for each in addresses}
    usable = [each for each in addresses if (known[each.address].version == 6) == ipv6]
    usable = [each for each in usable if not known[each.address].is_link_local]
    if interfaces:
        return next((each.address for name in interfaces for each in usable if each.interface == name), None)
    outside = [each.address for each in usable if not known[each.address].is_loopback]
    private = [address for address in outside if known[address].is_private]
    return next(iter((*private, *outside, "::1" if ipv6 else "127.0.0.1")))


def is_ip_address(text: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return False
