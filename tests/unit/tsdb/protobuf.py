"""Remote write 1.0 messages, written by hand so that tests need no generated code."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence


def uvarint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append((n & 0x7F) | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    return uvarint(number << 3 | 2) + uvarint(len(payload)) + payload


def series(labels: Mapping[str, str], samples: Iterable[tuple[int, float]]) -> bytes:
    parts = [field(1, field(1, n.encode()) + field(2, v.encode())) for n, v in sorted(labels.items())]
    parts += [field(2, b"\x09" + struct.pack("<d", v) + b"\x10" + uvarint(t % (1 << 64))) for t, v in samples]
    return b"".join(parts)


def write_request(
    rows: Iterable[tuple[Mapping[str, str], Sequence[tuple[int, float]]]],
    metadata: Iterable[tuple[int, str, str, str]] = (),
) -> bytes:
    body = [field(1, series(labels, samples)) for labels, samples in rows]
    for kind, metric, help_, unit in metadata:
        entry = b"\x08" + uvarint(kind) + field(2, metric.encode()) + field(4, help_.encode()) + field(5, unit.encode())
        body.append(field(3, entry))
    return b"".join(body)
