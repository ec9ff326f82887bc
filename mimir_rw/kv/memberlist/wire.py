"""Packets and streams as bytes (ring-and-gossip.md 13 and 14).

A packet, from the outside: transport frame (kind, sender's address, MD5), label header, CRC, compression, compound,
messages. A stream: label header, compression, push/pull, ping or error. Everything is pure and total: decoders raise
WireError only, and look at a declared size before they take memory for it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import msgpack
import snappy

from mimir_rw.kv.memberlist import lzw
from mimir_rw.kv.memberlist.messages import (
    FIELDS_MAX,
    Ack,
    ErrorReply,
    Fields,
    MessageType,
    Ping,
    PushPull,
    RemoteNode,
    WireError,
    as_fields,
    decode_fields,
    decode_node,
    encode,
    encode_node,
    flag,
    number,
    pack_fields,
    raw,
    string,
    unpack_fields,
)

PACKET_KIND, STREAM_KIND = b"\x01", b"\x02"
COMPOUND_PARTS_MAX = 255
COMPOUND_PART_BYTES_MAX = 65535
LABEL_BYTES_MAX = 253
PACKET_COMPRESS_MIN = 4096
"""Smaller packets are sent as they are: they hold values that are compressed already, and a receiver takes either."""
NODES_MAX = 1 << 20
_MD5_BYTES = 16
_ALGO_LZW, _ALGO_SNAPPY = 0, 1


# Transport frame: what one TCP connection carries when it stands in for a datagram.


def encode_frame(sender: bytes, payload: bytes) -> bytes:
    """sender: advertised address, `ip:port`."""
    digest = hashlib.md5(payload, usedforsecurity=False).digest()
    return b"".join((PACKET_KIND, bytes((len(sender),)), sender, payload, digest))


@dataclass(frozen=True, slots=True)
class Frame:
    """intact: the digest matches. The protocol above takes payloads that are not, as dskit's does: it has a CRC."""

    sender: str
    payload: bytes
    intact: bool


def decode_frame(data: bytes) -> Frame:
    """A whole connection's bytes after the kind byte."""
    if not data or len(data) < 1 + data[0] + _MD5_BYTES:
        raise WireError("the packet is too short")
    start = 1 + data[0]
    payload, digest = data[start:-_MD5_BYTES], data[-_MD5_BYTES:]
    try:
        sender = data[1:start].decode("ascii")
    except UnicodeDecodeError as error:
        raise WireError("the sender's address is no text") from error
    return Frame(sender, payload, hashlib.md5(payload, usedforsecurity=False).digest() == digest)


# Label header.


def label_header(label: str) -> bytes:
    if not label:
        return b""
    text = label.encode()
    assert len(text) <= LABEL_BYTES_MAX, "the cluster label is too long"
    return bytes((MessageType.LABEL, len(text))) + text


def split_label(data: bytes) -> tuple[str, bytes]:
    """The label, empty if there is none, and what follows it."""
    if not data or data[0] != MessageType.LABEL:
        return "", data
    if len(data) < 2 or data[1] == 0 or len(data) < 2 + data[1]:
        raise WireError("the label header is cut off")
    end = 2 + data[1]
    return _label_text(data[2:end]), data[end:]


def check_label(found: str, *, ours: str, verify: bool) -> None:
    """Raises WireError when `found` is of another cluster. Without `verify` one is refused only when we have none."""
    if found == ours or (not verify and (ours or not found)):
        return
    raise WireError(f"cluster label {found!r} is not ours ({ours!r})")


def _label_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WireError("the label is not UTF-8") from error


# Packets.


def compress(data: bytes) -> bytes:
    """A compress message that holds `data`."""
    body = pack_fields({"Algo": _ALGO_LZW, "Buf": lzw.compress(data)})
    return bytes((MessageType.COMPRESS,)) + body


