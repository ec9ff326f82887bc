"""A ring's bytes: protobuf in a snappy block (ring-and-gossip.md section 2). Pure; the decoder is total and bounded.

    Desc          ingesters=1: map<string, InstanceDesc>
    InstanceDesc  addr=1 timestamp=2 state=3 tokens=6 (packed) zone=7 registered_timestamp=8 id=9
                  read_only_updated_timestamp=10 read_only=11 versions=12: map<uint64, uint64>

Zero values are not written, unknown fields are skipped. The snappy block holds literals only: tokens are random, so
there is nothing to gain by looking for repetitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import snappy

from mimir_rw.kv.contract import CodecError
from mimir_rw.ring import desc
from mimir_rw.ring.desc import EMPTY, NO_VERSIONS, InstanceDesc, InstanceState, RingDesc

DECODED_BYTES_MAX = 64 << 20
"""A ring of a thousand instances with 512 tokens each takes 3 MiB."""
_TOKENS_KEPT = 1024
"""Token lists remembered by their bytes: a heartbeat repeats them, and most messages are heartbeats."""
_LITERAL = 60
_U64 = (1 << 64) - 1

_Field = tuple[int, int, "int | memoryview"]


class RingCodec:
    """Codec of `kv/contract.py` for rings."""

    id = "ringDesc"

    def encode(self, value: RingDesc) -> bytes:
        return _snappy_literals(encode_desc(value))

    def decode(self, data: bytes) -> RingDesc:
        return decode_desc(_snappy_plain(data)) if data else EMPTY

    def merge(
        self, ours: RingDesc | None, incoming: RingDesc, *, local_cas: bool, now_s: int
    ) -> tuple[RingDesc, RingDesc | None]:
        return desc.merge(ours, incoming, local_cas=local_cas, now_s=now_s)

    def without_tombstones(self, value: RingDesc, before_s: int | None) -> RingDesc:
        return desc.without_tombstones(value, before_s)

    def names(self, value: RingDesc) -> frozenset[str]:
        return frozenset(value)

    def is_empty(self, value: RingDesc) -> bool:
        return not value

    def show(self, value: RingDesc) -> object:
        return desc.shown(value)


RING_CODEC = RingCodec()


def encode_desc(value: RingDesc) -> bytes:
    out = bytearray()
    for instance in value.values():
        entry = bytearray()
        _put_bytes(entry, 1, instance.id.encode())
        _put_bytes(entry, 2, _encode_instance(instance), always=True)
        _put_bytes(out, 1, bytes(entry), always=True)
    return bytes(out)


def decode_desc(data: bytes) -> RingDesc:
    """Raises CodecError."""
    try:
        instances = [_decode_entry(_chunk(value)) for field, _, value in _fields(memoryview(data)) if field == 1]
    except (IndexError, UnicodeDecodeError) as error:
        raise CodecError(f"ring does not decode: {error}") from error
    return RingDesc(instances)


def _encode_instance(instance: InstanceDesc) -> bytes:
    out = bytearray()
    _put_bytes(out, 1, instance.addr.encode())
    _put_number(out, 2, instance.timestamp_s)
    _put_number(out, 3, instance.state)
    _put_bytes(out, 6, _encode_tokens(instance.tokens))
    _put_bytes(out, 7, instance.zone.encode())
    _put_number(out, 8, instance.registered_s)
    _put_bytes(out, 9, instance.id.encode())
    _put_number(out, 10, instance.read_only_updated_s)
    _put_number(out, 11, instance.read_only)
    for key, version in sorted(instance.versions.items()):
        entry = bytearray()
        _put_number(entry, 1, key)
        _put_number(entry, 2, version)
        _put_bytes(out, 12, bytes(entry), always=True)
    return bytes(out)


@lru_cache(maxsize=_TOKENS_KEPT)
def _encode_tokens(tokens: tuple[int, ...]) -> bytes:
    out = bytearray()
    for token in tokens:
        _put_varint(out, token)
    return bytes(out)


def _decode_entry(data: memoryview) -> InstanceDesc:
    id, body = "", memoryview(b"")
    for field, _, value in _fields(data):
        if field == 1:
            id = _text(value)
        elif field == 2:
            body = _chunk(value)
    return _decode_instance(id, body)


def _decode_instance(id: str, data: memoryview) -> InstanceDesc:
    texts = {1: "", 7: ""}
    numbers = {2: 0, 3: 0, 8: 0, 10: 0, 11: 0}
    tokens: tuple[int, ...] = ()
    versions: dict[int, int] = {}
    for field, _, value in _fields(data):
        if field in texts:
            texts[field] = _text(value)
        elif field in numbers:
            numbers[field] = _number(value)
        elif field == 6:
            tokens += (value & 0xFFFF_FFFF,) if isinstance(value, int) else _decode_tokens(bytes(value))
        elif field == 12:
            key, version = _decode_version(_chunk(value))
            versions[key] = version
    try:
        state = InstanceState(numbers[3])
    except ValueError:
        raise CodecError(f"instance {id!r} is in unknown state {numbers[3]}") from None
    return InstanceDesc(
        id=id,
        addr=texts[1],
        zone=texts[7],
        state=state,
        timestamp_s=numbers[2],
        registered_s=numbers[8],
        read_only=numbers[11] != 0,
        read_only_updated_s=numbers[10],
        tokens=tokens,
        versions=versions or NO_VERSIONS,
    )


@lru_cache(maxsize=_TOKENS_KEPT)
def _decode_tokens(data: bytes) -> tuple[int, ...]:
    """Packed varints. Those of a token take five bytes at most; what is above 32 bits is cut off, as in Go."""
    column = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(column < 0x80)
    if len(column) and (not len(ends) or ends[-1] != len(column) - 1):
        raise CodecError("tokens end in the middle of one")
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    lengths = ends - starts + 1
    if len(ends) and lengths.max() > 10:
        raise CodecError("a token is longer than a varint may be")
    values = np.zeros(len(ends), dtype=np.uint64)
    for i in range(min(5, int(lengths.max(initial=0)))):
        there = lengths > i
        values[there] |= (column[starts[there] + i] & 0x7F).astype(np.uint64) << np.uint64(7 * i)
    return tuple((values & np.uint64(0xFFFF_FFFF)).tolist())


def _decode_version(data: memoryview) -> tuple[int, int]:
    key = version = 0
    for field, _, value in _fields(data):
        if field == 1:
            key = _number(value) & _U64
        elif field == 2:
            version = _number(value) & _U64
    return key, version


def _fields(data: memoryview) -> Iterator[_Field]:
    """Field number, wire type, and a varint or the bytes of the field. IndexError at a premature end."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        field, kind = tag >> 3, tag & 7
        if field == 0:
            raise CodecError("field number 0")
        if kind == 0:
            number, at = _varint(data, at)
            yield field, kind, number
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise CodecError(f"wire type {kind}")
        if length > len(data) - at:
            raise CodecError("a field is longer than its message")
        yield field, kind, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _U64, at
        shift += 7
        if shift > 63:
            raise CodecError("a varint is longer than ten bytes")


