"""Frames of the connection between two processes: bytes in, frames out, and back. No socket, no loop, no clock.

    ┌──────┬───────┬───────┬────────────┬───────────────┬────────────────┬─────────┬─────────┐
    │ kind │ flags │   0   │ stream u32 │ header length │ payload length │ header  │ payload │
    │  u8  │  u8   │  u16  │            │      u32      │      u32       │ msgpack │  bytes  │
    └──────┴───────┴───────┴────────────┴───────────────┴────────────────┴─────────┴─────────┘

Integers are little-endian. The layout of these sixteen bytes is the same in every protocol version. Stream 0 is the
connection itself. A frame of a kind that is not known is handed out like any other, to be skipped. See docs/rpc.md.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

HEAD_BYTES = 16
_HEAD = struct.Struct("<BBHIII")
_COPY_BELOW_BYTES = 4096
"""A smaller payload is copied out of what was received, so that keeping it does not keep all of that."""

FLAG_LAST = 1
"""On a message: no other follows on its stream."""


class Kind(enum.IntEnum):
    HELLO = 1
    HELLO_ACK = 2
    CALL = 3
    STREAM_OPEN = 4
    MESSAGE = 5
    CREDIT = 6
    END = 7
    ERROR = 8
    CANCEL = 9
    PING = 10
    PONG = 11
    GOAWAY = 12


class FramingError(ValueError):
    """Bytes that are not frames, or a frame over the bounds; nothing after it can be read."""


@dataclass(frozen=True, slots=True)
class FrameBounds:
    header_bytes_max: int = 1 << 20
    payload_bytes_max: int = 100 << 20


class Frame:
    """kind is a number: there may be ones that `Kind` does not have. header is msgpack, not yet looked at."""

    __slots__ = ("flags", "header", "kind", "payload", "stream")

    def __init__(self, kind: int, flags: int, stream: int, header: bytes, payload: bytes | memoryview) -> None:
        self.kind = kind
        self.flags = flags
        self.stream = stream
        self.header = header
        self.payload = payload


def frame_head(kind: int, stream: int, header_bytes: int, payload_bytes: int, flags: int = 0) -> bytes:
    """The sixteen bytes in front of a header and a payload of these lengths."""
    return _HEAD.pack(kind, flags, 0, stream, header_bytes, payload_bytes)


class FrameDecoder:
    """Takes bytes as they come, split anywhere. Holds no more than one unfinished frame, and of it no more than what
    has arrived; a frame that announces more than the bounds allow is refused when its head is read."""

    __slots__ = ("_need", "_part", "bounds")

    def __init__(self, bounds: FrameBounds) -> None:
        self.bounds = bounds
        """May be changed between frames."""
        self._part = bytearray()
        self._need = HEAD_BYTES

    @property
    def held_bytes(self) -> int:
        """Bytes of the unfinished frame."""
        return len(self._part)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end in `data`. Large payloads are views of what was received, never copied when a frame came
        in one piece, once when it did not. Raises FramingError; the decoder is of no use after that."""
        frames: list[Frame] = []
        start, end = 0, len(data)
        while start < end:
            if self._part:
                start = self._continue(data, start, frames)
                continue
            if end - start < HEAD_BYTES:
                self._part += data[start:]
                break
            kind, flags, stream, header_bytes, payload_bytes = self._head(data, start)
            body = start + HEAD_BYTES + header_bytes
            stop = body + payload_bytes
            if stop > end:
                self._need = stop - start
                self._part += memoryview(data)[start:]
                break
            payload: bytes | memoryview
            payload = data[body:stop] if payload_bytes < _COPY_BELOW_BYTES else memoryview(data)[body:stop]
            frames.append(Frame(kind, flags, stream, data[start + HEAD_BYTES : body], payload))
            start = stop
        return frames

    def _continue(self, data: bytes, start: int, frames: list[Frame]) -> int:
        """Go on with the unfinished frame; where its part of `data` ends."""
        part = self._part
        taken = min(self._need - len(part), len(data) - start)
        part += memoryview(data)[start : start + taken]
        if len(part) == HEAD_BYTES == self._need:
            _, _, _, header_bytes, payload_bytes = self._head(part, 0)
            self._need = HEAD_BYTES + header_bytes + payload_bytes
        if len(part) == self._need:
            kind, flags, stream, header_bytes, _ = self._head(part, 0)
            body = HEAD_BYTES + header_bytes
            payload = memoryview(part).toreadonly()[body:] if len(part) > body else b""
            frames.append(Frame(kind, flags, stream, bytes(part[HEAD_BYTES:body]), payload))
            self._part, self._need = bytearray(), HEAD_BYTES
        return start + taken

    def _head(self, data: bytes | bytearray, start: int) -> tuple[int, int, int, int, int]:
        kind, flags, _, stream, header_bytes, payload_bytes = _HEAD.unpack_from(data, start)
        bounds = self.bounds
        if header_bytes > bounds.header_bytes_max:
            raise FramingError(f"a frame's header of {header_bytes} bytes is over {bounds.header_bytes_max}")
        if payload_bytes > bounds.payload_bytes_max:
            raise FramingError(f"a frame's payload of {payload_bytes} bytes is over {bounds.payload_bytes_max}")
        return kind, flags, stream, header_bytes, payload_bytes
