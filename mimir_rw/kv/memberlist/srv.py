"""SRV records by DNS over TCP, which the standard library cannot ask for. Decoding is total: WireError only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from mimir_rw.kv.memberlist.messages import WireError

_PORT = 53
_SRV, _IN = 33, 1
_JUMPS_MAX = 32
_RESOLV_CONF = Path("/etc/resolv.conf")


async def lookup(name: str) -> list[tuple[str, int]]:
    """Host and port of each SRV record of `name`, sorted. Raises OSError or WireError."""
    servers, domains = _configuration()
    candidates = [name] if name.endswith(".") else [name, *(f"{name}.{domain}" for domain in domains)]
    failure: Exception = OSError("no name server is configured")
    for server in servers:
        try:
            for candidate in candidates:
                records = await _ask(server, candidate)
                if records:
                    return records
        except (OSError, WireError) as error:
            failure = error
        else:
            raise OSError(f"{name} has no SRV records")
    raise failure


def _configuration() -> tuple[list[str], list[str]]:
    servers, domains = [], []
    try:
        lines = _RESOLV_CONF.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split()
        if words[:1] == ["nameserver"]:
            servers += words[1:2]
        elif words[:1] in (["search"], ["domain"]):
            domains = words[1:]
    return servers, domains


async def _ask(server: str, name: str) -> list[tuple[str, int]]:
    reader, writer = await asyncio.open_connection(server, _PORT)
    try:
        query = encode_query(name)
        writer.write(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await reader.readexactly(2), "big")
        return decode_answer(await reader.readexactly(size))
    except asyncio.IncompleteReadError as error:
        raise OSError(f"name server {server} closed the connection") from error
    finally:
        writer.close()


def encode_query(name: str) -> bytes:
    """Raises WireError for what is no domain name."""
    head = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    labels = []
    for label in name.rstrip(".").split("."):
        data = label.encode("idna") if not label.isascii() else label.encode()
        if not 0 < len(data) < 64:
            raise WireError(f"{name!r} is no domain name")
        labels.append(bytes((len(data),)) + data)
    return head + b"".join(labels) + b"\x00" + _SRV.to_bytes(2, "big") + _IN.to_bytes(2, "big")


def decode_answer(data: bytes) -> list[tuple[str, int]]:
    """Host and port of each SRV record in an answer, sorted; none when the name does not exist."""
    if len(data) < 12:
        raise WireError("the DNS answer is cut off")
    failure = data[3] & 0x0F
    if failure not in (0, 3):
        raise WireError(f"the name server answered with error {failure}")
    questions, answers = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
    at = 12
    for _ in range(questions):
        at = _skip_name(data, at) + 4
    return sorted(_records(data, at, answers))


def _records(data: bytes, at: int, count: int) -> Iterator[tuple[str, int]]:
    for _ in range(count):
        at = _skip_name(data, at)
        if at + 10 > len(data):
            raise WireError("the DNS answer is cut off")
        kind, size = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 8 : at + 10], "big")
        at += 10
        if at + size > len(data):
            raise WireError("the DNS answer is cut off")
        if kind == _SRV:
            if size < 7:
                raise WireError("an SRV record is too short")
            yield _name(data, at + 6), int.from_bytes(data[at + 4 : at + 6], "big")
        at += size


def _skip_name(data: bytes, at: int) -> int:
    """Where the name that begins at `at` ends."""
    while at < len(data):
        size = data[at]
        if size >= 0xC0:
            return at + 2
        at += 1 + size
        if size == 0:
            return at
    raise WireError("the DNS answer is cut off")


def _name(data: bytes, at: int) -> str:
    labels: list[str] = []
    for _ in range(_JUMPS_MAX):
        if at >= len(data):
            break
        size = data[at]
        if size == 0:
            return ".".join(labels)
        if size >= 0xC0:
            at = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            continue
        labels.append(data[at + 1 : at + 1 + size].decode("ascii", "replace"))
        at += 1 + size
    raise WireError("a name in the DNS answer is damaged")
