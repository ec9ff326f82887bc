"""Remote write 1.0 messages built by hand (remote-write.md section 2), for tests and benches of every kind."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import snappy


def uvarint(n: int) -> bytes:
    """Negative numbers are encoded as protobuf's int64 does it: ten bytes."""
    n &= (1 << 64) - 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return uvarint(number << 3 | 2) + uvarint(len(payload)) + payload


def label(name: bytes, value: bytes) -> bytes:
    return field(1, field(1, name) + field(2, value))


def sample(ms: int, value: float) -> bytes:
    return field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + uvarint(ms))


def labels(pairs: Mapping[str, str]) -> bytes:
    """Label fields sorted by name, as Prometheus sends them."""
    return b"".join(label(name.encode(), value.encode()) for name, value in sorted(pairs.items()))


def series(pairs: Mapping[str, str], samples: Iterable[tuple[int, float]]) -> bytes:
    """A time series field: sorted labels, then (ms, value) samples in the order given."""
    return field(1, labels(pairs) + b"".join(sample(ms, value) for ms, value in samples))


def metadata(metric: str, kind: int, help: str, unit: str = "") -> bytes:
    texts = field(2, metric.encode()) + field(4, help.encode()) + field(5, unit.encode())
    return field(3, b"\x08" + uvarint(kind) + texts)


def compress(message: bytes) -> bytes:
    return bytes(snappy.compress(message))


def body(*fields: bytes) -> bytes:
    """A request body of series and metadata fields."""
    return compress(b"".join(fields))
