"""Messages of the memberlist protocol and their msgpack bodies (ring-and-gossip.md 14.2).

A message is a type byte and a map with Go's field names in the old msgpack form, where text and bytes are both raw.
Decoding is total: it raises WireError only. Unknown keys are skipped, missing ones are zero.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

PROTOCOL_VERSIONS = bytes((1, 5, 2, 0, 0, 0))
"""What we speak: protocol minimum, maximum, current; the same of the delegate."""
META_BYTES_MAX = 512
FIELDS_MAX = 64
_U32_MAX = (1 << 32) - 1
_MAPPED = bytes(10) + b"\xff\xff"


class WireError(ValueError):
    """Bytes that are not what the protocol allows."""


class MessageType(enum.IntEnum):
    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    CRC = 12
    ERROR = 13
    LABEL = 244


class NodeState(enum.IntEnum):
    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


@dataclass(frozen=True, slots=True)
class Endpoint:
    """addr: 4 bytes, or 16 of an IPv6 address. wire: the form it came in, if another: Go holds IPv4 addresses in either
    form, and takes a member whose address is passed on in the other one for another member."""

    addr: bytes
    port: int
    wire: bytes = field(default=b"", compare=False)

    @property
    def wire_addr(self) -> bytes:
        return self.wire or self.addr


@dataclass(frozen=True, slots=True)
class Ping:
    """node: whom it is meant for, empty: whoever gets it. source: where the ack goes, None: to the packet's sender."""

    seq: int
    node: str
    source: Endpoint | None = None
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class IndirectPing:
    seq: int
    target: Endpoint
    node: str
    nack: bool
    source: Endpoint | None = None
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    seq: int


@dataclass(frozen=True, slots=True)
class Nack:
    seq: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """origin: who says so."""

    incarnation: int
    node: str
    origin: str


@dataclass(frozen=True, slots=True)
class Dead:
    """origin equal to node: it left by itself."""

    incarnation: int
    node: str
    origin: str


@dataclass(frozen=True, slots=True)
class Alive:
    incarnation: int
    node: str
    endpoint: Endpoint
    meta: bytes
    versions: bytes


@dataclass(frozen=True, slots=True)
class User:
    """What the key-value store sends: opaque here."""

    body: bytes


Message = Ping | IndirectPing | Ack | Nack | Suspect | Dead | Alive | User


@dataclass(frozen=True, slots=True)
class RemoteNode:
    """A node as a push/pull tells of it."""

    name: str
    endpoint: Endpoint
    meta: bytes
    incarnation: int
    state: NodeState
    versions: bytes


@dataclass(frozen=True, slots=True)
class PushPull:
    nodes: tuple[RemoteNode, ...]
    join: bool
    user_state: bytes


@dataclass(frozen=True, slots=True)
class ErrorReply:
    text: str


Fields = Mapping[bytes, Any]


def pack_fields(fields: Mapping[str, Any]) -> bytes:
    """A map with its keys in order, as Go's encoder writes it."""
    packed: bytes = msgpack.packb(dict(sorted(fields.items())), use_bin_type=False)
    return packed


def unpack_fields(data: bytes) -> Fields:
    """The map at the start of `data`; what follows it is ignored, as other implementations do."""
    try:
        fields = msgpack.unpackb(
            data, raw=True, strict_map_key=False, max_map_len=FIELDS_MAX, max_array_len=FIELDS_MAX, max_ext_len=0
        )
    except msgpack.ExtraData as extra:
        fields = extra.unpacked
    except Exception as error:  # the library raises many kinds, TypeError for unhashable keys among them
        raise WireError(f"not a msgpack map: {error}") from error
    return as_fields(fields)


def as_fields(value: Any) -> Fields:
    if not isinstance(value, dict):
        raise WireError(f"a map wanted, got {type(value).__name__}")
    return value


def encode(message: Message) -> bytes:
    """Type byte and body."""
    if isinstance(message, User):
        return b"\x08" + message.body
    kind, fields = _ENCODERS[type(message)](message)
    return bytes((kind,)) + pack_fields(fields)


def decode(data: bytes) -> Message:
    """One message of a packet. Raises WireError, also for types that no packet carries."""
    if not data:
        raise WireError("empty message")
    if data[0] == MessageType.USER:
        return User(data[1:])
    return decode_fields(data[0], unpack_fields(data[1:]))


