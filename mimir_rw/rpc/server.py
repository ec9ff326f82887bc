"""The answering end: listens, greets, runs a task for each call, and lets go of callers in order when it stops.

listening ──shut_down──► draining (GOAWAY sent, new calls refused) ──calls ended or too late──► closed
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.service import Service
from mimir_rw.kit.trace import tracing
from mimir_rw.model.errors import Cancelled, Internal, MimirError, Overloaded, Unavailable
from mimir_rw.rpc.codec import (
    CALL,
    CREDIT,
    HELLO,
    GoawayHeader,
    decode_header,
    encode_header,
)
from mimir_rw.rpc.connection import MESSAGE_COST_BYTES, Connection, ConnectionSettings, message_header
from mimir_rw.rpc.framing import FLAG_LAST, Frame, FramingError, Kind
from mimir_rw.rpc.handshake import Identity, answer, refusal_reason
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.transport import CallContext, Message, StreamHandler, UnaryHandler

_CANCEL_S = 1.0
"""What cancelled calls get for their end when the server closes."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """inflight_bytes_max: bytes of the requests that are being answered, over all connections. graceful_s: how long
    calls may go on after a stop was asked for."""

    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    connections_max: int = 4096
    inflight_bytes_max: int = 1 << 30
    graceful_s: float = 30.0


class RpcServer(Service):
    """An `rpc.transport.RpcRouter` on a port."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        identity: Identity,
        settings: ServerSettings,
        metrics: RpcMetrics,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """host "": all addresses. port 0: any free one."""
        super().__init__("rpc-server")
        self.identity = identity
        self.settings = settings
        self.draining = False
        self._host, self._port, self._tls = host, port, tls
        self._metrics = metrics
        self._unary: dict[str, UnaryHandler] = {}
        self._streams: dict[str, StreamHandler] = {}
        self._connections: dict[ServerConnection, None] = {}
        self._listener: asyncio.Server | None = None
        self._idle = asyncio.Event()
        self._log = get_logger(component="rpc")
        self.inflight = 0
        self.inflight_bytes = 0

    def unary(self, method: str, handler: UnaryHandler) -> None:
        """See `RpcRouter`."""
        self._assert_new(method)
        self._unary[method] = handler

    def stream(self, method: str, handler: StreamHandler) -> None:
        """See `RpcRouter`."""
        self._assert_new(method)
        self._streams[method] = handler

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._listener is not None and self._port == 0:
            return int(self._listener.sockets[0].getsockname()[1])
        return self._port

    async def start_up(self) -> None:
        loop = asyncio.get_running_loop()
        patience_s = self.settings.connection.connect_timeout_s if self._tls is not None else None
        self._listener = await loop.create_server(
            self._accept, self._host or None, self._port, ssl=self._tls, ssl_handshake_timeout=patience_s
        )

    async def shut_down(self) -> None:
        """Refuse new calls, wait for those going on, close."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in self._connections:
            connection.go_away("the process is stopping")
        if self.inflight:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.graceful_s):
                    await self._idle.wait()
        for connection in list(self._connections):
            connection.stop(Unavailable("the process has stopped"))
        if self.inflight:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CANCEL_S):
                    await self._idle.wait()
        for connection in list(self._connections):
            connection.close()

    # -- for connections --------------------------------------------------------------------------------------------

    def handlers(self, method: str, *, streaming: bool) -> tuple[UnaryHandler | None, StreamHandler | None]:
        """The one that answers the method, or none."""
        return (None, self._streams.get(method)) if streaming else (self._unary.get(method), None)

    def room(self, request_bytes: int) -> MimirError | None:
        """Why a request of this size is not taken, or None."""
        if self.draining:
            return Unavailable("the process is stopping")
        bytes_max = self.settings.inflight_bytes_max
        if self.inflight_bytes and self.inflight_bytes + request_bytes > bytes_max:
            return Overloaded(f"requests of more than {bytes_max} bytes are being answered")
        return None

    def entered(self, request_bytes: int) -> None:
        self.inflight += 1
        self.inflight_bytes += request_bytes
        self._metrics.server.inflight.value += 1.0
        self._metrics.inflight_bytes.value += request_bytes

    def left(self, request_bytes: int) -> None:
        self.inflight -= 1
        self.inflight_bytes -= request_bytes
        self._metrics.server.inflight.value -= 1.0
        self._metrics.inflight_bytes.value -= request_bytes
        if self.draining and not self.inflight:
            self._idle.set()

    def arrived(self, connection: ServerConnection) -> bool:
        """Whether one more connection is taken."""
        if len(self._connections) >= self.settings.connections_max:
            self._log.warning("connection refused: too many are open", connections=len(self._connections))
            return False
        self._connections[connection] = None
        return True

    def gone(self, connection: ServerConnection) -> None:
        self._connections.pop(connection, None)

    def _assert_new(self, method: str) -> None:
        assert method not in self._unary, f"{method} is answered twice"
        assert method not in self._streams, f"{method} is answered twice"

    def _accept(self) -> ServerConnection:
        return ServerConnection(server=self, metrics=self._metrics)


class _Running:
    """A call that is being answered. stopped: why its task was cancelled."""

    __slots__ = ("credit", "granted", "method", "number", "request_bytes", "started", "stopped", "task", "timer")

    def __init__(self, number: int, method: str, request_bytes: int, credit: int) -> None:
        self.number, self.method, self.request_bytes = number, method, request_bytes
        self.credit = credit
        self.granted: asyncio.Event | None = None
        self.stopped: MimirError | None = None
        self.started = False
        self.task: asyncio.Task[None]
        self.timer: asyncio.TimerHandle | None = None

    def stop(self, reason: MimirError) -> None:
        if self.stopped is None:
            self.stopped = reason
            if self.started:  # a task cancelled before its first step would never run at all
                self.task.cancel()

    def grant(self, credit: int) -> None:
        self.credit += credit
        if self.granted is not None:
            self.granted.set()

    async def credit_left(self) -> None:
        """Wait until a message may be streamed."""
        while self.credit <= 0:
            self.granted = asyncio.Event()
            await self.granted.wait()


class ServerConnection(Connection):
    def __init__(self, *, server: RpcServer, metrics: RpcMetrics) -> None:
        super().__init__(identity=server.identity, settings=server.settings.connection, traffic=metrics.server)
        self._server = server
        self._running: dict[int, _Running] = {}
        self._address = "an unknown address"

    # -- Connection -------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return bool(self._running)

    @property
    def peer_name(self) -> str:
        return self.agreement.instance if self.agreement is not None else self._address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self._address = f"{name[0]}:{name[1]}"
        if not self._server.arrived(self):
            self._traffic.handshake_failed("refused")
            self.abort("too many connections are open")

    def on_frame(self, frame: Frame) -> None:
        kind = frame.kind
        if self.agreement is None:
            self._greet(frame)
        elif kind == Kind.CALL or kind == Kind.STREAM_OPEN:
            self._start(frame)
        elif kind == Kind.CREDIT:
            granted = decode_header(CREDIT, frame.header).bytes
            if (running := self._running.get(frame.stream)) is not None:
                running.grant(granted)
        elif kind == Kind.CANCEL and (running := self._running.get(frame.stream)) is not None:
            running.stop(Cancelled("the caller left"))

    def on_lost(self, error: Unavailable) -> None:
        self._server.gone(self)
        for running in list(self._running.values()):
            running.stop(Cancelled("the caller's connection is lost"))

    def _greet(self, frame: Frame) -> None:
        try:
            if frame.kind != Kind.HELLO:
                raise FramingError("the first frame is not a greeting of this protocol")
            theirs = decode_header(HELLO, frame.header)
            ack, agreement = answer(self.identity, self.settings.bounds.payload_bytes_max, theirs)
        except MimirError as error:
            self._traffic.handshake_failed(refusal_reason(error))
            raise
        self.established(agreement)
        self.send_control(Kind.HELLO_ACK, 0, encode_header(ack))
        if self._server.draining:
            self.go_away("the process is stopping")

    # -- life -------------------------------------------------------------------------------------------------------

    def go_away(self, reason: str) -> None:
        """Ask the caller to make no new calls."""
        self.send_control(Kind.GOAWAY, 0, encode_header(GoawayHeader(reason)))

    def stop(self, reason: MimirError) -> None:
        """Cancel all calls."""
        for running in list(self._running.values()):
            running.stop(reason)

    # -- calls ------------------------------------------------------------------------------------------------------

    def _start(self, frame: Frame) -> None:
        number, size = frame.stream, len(frame.payload)
        call = decode_header(CALL, frame.header)
        if number in self._running or not number:
            raise FramingError(f"stream {number} is in use")
        unary, stream = self._server.handlers(call.method, streaming=frame.kind == Kind.STREAM_OPEN)
        known = unary is not None or stream is not None
        if (refusal := self._refusal(call.method, size, known=known)) is not None:
            self.send_error(number, refusal)
            return
        assert self.agreement is not None
        context = CallContext(
            tenant=call.tenant,
            trace_id=call.trace,
            timeout_s=call.timeout_s,
            peer=self.agreement.instance,
            protocol=self.agreement.protocol,
        )
        message = Message(call.header, frame.payload)
        running = self._running[number] = _Running(number, call.method, size, call.credit)
        self.now_busy()
        self._server.entered(size)
        if unary is not None:
            work = self._unary(unary, context, message, number)
        else:
            assert stream is not None
            work = self._stream(stream, context, message, running)
        with tracing(call.trace):
            running.task = self._server.tasks.spawn(self._answer(running, work), name=call.method)
        if call.timeout_s > 0:
            late = Unavailable(f"{call.method} took longer than the {call.timeout_s:g} s that its caller gave it")
            running.timer = self._loop.call_later(call.timeout_s, running.stop, late)

    def _refusal(self, method: str, size: int, *, known: bool) -> MimirError | None:
        if not known:
            return Unavailable(f"{self.identity.instance} does not answer {method!r}")
        if len(self._running) >= self.settings.calls_max:
            return Overloaded(f"{len(self._running)} calls of {self.peer_name} are being answered already")
        return self._server.room(size)

    async def _answer(self, running: _Running, work: Coroutine[Any, Any, None]) -> None:
        """The task of a call: whatever happens, the caller is told and the call counted."""
        started_s = self._loop.time()
        error = running.stopped
        running.started = True
        try:
            if error is None:
                await work
            else:
                work.close()
        except MimirError as raised:
            error = raised
        except asyncio.CancelledError:
            error = running.stopped or Unavailable("the process has stopped")
        except Exception as raised:
            self._log.error("a call failed", method=running.method, peer=self.peer_name, exc_info=raised)
            error = Internal(f"{running.method} failed: {type(raised).__name__}")
        finally:
            if running.timer is not None:
                running.timer.cancel()
            del self._running[running.number]
            self._server.left(running.request_bytes)
        self._traffic.method(running.method).ended(self._loop.time() - started_s, error)
        if error is not None and not isinstance(running.stopped, Cancelled):
            self.send_error(running.number, error)

    async def _unary(self, handler: UnaryHandler, context: CallContext, message: Message, number: int) -> None:
        reply = await handler(context, message)
        if self.paused:
            await self.writable()
        self.send(Kind.MESSAGE, number, message_header(reply.header), reply.payload, FLAG_LAST)

    async def _stream(self, handler: StreamHandler, context: CallContext, message: Message, running: _Running) -> None:
        async with contextlib.aclosing(_generator(handler(context, message))) as replies:
            async for reply in replies:
                header = message_header(reply.header)
                if running.credit <= 0:
                    await running.credit_left()
                if self.paused:
                    await self.writable()
                running.credit -= len(header) + len(reply.payload) + MESSAGE_COST_BYTES
                self.send(Kind.MESSAGE, running.number, header, reply.payload)
        self.send_control(Kind.END, running.number)


async def _generator(messages: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
    """An iterator that can be closed, whatever the handler gave."""
    try:
        async for message in messages:
            yield message
    finally:
        if isinstance(messages, AsyncGenerator):
            await messages.aclose()
