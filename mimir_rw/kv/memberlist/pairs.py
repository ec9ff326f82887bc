"""Bytes of key-value pairs: one is the body of a gossip message, a run of them is the state in a push/pull
(ring-and-gossip.md 12). Pure and total: WireError only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mimir_rw.kv.memberlist.messages import WireError

KEY_BYTES_MAX = 4096
_I64 = 1 << 64


@dataclass(frozen=True, slots=True)
class Pair:
    """value: as the codec encodes it. update_time_ms: when `deleted` was last set; 0: never."""

    key: str
    value: bytes
    codec_id: str
    deleted: bool = False
    update_time_ms: int = 0


def encode_pair(pair: Pair) -> bytes:
    parts = [_bytes_field(0x0A, pair.key.encode())]
    if pair.value:
        parts.append(_bytes_field(0x12, pair.value))
    if pair.codec_id:
        parts.append(_bytes_field(0x1A, pair.codec_id.encode()))
    if pair.deleted:
        parts.append(b"\x20\x01")
    if pair.update_time_ms:
        parts.append(b"\x28" + _varint(pair.update_time_ms % _I64))
    return b"".join(parts)


def decode_pair(data: bytes) -> Pair:
    """Unknown fields are skipped; of a repeated one the last counts."""
    values: dict[int, bytes | int] = {}
    at, end = 0, len(data)
    while at < end:
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == 0:
            values[tag], at = _read_varint(data, at)
        elif kind == 2:
            size, at = _read_varint(data, at)
            if size > end - at:
                raise WireError("a field of the pair is cut off")
            values[tag] = data[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise WireError(f"wire type {kind} is unknown")
    if at != end:
        raise WireError("a field of the pair is cut off")
    key = _text(values.get(0x0A, b""))
    if not key or len(key) > KEY_BYTES_MAX:
        raise WireError("the pair's key is empty or too long")
    value, time_ms = values.get(0x12, b""), values.get(0x28, 0)
    assert isinstance(value, bytes)
    assert isinstance(time_ms, int)
    signed = time_ms - _I64 if time_ms >= _I64 // 2 else time_ms
    return Pair(key, value, _text(values.get(0x1A, b"")), bool(values.get(0x20, 0)), signed)


def join_pairs(encoded: list[bytes]) -> bytes:
    """The state of a push/pull."""
    return b"".join(part for pair in encoded for part in (len(pair).to_bytes(4, "big"), pair))


def split_pairs(data: bytes) -> Iterator[bytes]:
    """Encoded pairs of a state. Raises WireError at the one that is cut off, after those before it."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 4 + size > len(data):
            raise WireError("the state is cut off")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def _bytes_field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[at : at + 10]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value % _I64, at
        shift += 7
    raise WireError("a number of the pair is cut off")


def _text(value: bytes | int) -> str:
    assert isinstance(value, bytes)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise WireError("text of the pair is not UTF-8") from error
