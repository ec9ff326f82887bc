"""The calling end of one connection: calls and streams by number, until it is lost or told to go away."""

from __future__ import annotations

import asyncio
from collections import deque

from mimir_rw.model.errors import Cancelled, Conflict, MimirError, Overloaded, Unavailable
from mimir_rw.rpc.codec import (
    ERROR,
    GOAWAY,
    HELLO_ACK,
    CallHeader,
    CreditHeader,
    decode_header,
    decode_message_header,
    encode_header,
)
from mimir_rw.rpc.connection import MESSAGE_COST_BYTES, Connection, ConnectionSettings
from mimir_rw.rpc.errors import error_from_header
from mimir_rw.rpc.framing import FLAG_LAST, Frame, FramingError, Kind
from mimir_rw.rpc.handshake import Identity, accept, hello, refusal_reason
from mimir_rw.rpc.metrics import MethodTraffic, Traffic
from mimir_rw.rpc.transport import Message

_STREAM_MAX = 0xFFFFFFFF


class ClientConnection(Connection):
    def __init__(self, *, address: str, identity: Identity, settings: ConnectionSettings, traffic: Traffic) -> None:
        super().__init__(identity=identity, settings=settings, traffic=traffic)
        self.address = address
        self.ended: asyncio.Future[str] = self._loop.create_future()
        """Done when no new call may be made here, with the reason: the connection is lost, or the other side leaves."""
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        """Done when calls may be made; fails with the reason why not."""
        self.leaving = False
        """Whether the other side asked for no new calls."""
        self._calls: dict[int, asyncio.Future[Message] | ClientStream] = {}
        self._last_stream = 0

    # -- Connection -------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return bool(self._calls)

    @property
    def peer_name(self) -> str:
        return self.address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send_control(Kind.HELLO, 0, encode_header(hello(self.identity, self.settings.bounds.payload_bytes_max)))

    def on_frame(self, frame: Frame) -> None:
        if self.agreement is None:
            self._greet(frame)
            return
        kind, stream = frame.kind, frame.stream
        if kind == Kind.GOAWAY:
            self._leave(decode_header(GOAWAY, frame.header).reason)
        elif kind == Kind.ERROR and not stream:
            self.abort(decode_header(ERROR, frame.header).text)
        elif (waiting := self._calls.get(stream)) is None:
            return  # its caller has left
        elif kind == Kind.MESSAGE:
            self._message(frame, waiting)
        elif kind == Kind.ERROR:
            self._fail(stream, error_from_header(decode_header(ERROR, frame.header)))
        elif kind == Kind.END and isinstance(waiting, ClientStream):
            waiting.ended()

    def on_lost(self, error: Unavailable) -> None:
        for stream in list(self._calls):
            self._fail(stream, error)
        if not self.greeted.done():
            self.greeted.set_exception(error)
            self.greeted.exception()  # looked at here, so that nobody has to
        if not self.ended.done():
            self.ended.set_result(str(error))

    def _greet(self, frame: Frame) -> None:
        if frame.kind == Kind.ERROR:
            self._traffic.handshake_failed("refused")
            self.abort(f"refused: {decode_header(ERROR, frame.header).text}")
            return
        try:
            if frame.kind != Kind.HELLO_ACK:
                raise FramingError("the first frame is not a greeting of this protocol")
            self.established(accept(self.identity, decode_header(HELLO_ACK, frame.header)))
        except Conflict as error:
            self._traffic.handshake_failed(refusal_reason(error))
            self.abort(str(error))
            return
        if not self.greeted.done():  # whoever waited may have given up in this very moment
            self.greeted.set_result(None)

    def _message(self, frame: Frame, waiting: asyncio.Future[Message] | ClientStream) -> None:
        message = Message(decode_message_header(frame.header), frame.payload)
        if isinstance(waiting, ClientStream):
            waiting.arrived(message, len(frame.header) + len(frame.payload) + MESSAGE_COST_BYTES)
            if frame.flags & FLAG_LAST:
                waiting.ended()
        elif not waiting.done():
            waiting.set_result(message)

    def _fail(self, stream: int, error: MimirError) -> None:
        waiting = self._calls[stream]
        if isinstance(waiting, ClientStream):
            waiting.failed(error)
        elif not waiting.done():
            waiting.set_exception(error)

    def _leave(self, reason: str) -> None:
        """Make no new calls; the connection closes with the last of those going on."""
        self._end_reason = reason
        self.leaving = True
        if not self.ended.done():
            self.ended.set_result(f"{self.address}: {reason}")
        if not self._calls:
            self.close()

    # -- calls ------------------------------------------------------------------------------------------------------

    async def call(
        self, method: str, message: Message, *, tenant: str, trace_id: str, timeout_s: float, protocol_min: int
    ) -> Message:
        """See `RpcPeer.call`."""
        loop = self._loop
        counted = self._traffic.method(method)
        started_s = loop.time()
        error: MimirError | None = None
        try:
            header = encode_header(CallHeader(method, tenant, trace_id, timeout_s, 0, dict(message.header)))
            await self._ready(method, timeout_s, protocol_min)
            answer: asyncio.Future[Message] = loop.create_future()
            stream = self._open(answer)
            timer = loop.call_later(timeout_s, self._expire, stream, method, timeout_s)
            try:
                self.send(Kind.CALL, stream, header, message.payload)
                return await answer
            except asyncio.CancelledError:
                self.send_control(Kind.CANCEL, stream)
                raise
            finally:
                timer.cancel()
                self._close_stream(stream)
        except MimirError as raised:
            error = raised
            raise
        except asyncio.CancelledError:
            error = Cancelled("the caller left")
            raise
        finally:
            counted.ended(loop.time() - started_s, error)

    async def open_stream(
        self, method: str, message: Message, *, tenant: str, trace_id: str, timeout_s: float, protocol_min: int
    ) -> ClientStream:
        """A stream whose messages `ClientStream.next` gives; the caller must `leave` it in the end."""
        window = self.settings.stream_window_bytes
        header = encode_header(CallHeader(method, tenant, trace_id, timeout_s, window, dict(message.header)))
        await self._ready(method, timeout_s, protocol_min)
        opened = ClientStream(self, self._traffic.method(method), window)
        opened.number = self._open(opened)
        if timeout_s:
            opened.timer = self._loop.call_later(timeout_s, self._expire, opened.number, method, timeout_s)
        try:
            self.send(Kind.STREAM_OPEN, opened.number, header, message.payload)
        except MimirError:
            opened.leave()
            raise
        return opened

    async def _ready(self, method: str, timeout_s: float, protocol_min: int) -> None:
        """Return when a request may be sent. Raises Unavailable when that will not be in time."""
        if self.paused:
            try:
                async with asyncio.timeout(timeout_s or None):
                    await self.writable()
            except TimeoutError:
                raise Unavailable(f"{self.address} did not take {method} within {timeout_s:g} s") from None
        if self.ended.done():
            raise Unavailable(self.ended.result())
        assert self.agreement is not None
        if self.agreement.protocol < protocol_min:
            raise Unavailable(f"{self.address} speaks protocol version {self.agreement.protocol} now")

    def _open(self, waiting: asyncio.Future[Message] | ClientStream) -> int:
        if len(self._calls) >= self.settings.calls_max:
            raise Overloaded(f"{self.settings.calls_max} calls to {self.address} are in flight already")
        stream = self._last_stream
        while True:
            stream = stream % _STREAM_MAX + 1
            if stream not in self._calls:
                break
        self._last_stream = stream
        self._calls[stream] = waiting
        self.now_busy()
        self._traffic.inflight.value += 1.0
        return stream

    def _close_stream(self, stream: int) -> None:
        if self._calls.pop(stream, None) is not None:
            self._traffic.inflight.value -= 1.0
            if not self._calls and self.ended.done():
                self.close()

    def _expire(self, stream: int, method: str, timeout_s: float) -> None:
        if stream in self._calls:
            self.send_control(Kind.CANCEL, stream)
            self._fail(stream, Unavailable(f"{method} on {self.address} timed out after {timeout_s:g} s"))


