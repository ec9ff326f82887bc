"""Ports to listen on: bound before anything else starts, so that a taken one is said at once."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any


class ListenError(Exception):
    """A port cannot be listened on; the text says which flag to change."""


def bind_listener(address: str, port: int, *, flags: str) -> socket.socket:
    """A bound socket, not yet listening. address "": all addresses, of both IP versions where the machine has them.
    flags: what those of address and port begin with, as `server.http-listen`. Raises ListenError."""
    try:
        if address == "":
            return _bind_all(port)
        family, _, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        return _bind(family, where)
    except OSError as error:
        shown = f"{address or '*'}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise ListenError(
                f"port {port} is taken by another process (listening on {shown}); choose another one with -{flags}-port"
            ) from None
        raise ListenError(
            f"cannot listen on {shown}: {error.strerror or error}; see -{flags}-addr{_rest(flags)} and -{flags}-port"
        ) from None


def check_port(address: str, port: int, *, flags: str) -> None:
    """Raise ListenError if the port cannot be had now. For services that bind their own ports later."""
    bind_listener(address, port, flags=flags).close()


def _rest(flags: str) -> str:
    """Mimir has -server.http-listen-address and -memberlist.bind-addr."""
    return "ess" if flags.endswith("listen") else ""


def _bind_all(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return _bind(socket.AF_INET6, ("::", port), both=True)
    return _bind(socket.AF_INET, ("0.0.0.0", port))


def _bind(family: int, where: Any, *, both: bool = False) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if both:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setblocking(False)
        listener.bind(where)
    except BaseException:
        listener.close()
        raise
    return listener