def decompress(fields: Fields, *, bytes_max: int) -> bytes:
    """What a compress message holds."""
    algo, data = number(fields, b"Algo", 255), raw(fields, b"Buf")
    if algo == _ALGO_LZW:
        return lzw.decompress(data, bytes_max=bytes_max)
    if algo == _ALGO_SNAPPY:
        if _snappy_length(data) > bytes_max:
            raise WireError(f"compressed data holds more than {bytes_max} bytes")
        try:
            return bytes(snappy.uncompress(data))
        except Exception as error:  # the library raises many kinds
            raise WireError("the compressed data is damaged") from error
    raise WireError(f"compression {algo} is unknown")


def _snappy_length(data: bytes) -> int:
    """The length that a snappy block declares."""
    length = 0
    for i, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return length
    raise WireError("the compressed data is damaged")


def compound(messages: Sequence[bytes]) -> list[bytes]:
    """As few messages as carry them all: a lone or a large one goes as it is."""
    small = [m for m in messages if len(m) <= COMPOUND_PART_BYTES_MAX]
    packed = [m for m in messages if len(m) > COMPOUND_PART_BYTES_MAX]
    for start in range(0, len(small), COMPOUND_PARTS_MAX):
        parts = small[start : start + COMPOUND_PARTS_MAX]
        packed.append(parts[0] if len(parts) == 1 else _compound(parts))
    return packed


def _compound(parts: Sequence[bytes]) -> bytes:
    head = bytes((MessageType.COMPOUND, len(parts)))
    return b"".join((head, *(len(part).to_bytes(2, "big") for part in parts), *parts))


def split_compound(data: bytes) -> list[bytes]:
    """The parts of a compound message. Those that are cut off are left out, as other implementations do."""
    if len(data) < 2 or len(data) < 2 + 2 * data[1]:
        raise WireError("the compound message is cut off")
    parts, at = [], 2 + 2 * data[1]
    for i in range(2, 2 + 2 * data[1], 2):
        end = at + int.from_bytes(data[i : i + 2], "big")
        if end > len(data):
            break
        parts.append(data[at:end])
        at = end
    return parts


def seal(message: bytes, *, label: str, crc: bool, compression: bool) -> bytes:
    """The payload of a packet that carries one message or compound."""
    if compression and len(message) >= PACKET_COMPRESS_MIN:
        smaller = compress(message)
        if len(smaller) < len(message):
            message = smaller
    if crc:
        message = bytes((MessageType.CRC,)) + zlib.crc32(message).to_bytes(4, "big") + message
    return label_header(label) + message


def unseal(payload: bytes, *, label: str, verify_label: bool, bytes_max: int) -> list[bytes]:
    """The messages in a packet, none of them compound or compressed."""
    found, data = split_label(payload)
    check_label(found, ours=label, verify=verify_label)
    if data[:1] == b"\x0c":
        if len(data) < 5 or zlib.crc32(data[5:]) != int.from_bytes(data[1:5], "big"):
            raise WireError("the CRC does not match")
        data = data[5:]
    if data[:1] == b"\x09":
        data = decompress(unpack_fields(data[1:]), bytes_max=bytes_max)
    if data[:1] != b"\x07":
        return [data]
    return [part for part in split_compound(data) if part]


# Streams.

StreamMessage = PushPull | Ping | Ack | ErrorReply


def encode_push_pull(message: PushPull) -> bytes:
    header = {"Nodes": len(message.nodes), "UserStateLen": len(message.user_state), "Join": message.join}
    parts = [bytes((MessageType.PUSH_PULL,)), pack_fields(header), *map(encode_node, message.nodes)]
    return b"".join((*parts, message.user_state))


def encode_stream(message: StreamMessage, *, label: str, compression: bool) -> bytes:
    """label: empty for replies, which carry none."""
    if isinstance(message, PushPull):
        body = encode_push_pull(message)
    elif isinstance(message, ErrorReply):
        body = bytes((MessageType.ERROR,)) + pack_fields({"Error": message.text})
    else:
        body = encode(message)
    return label_header(label) + (compress(body) if compression else body)


