"""One connection, either end: frames to and from the transport, the greeting, life signs, and backpressure.

    opened ──greeting──► ready ──goaway, last call ended / lost──► closed

What a frame means is for the two subclasses (client.py opens calls, server.py answers them). State is changed on the
event loop only.

Writing: frames gather in `_out` and go to the transport once in an iteration of the loop, together, so that many small
frames cost one system call. `pause_writing` holds back whoever sends payloads (`writable`); the small frames that keep
a connection going (credit, cancel, pong, errors) pass, up to a bound beyond which the peer is taken for broken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.trace import untraced
from mimir_rw.model.errors import MimirError, TooLarge, Unavailable
from mimir_rw.rpc.codec import encode_header
from mimir_rw.rpc.errors import error_header
from mimir_rw.rpc.framing import HEAD_BYTES, Frame, FrameBounds, FrameDecoder, FramingError, Kind, frame_head
from mimir_rw.rpc.handshake import Agreement, Identity
from mimir_rw.rpc.keepalive import Keepalive, KeepaliveSettings, Verdict
from mimir_rw.rpc.metrics import Traffic

GREETING_BOUNDS = FrameBounds(header_bytes_max=4096, payload_bytes_max=0)
"""Until the other side has said who it is."""
MESSAGE_COST_BYTES = 64
"""What a message takes from a stream's credit beside its own bytes."""
_FLUSH_BYTES = 256 << 10
_WRITE_HIGH_BYTES = 256 << 10
_JOIN_BELOW_BYTES = 16 << 10
_CONTROL_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """calls_max: calls and streams at a time on one connection. connect_timeout_s: from the first packet to the end of
    the greeting. stream_window_bytes: what a stream may send ahead of its reader."""

    bounds: FrameBounds = field(default_factory=FrameBounds)
    keepalive: KeepaliveSettings = field(default_factory=KeepaliveSettings)
    calls_max: int = 1000
    connect_timeout_s: float = 3.0
    stream_window_bytes: int = 1 << 20


