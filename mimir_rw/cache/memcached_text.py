"""Memcached's text protocol: what is sent, and how answers are read. Reading is bounded.

get <key>*\\r\\n            → (VALUE <key> <flags> <bytes>\\r\\n<data>\\r\\n)* END\\r\\n
set <key> 0 <ttl> <bytes>\\r\\n<data>\\r\\n  → STORED\\r\\n
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence

KEY_BYTES_MAX = 250
LINE_BYTES_MAX = 2048
TTL_S_MAX = 30 * 24 * 3600
"""Beyond it memcached takes the number for a point in time."""


class MemcachedError(Exception):
    """An answer that is none, or one that says that something went wrong."""


def wire_key(key: str) -> bytes:
    """The key as memcached may have it: a longer one, or one with spaces, by its hash."""
    raw = key.encode("utf-8", "surrogatepass")
    if len(raw) <= KEY_BYTES_MAX and all(0x21 <= byte <= 0x7E for byte in raw):
        return raw
    return b"h1/" + hashlib.blake2b(raw, digest_size=32).hexdigest().encode()


def get_request(keys: Iterable[bytes]) -> bytes:
    return b"get " + b" ".join(keys) + b"\r\n"


def set_request(key: bytes, value: bytes, ttl_s: float) -> bytes:
    seconds = min(max(1, int(ttl_s)), TTL_S_MAX)
    return b"set %s 0 %d %d\r\n%s\r\n" % (key, seconds, len(value), value)


async def read_values(
    reader: asyncio.StreamReader, keys: Sequence[bytes], *, value_bytes_max: int
) -> dict[bytes, bytes]:
    """The answer to a get. Raises MemcachedError, and what the stream raises."""
    wanted, found = frozenset(keys), dict[bytes, bytes]()
    while True:
        line = await read_line(reader)
        if line == b"END":
            return found
        parts = line.split(b" ")
        if len(parts) != 4 or parts[0] != b"VALUE" or not parts[3].isdigit():
            raise MemcachedError(f"answered {line[:80]!r}")
        size = int(parts[3])
        if parts[1] not in wanted or size > value_bytes_max:
            raise MemcachedError(f"answered with {parts[1][:80]!r} of {size} bytes")
        data = await reader.readexactly(size + 2)
        if data[-2:] != b"\r\n":
            raise MemcachedError("a value does not end where it should")
        found[parts[1]] = data[:-2]


async def read_line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readuntil(b"\r\n")
    if len(line) > LINE_BYTES_MAX:
        raise MemcachedError("a line is too long")
    return line[:-2]