@dataclass(frozen=True, slots=True)
class StreamResult:
    label: str
    message: StreamMessage
    size: int
    """Bytes on the wire."""


class StreamDecoder:
    """Takes a stream in pieces until one message is whole.

    bytes_max bounds what is held, on the wire and after decompression. Raises WireError.
    """

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._input = _Input(bytes_max)
        self._label = ""
        self._work = self._read()
        next(self._work)

    def feed(self, data: bytes) -> StreamResult | None:
        """The message once it is whole, and None before. What follows it is not looked at."""
        self._input.feed(data)
        try:
            next(self._work)
        except StopIteration as whole:
            return StreamResult(self._label, whole.value, self._input.fed)
        return None

    def _read(self) -> Generator[None, None, StreamMessage]:
        yield
        kind = yield from self._input.take(1)
        if kind[0] == MessageType.LABEL:
            size = yield from self._input.take(1)
            self._label = _label_text((yield from self._input.take(size[0])))
            kind = yield from self._input.take(1)
        if kind[0] != MessageType.COMPRESS:
            return (yield from _read_message(kind[0], self._input))
        fields = yield from self._input.fields()
        inner = _Input(self._bytes_max)
        inner.feed(decompress(fields, bytes_max=self._bytes_max))
        try:
            next(_read_typed(inner))
        except StopIteration as whole:
            message: StreamMessage = whole.value
            return message
        raise WireError("the compressed message is cut off")


class _Input:
    """Bytes of a stream and where reading them has come to. Its generators yield when they need more."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.fed = 0
        self._unpacker = msgpack.Unpacker(
            raw=True, strict_map_key=False, max_buffer_size=bytes_max, max_map_len=FIELDS_MAX, max_array_len=FIELDS_MAX,
            max_ext_len=0,
        )  # fmt: skip

    def feed(self, data: bytes) -> None:
        self.fed += len(data)
        if self.fed > self.bytes_max:
            raise WireError(f"the stream has more than {self.bytes_max} bytes")
        self._unpacker.feed(data)

    def take(self, count: int) -> Generator[None, None, bytes]:
        while self.fed - self._unpacker.tell() < count:
            yield
        return bytes(self._unpacker.read_bytes(count))

    def fields(self) -> Generator[None, None, Fields]:
        while True:
            try:
                return as_fields(self._unpacker.unpack())
            except msgpack.OutOfData:
                yield
            except WireError:
                raise
            except Exception as error:  # the library raises many kinds
                raise WireError(f"not a msgpack map: {error}") from error


def _read_typed(source: _Input) -> Generator[None, None, StreamMessage]:
    kind = yield from source.take(1)
    return (yield from _read_message(kind[0], source))


def _read_message(kind: int, source: _Input) -> Generator[None, None, StreamMessage]:
    if kind == MessageType.PUSH_PULL:
        return (yield from _read_push_pull(source))
    if kind == MessageType.ERROR:
        return ErrorReply(string((yield from source.fields()), b"Error"))
    if kind in (MessageType.PING, MessageType.ACK):
        message = decode_fields(kind, (yield from source.fields()))
        assert isinstance(message, Ping | Ack)
        return message
    raise WireError(f"message type {kind} is not for streams")


def _read_push_pull(source: _Input) -> Generator[None, None, PushPull]:
    header = yield from source.fields()
    count = number(header, b"Nodes", NODES_MAX)
    size = number(header, b"UserStateLen")
    if size > source.bytes_max:
        raise WireError(f"the user state declares {size} bytes")
    nodes: list[RemoteNode] = []
    for _ in range(count):
        fields = yield from source.fields()
        nodes.append(decode_node(fields))
    state = yield from source.take(size)
    return PushPull(tuple(nodes), flag(header, b"Join"), state)