class Connection(asyncio.Protocol):
    """Base of both ends. Subclasses give `on_frame`, `on_lost` and `busy`."""

    def __init__(self, *, identity: Identity, settings: ConnectionSettings, traffic: Traffic) -> None:
        self.identity = identity
        self.settings = settings
        self.agreement: Agreement | None = None
        """None until the greeting is over."""
        self.closed = False
        self.silent = False
        """Whether it was given up because the other side showed no life."""
        self._traffic = traffic
        self._log = get_logger(component="rpc")
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder(GREETING_BOUNDS)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0
        self._payload_bytes_max = 0
        self._flush_due = False
        self._writable: asyncio.Event | None = None
        """Set while the transport takes more; None as long as it never refused."""
        self._control_bytes = 0
        self._end_reason = ""
        self._keepalive = Keepalive(settings.keepalive, self._loop.time())
        self._tick: asyncio.TimerHandle | None = None
        self._context = untraced()
        """Of looks, which are for no request."""

    # -- for subclasses ---------------------------------------------------------------------------------------------

    def on_frame(self, frame: Frame) -> None:
        """A frame other than ping and pong. FramingError and MimirError end the connection."""
        raise NotImplementedError

    def on_lost(self, error: Unavailable) -> None:
        """The connection is gone; called once."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether calls are in flight."""
        raise NotImplementedError

    @property
    def peer_name(self) -> str:
        """For texts."""
        raise NotImplementedError

    # -- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        self._traffic.opened()
        self._tick = self._loop.call_later(self.settings.connect_timeout_s, self._greeting_overdue)

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        self._keepalive.heard(self._loop.time())
        self._traffic.received_bytes.inc(len(data))
        try:
            for frame in self._decoder.feed(data):
                if frame.kind == Kind.PING:
                    self.send_control(Kind.PONG, frame.stream)
                elif frame.kind != Kind.PONG:
                    self.on_frame(frame)
                if self.closed:
                    return
            if self._decoder.held_bytes:
                self.now_busy()
        except FramingError as error:
            if self.agreement is None:
                self._traffic.handshake_failed("malformed")
            self._log.warning("connection broken off", peer=self.peer_name, reason=str(error))
            self.abort(str(error))
        except MimirError as error:
            self.refuse(error)

    def eof_received(self) -> bool:
        self._end_reason = self._end_reason or "the other side closed the connection"
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self._end_reason:
            self._end_reason = str(error)
        self._end()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = asyncio.Event()
        self._writable.clear()

    def resume_writing(self) -> None:
        assert self._writable is not None
        self._control_bytes = 0
        self._writable.set()

    # -- sending ----------------------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        return self._writable is not None and not self._writable.is_set()

    async def writable(self) -> None:
        """Wait until a payload may be sent. Raises Unavailable when the connection is lost meanwhile."""
        while self.paused and not self.closed:
            assert self._writable is not None
            await self._writable.wait()
        if self.closed:
            raise self.lost_error()

    def send(self, kind: int, stream: int, header: bytes, payload: bytes | memoryview = b"", flags: int = 0) -> None:
        """Send a frame. The caller has waited for `writable`; the payload must not change any more.

        Raises TooLarge when the other side would not take it."""
        size = len(payload)
        if size > self._payload_bytes_max or len(header) > self.settings.bounds.header_bytes_max:
            raise TooLarge(f"a message of {size} bytes (header {len(header)}) is over what {self.peer_name} takes")
        head = frame_head(kind, stream, len(header), size, flags)
        out = self._out
        if size == 0:
            out.append(head + header)
        elif size < _JOIN_BELOW_BYTES:
            out.append(b"".join((head, header, payload)))
        else:
            out.append(head + header)
            out.append(payload)
        self._out_bytes += HEAD_BYTES + len(header) + size
        if self._out_bytes >= _FLUSH_BYTES:
            self._flush()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def send_control(self, kind: int, stream: int, header: bytes = b"") -> None:
        """Send a frame without payload, whether or not the transport is full."""
        if self.closed:
            return
        if self.paused:
            self._control_bytes += HEAD_BYTES + len(header)
            if self._control_bytes > _CONTROL_BYTES_MAX:
                self.abort("the other side does not read")
                return
        self.send(kind, stream, header)

    def send_error(self, stream: int, error: MimirError) -> None:
        self.send_control(Kind.ERROR, stream, encode_header(error_header(error)))

    def _flush(self) -> None:
        self._flush_due = False
        out = self._out
        if not out or self._transport is None or self.closed:
            return
        self._keepalive.said(self._loop.time())
        self._traffic.sent_bytes.inc(self._out_bytes)
        self._out, self._out_bytes = [], 0
        if len(out) == 1:
            self._transport.write(out[0])
        else:
            self._transport.writelines(out)

    # -- life -------------------------------------------------------------------------------------------------------

    def established(self, agreement: Agreement) -> None:
        """The greeting is over: frames may be as large as the settings say, and silence counts."""
        self.agreement = agreement
        self._decoder.bounds = self.settings.bounds
        self._payload_bytes_max = agreement.payload_bytes_max
        self._look_when_due()

    def close(self) -> None:
        """Send what waits, then close."""
        if self._transport is not None and not self.closed:
            self._flush()
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close at once; all calls fail with `reason`."""
        self._end_reason = self._end_reason or reason
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def refuse(self, error: MimirError) -> None:
        """Tell the other side why, and close."""
        self._log.warning("connection refused", peer=self.peer_name, reason=str(error))
        self._end_reason = self._end_reason or str(error)
        self.send_error(0, error)
        self.close()

    def lost_error(self) -> Unavailable:
        return Unavailable(f"connection to {self.peer_name} lost: {self._end_reason or 'it was closed'}")

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self._tick is not None:
            self._tick.cancel()
        if self._writable is not None:
            self._writable.set()
        self._out, self._out_bytes = [], 0
        if self._transport is not None:
            self._traffic.closed()
        self.on_lost(self.lost_error())

    def _greeting_overdue(self) -> None:
        self._traffic.handshake_failed("timeout")
        self.abort(f"no greeting within {self.settings.connect_timeout_s:g} s")

    def now_busy(self) -> None:
        """A call has begun, or part of a message is here: silence counts sooner."""
        if self._keepalive.busy_from(self._loop.time()) and self.agreement is not None and not self.closed:
            self._look_when_due()

    def _look(self) -> None:
        now_s = self._loop.time()
        verdict = self._keepalive.look(now_s, busy=self.busy or self._decoder.held_bytes > 0)
        if verdict is Verdict.DEAD:
            self.silent = True
            self._log.warning("connection given up: no sign of life", peer=self.peer_name)
            self._traffic.silent_peers.inc()
            self.abort(f"no sign of life for {self._keepalive.silent_s(now_s):.1f} s")
            return
        if verdict is Verdict.PING:
            self.send_control(Kind.PING, 0)
        self._look_when_due()

    def _look_when_due(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        self._tick = self._loop.call_at(self._keepalive.due_s, self._look, context=self._context)


def message_header(header: Mapping[str, Any]) -> bytes:
    """A message's own header as it travels."""
    return encode_header(header) if header else b""