class ClientStream:
    """One stream at its reading end. What has arrived and was not read is bounded by the window granted."""

    def __init__(self, connection: ClientConnection, counted: MethodTraffic, window: int) -> None:
        self.number = 0
        self.timer: asyncio.TimerHandle | None = None
        self._connection = connection
        self._counted = counted
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._window = window
        self._credit = window
        """What the other side may still send."""
        self._unread_grant = 0
        """What has been read since credit was last granted."""
        self._messages: deque[tuple[Message, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._done = False
        self._left = False
        self._error: MimirError | None = None

    async def next(self) -> Message | None:
        """The next message, None at the end. Raises what the handler raised, after the messages before it."""
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._done:
                return None
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message, cost = self._messages.popleft()
        self._unread_grant += cost
        if self._unread_grant * 2 >= self._window and not self._done:
            self._credit += self._unread_grant
            credit = encode_header(CreditHeader(self._unread_grant))
            self._unread_grant = 0
            self._connection.send_control(Kind.CREDIT, self.number, credit)
        return message

    def leave(self) -> None:
        """Give up what is still to come. May be called at any time."""
        if self._left:
            return
        self._left = True
        if not self._done:
            self._connection.send_control(Kind.CANCEL, self.number)
            self._error = Cancelled("the reader left")
        if self.timer is not None:
            self.timer.cancel()
        self._connection._close_stream(self.number)
        self._counted.ended(self._loop.time() - self._started_s, self._error)

    # -- for the connection -----------------------------------------------------------------------------------------

    def arrived(self, message: Message, cost: int) -> None:
        if self._done:
            return
        if self._credit <= 0:
            raise FramingError("a stream was sent more than its credit")
        self._credit -= cost
        self._messages.append((message, cost))
        self._wake()

    def ended(self) -> None:
        self._done = True
        self._wake()

    def failed(self, error: MimirError) -> None:
        if not self._done:
            self._error = error
            self.ended()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