def _chunk(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise CodecError("a number where bytes belong")
    return value


def _text(value: int | memoryview) -> str:
    return str(_chunk(value), "utf-8")


def _number(value: int | memoryview) -> int:
    """Signed 64 bits."""
    if not isinstance(value, int):
        raise CodecError("bytes where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def _put_varint(out: bytearray, value: int) -> None:
    value &= _U64
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _put_number(out: bytearray, field: int, value: int) -> None:
    if value:
        _put_varint(out, field << 3)
        _put_varint(out, value)


def _put_bytes(out: bytearray, field: int, value: bytes, *, always: bool = False) -> None:
    if value or always:
        _put_varint(out, field << 3 | 2)
        _put_varint(out, len(value))
        out += value


def _snappy_literals(plain: bytes) -> bytes:
    out = bytearray()
    _put_varint(out, len(plain))
    for at in range(0, len(plain), _LITERAL):
        piece = plain[at : at + _LITERAL]
        out.append((len(piece) - 1) << 2)
        out += piece
    return bytes(out)


def _snappy_plain(data: bytes) -> bytes:
    try:
        length, _ = _varint(memoryview(data[:10]), 0)
        if length > DECODED_BYTES_MAX:
            raise CodecError(f"a ring of {length} bytes is larger than {DECODED_BYTES_MAX} bytes")
        return bytes(snappy.uncompress(data))
    except (IndexError, ValueError, snappy.UncompressError) as error:
        raise CodecError(f"not a snappy block: {error}") from error