def decode_fields(kind: int, fields: Fields) -> Message:
    """The message of type `kind` with these fields. Raises WireError, also for types that no packet carries."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise WireError(f"message type {kind} is unknown")
    return decoder(fields)


def encode_node(node: RemoteNode) -> bytes:
    return pack_fields(
        {
            "Name": node.name,
            "Addr": node.endpoint.wire_addr,
            "Port": node.endpoint.port,
            "Meta": node.meta or None,
            "Incarnation": node.incarnation,
            "State": int(node.state),
            "Vsn": node.versions,
        }
    )


def decode_node(fields: Fields) -> RemoteNode:
    state = number(fields, b"State", 255)
    if state > NodeState.LEFT:
        raise WireError(f"node state {state} is unknown")
    return RemoteNode(
        name=_name(fields, b"Name"),
        endpoint=_endpoint(fields, b"Addr", b"Port"),
        meta=_meta(fields),
        incarnation=number(fields, b"Incarnation"),
        state=NodeState(state),
        versions=_versions(fields),
    )


def number(fields: Fields, key: bytes, most: int = _U32_MAX) -> int:
    value = fields.get(key, 0)
    if type(value) is not int or not 0 <= value <= most:
        raise WireError(f"{key.decode()} is no number from 0 to {most}")
    return value


def raw(fields: Fields, key: bytes) -> bytes:
    value = fields.get(key)
    if value is None:
        return b""
    if not isinstance(value, bytes):
        raise WireError(f"{key.decode()} is no byte string")
    return value


def flag(fields: Fields, key: bytes) -> bool:
    value = fields.get(key, False)
    if not isinstance(value, bool):
        raise WireError(f"{key.decode()} is no boolean")
    return value


def string(fields: Fields, key: bytes) -> str:
    try:
        return raw(fields, key).decode()
    except UnicodeDecodeError as error:
        raise WireError(f"{key.decode()} is not UTF-8") from error


def _name(fields: Fields, key: bytes) -> str:
    value = string(fields, key)
    if not value:
        raise WireError(f"{key.decode()} is missing")
    return value


def _endpoint(fields: Fields, addr_key: bytes, port_key: bytes) -> Endpoint:
    addr = raw(fields, addr_key)
    if len(addr) not in (4, 16):
        raise WireError(f"{addr_key.decode()} has {len(addr)} bytes")
    port = number(fields, port_key, 65535)
    if len(addr) == 16 and addr.startswith(_MAPPED):
        return Endpoint(addr[12:], port, wire=addr)
    return Endpoint(addr, port)


def _source(fields: Fields) -> Endpoint | None:
    if not raw(fields, b"SourceAddr") or not number(fields, b"SourcePort", 65535):
        return None
    return _endpoint(fields, b"SourceAddr", b"SourcePort")


def _meta(fields: Fields) -> bytes:
    meta = raw(fields, b"Meta")
    if len(meta) > META_BYTES_MAX:
        raise WireError(f"Meta has {len(meta)} bytes")
    return meta


def _versions(fields: Fields) -> bytes:
    value = fields.get(b"Vsn")
    if isinstance(value, bytes) and len(value) in (0, 6):
        return value or bytes(6)
    if value is None:
        return bytes(6)
    raise WireError("Vsn is not six bytes")


def _source_fields(source: Endpoint | None, node: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if source is not None:
        fields |= {"SourceAddr": source.wire_addr, "SourcePort": source.port}
    if node:
        fields["SourceNode"] = node
    return fields


def _encode_ping(message: Ping) -> tuple[int, dict[str, Any]]:
    source = _source_fields(message.source, message.source_node)
    return MessageType.PING, {"SeqNo": message.seq, "Node": message.node, **source}


def _encode_indirect_ping(message: IndirectPing) -> tuple[int, dict[str, Any]]:
    fields = {
        "SeqNo": message.seq,
        "Target": message.target.wire_addr,
        "Port": message.target.port,
        "Node": message.node,
        "Nack": message.nack,
    }
    return MessageType.INDIRECT_PING, fields | _source_fields(message.source, message.source_node)


def _encode_alive(message: Alive) -> tuple[int, dict[str, Any]]:
    return MessageType.ALIVE, {
        "Incarnation": message.incarnation,
        "Node": message.node,
        "Addr": message.endpoint.wire_addr,
        "Port": message.endpoint.port,
        "Meta": message.meta or None,
        "Vsn": message.versions,
    }


def _accusation(kind: MessageType) -> Callable[[Any], tuple[int, dict[str, Any]]]:
    return lambda m: (kind, {"Incarnation": m.incarnation, "Node": m.node, "From": m.origin})


_ENCODERS: dict[type, Callable[[Any], tuple[int, dict[str, Any]]]] = {
    Ping: _encode_ping,
    IndirectPing: _encode_indirect_ping,
    Ack: lambda m: (MessageType.ACK, {"SeqNo": m.seq, "Payload": None}),
    Nack: lambda m: (MessageType.NACK, {"SeqNo": m.seq}),
    Suspect: _accusation(MessageType.SUSPECT),
    Dead: _accusation(MessageType.DEAD),
    Alive: _encode_alive,
}


def _decode_ping(fields: Fields) -> Ping:
    return Ping(number(fields, b"SeqNo"), string(fields, b"Node"), _source(fields), string(fields, b"SourceNode"))


def _decode_indirect_ping(fields: Fields) -> IndirectPing:
    return IndirectPing(
        seq=number(fields, b"SeqNo"),
        target=_endpoint(fields, b"Target", b"Port"),
        node=string(fields, b"Node"),
        nack=flag(fields, b"Nack"),
        source=_source(fields),
        source_node=string(fields, b"SourceNode"),
    )


def _decode_alive(fields: Fields) -> Alive:
    return Alive(
        incarnation=number(fields, b"Incarnation"),
        node=_name(fields, b"Node"),
        endpoint=_endpoint(fields, b"Addr", b"Port"),
        meta=_meta(fields),
        versions=_versions(fields),
    )


def _decode_suspect(fields: Fields) -> Suspect:
    return Suspect(number(fields, b"Incarnation"), _name(fields, b"Node"), string(fields, b"From"))


def _decode_dead(fields: Fields) -> Dead:
    return Dead(number(fields, b"Incarnation"), _name(fields, b"Node"), string(fields, b"From"))


_DECODERS: dict[int, Callable[[Fields], Message]] = {
    MessageType.PING: _decode_ping,
    MessageType.INDIRECT_PING: _decode_indirect_ping,
    MessageType.ACK: lambda f: Ack(number(f, b"SeqNo")),
    MessageType.NACK: lambda f: Nack(number(f, b"SeqNo")),
    MessageType.SUSPECT: _decode_suspect,
    MessageType.DEAD: _decode_dead,
    MessageType.ALIVE: _decode_alive,
}
