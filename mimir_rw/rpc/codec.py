"""Headers of frames: msgpack maps with text keys. Keys that are not known are skipped: newer peers may add some.

`decode_header` is total: whatever the bytes, it returns a header or raises FramingError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from mimir_rw.rpc.framing import FramingError

T = TypeVar("T")
NO_HEADER: Mapping[str, Any] = {}


class Hello(msgspec.Struct, frozen=True):
    """First frame of the side that connects. payload_bytes_max: what it takes in one frame."""

    magic: str
    protocol_min: int
    protocol_max: int
    cluster: str
    instance: str
    epoch: str
    payload_bytes_max: int
    software: str = ""


class HelloAck(msgspec.Struct, frozen=True):
    """The answer to it. protocol: what both sides speak from here on."""

    protocol: int
    cluster: str
    instance: str
    epoch: str
    payload_bytes_max: int
    software: str = ""


class CallHeader(msgspec.Struct, omit_defaults=True):
    """Of a call and of the opening of a stream. timeout_s 0: no deadline. credit: bytes that may be streamed at first.
    header: the message's own."""

    method: str
    tenant: str = ""
    trace: str = ""
    timeout_s: float = 0.0
    credit: int = 0
    header: dict[str, Any] = {}


class CreditHeader(msgspec.Struct):
    """More bytes that may be streamed."""

    bytes: int


class ErrorHeader(msgspec.Struct, omit_defaults=True):
    kind: str
    text: str
    id: str = ""


class GoawayHeader(msgspec.Struct):
    reason: str


_encoder = msgspec.msgpack.Encoder()
encode_header = _encoder.encode
"""Any of the structs above, or a message's own header; TypeError for what msgpack has no form for."""

HELLO = msgspec.msgpack.Decoder(Hello)
HELLO_ACK = msgspec.msgpack.Decoder(HelloAck)
CALL = msgspec.msgpack.Decoder(CallHeader)
CREDIT = msgspec.msgpack.Decoder(CreditHeader)
ERROR = msgspec.msgpack.Decoder(ErrorHeader)
GOAWAY = msgspec.msgpack.Decoder(GoawayHeader)
_MESSAGE = msgspec.msgpack.Decoder(dict[str, Any])


def decode_header(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    """Raises FramingError."""
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError, OverflowError) as error:
        raise FramingError(f"a frame's header does not decode: {error}") from error


def decode_message_header(data: bytes) -> Mapping[str, Any]:
    """A message's own header; no bytes are an empty one. Raises FramingError."""
    if not data:
        return NO_HEADER
    return decode_header(_MESSAGE, data)
