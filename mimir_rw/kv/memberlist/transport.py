"""TCP connections under the protocol: one per packet, one per exchange of state (ring-and-gossip.md 13).

Runs on one event loop. Packets that cannot be sent are lost, as datagrams would be. Bounded: connections taken, bytes
of each, writers at a time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from mimir_rw.kv.memberlist.addresses import host_text
from mimir_rw.kv.memberlist.messages import Endpoint, ErrorReply, WireError
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.wire import (
    STREAM_KIND,
    Frame,
    StreamDecoder,
    StreamMessage,
    StreamResult,
    decode_frame,
    encode_frame,
    encode_stream,
)

_FRAME_OVERHEAD = 1 + 255 + 16


@dataclass(slots=True)
class TransportCounts:
    sent_packets: int = 0
    sent_packet_bytes: int = 0
    send_failures: int = 0
    received_packets: int = 0
    received_packet_bytes: int = 0
    damaged_packets: int = 0
    """Too short, too long, or of no known kind."""
    wrong_digests: int = 0
    refused_connections: int = 0


@dataclass(frozen=True, slots=True)
class TlsContexts:
    server: ssl.SSLContext
    client: ssl.SSLContext
    server_name: str = ""
    """Whom certificates of others must name; empty: the address."""


OnPacket = Callable[[Frame], None]
OnStream = Callable[[StreamResult], StreamMessage | None]
"""What a stream says to the answer to it; None: no answer."""


class Transport:
    def __init__(
        self,
        *,
        settings: MemberlistSettings,
        sender: str,
        tls: TlsContexts | None,
        on_packet: OnPacket,
        on_stream: OnStream,
    ) -> None:
        """sender: the advertised address, `ip:port`."""
        self._settings = settings
        self._sender = sender.encode()
        self._tls = tls
        self.on_packet = on_packet
        self.on_stream = on_stream
        self._servers: list[asyncio.Server] = []
        self._writers = asyncio.Semaphore(settings.max_concurrent_writes)
        self.connections: dict[_Incoming, None] = {}
        self.streams = 0
        self.counts = TransportCounts()

    async def listen(self, hosts: Sequence[str], port: int) -> None:
        """Raises OSError when an address cannot be had."""
        loop = asyncio.get_running_loop()
        server_tls = self._tls.server if self._tls is not None else None
        for host in hosts or (None,):
            self._servers.append(
                await loop.create_server(lambda: _Incoming(self, self._settings), host, port, ssl=server_tls)
            )

    async def close(self) -> None:
        """Take no more connections and drop those that are there."""
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.abort()
        for server in self._servers:
            await server.wait_closed()

    async def send(self, to: Endpoint, payload: bytes) -> None:
        """Send a packet. Never raises: what cannot be sent in time is lost."""
        try:
            await self._acquire_writer()
        except TimeoutError:
            self.counts.send_failures += 1
            return
        try:
            await self._send(to, encode_frame(self._sender, payload))
        except (OSError, TimeoutError):
            self.counts.send_failures += 1
        else:
            self.counts.sent_packets += 1
            self.counts.sent_packet_bytes += len(payload)
        finally:
            self._writers.release()

    async def _acquire_writer(self) -> None:
        """Raises TimeoutError. No timer is set for one that is free: nearly always."""
        if not self._writers.locked():
            await self._writers.acquire()
            return
        async with asyncio.timeout(self._settings.acquire_writer_timeout_s):
            await self._writers.acquire()

    async def _send(self, to: Endpoint, frame: bytes) -> None:
        loop = asyncio.get_running_loop()
        outgoing = _Outgoing(loop)
        async with asyncio.timeout(self._settings.packet_dial_timeout_s):
            transport = await self._connect(to, lambda: outgoing)
        try:
            transport.write(frame)
            transport.close()
            if self._tls is None and not transport.get_write_buffer_size():
                await outgoing.ended  # the kernel has all of it, and so the end comes at once
            else:
                async with asyncio.timeout(self._settings.packet_write_timeout_s):
                    await outgoing.ended
        finally:
            transport.abort()

    async def exchange(self, to: Endpoint, message: StreamMessage, *, label: str) -> tuple[StreamMessage, int]:
        """Send one message over a stream; the answer and its size. Raises OSError, TimeoutError or WireError."""
        settings = self._settings
        client = _Exchange(asyncio.get_running_loop(), StreamDecoder(bytes_max=settings.stream_bytes_max))
        data = encode_stream(message, label=label, compression=settings.compression_enabled)
        async with asyncio.timeout(settings.stream_timeout_s):
            transport = await self._connect(to, lambda: client)
            try:
                transport.write(STREAM_KIND + data)
                result = await client.result
            finally:
                transport.abort()
        if isinstance(result.message, ErrorReply):
            raise WireError(f"the other side refused: {result.message.text}")
        return result.message, result.size

    async def _connect(self, to: Endpoint, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        host = host_text(to)
        if self._tls is None:
            transport, _ = await loop.create_connection(protocol, host, to.port)
        else:
            name = self._tls.server_name or host
            transport, _ = await loop.create_connection(
                protocol, host, to.port, ssl=self._tls.client, server_hostname=name
            )
        return transport


class _Outgoing(asyncio.Protocol):
    """A packet on its way: nothing is read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended.done():
            return
        if exc is not None:
            self.ended.set_exception(exc)
            self.ended.exception()  # the sender may have given up by now
        else:
            self.ended.set_result(None)


class _Exchange(asyncio.Protocol):
    """Our side of a stream that we opened."""

    def __init__(self, loop: asyncio.AbstractEventLoop, decoder: StreamDecoder) -> None:
        self.result: asyncio.Future[StreamResult] = loop.create_future()
        self._decoder = decoder

    def data_received(self, data: bytes) -> None:
        if self.result.done():
            return
        try:
            result = self._decoder.feed(data)
        except WireError as error:
            self._fail(error)
            return
        if result is not None:
            self.result.set_result(result)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.result.done():
            self._fail(exc or ConnectionResetError("the other side closed the stream early"))

    def _fail(self, error: Exception) -> None:
        self.result.set_exception(error)
        self.result.exception()  # whoever waits may have given up by now


class _Incoming(asyncio.Protocol):
    """A connection that another node opened: its first byte says whether it is a packet or a stream."""

    def __init__(self, owner: Transport, settings: MemberlistSettings) -> None:
        self._owner = owner
        self._settings = settings
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._stream: StreamDecoder | None = None
        self._answered = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if len(self._owner.connections) >= self._settings.packet_connections_max:
            self._owner.counts.refused_connections += 1
            self.abort()
            return
        self._owner.connections[self] = None
        loop = asyncio.get_running_loop()
        limit = max(self._settings.stream_timeout_s, self._settings.packet_write_timeout_s)
        self._deadline = loop.call_later(limit, self.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._stream is not None:
            self._read_stream(data)
            return
        if not self._pieces and data[:1] == STREAM_KIND:
            self._open_stream(data[1:])
            return
        self._size += len(data)
        if self._size > self._settings.packet_bytes_max + _FRAME_OVERHEAD:
            self._owner.counts.damaged_packets += 1
            self._pieces.clear()
            self.abort()
            return
        self._pieces.append(data)

    def eof_received(self) -> bool:
        if self._stream is None and self._pieces:
            self._take_packet(b"".join(self._pieces))
            self._pieces.clear()
        return self._answered

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connections.pop(self, None)
        if self._stream is not None:
            self._owner.streams -= 1
        if self._deadline is not None:
            self._deadline.cancel()

    def _take_packet(self, data: bytes) -> None:
        counts = self._owner.counts
        try:
            if data[0] != 1:
                raise WireError(f"connection kind {data[0]} is unknown")
            frame = decode_frame(data[1:])
        except WireError:
            counts.damaged_packets += 1
            return
        counts.received_packets += 1
        counts.received_packet_bytes += len(frame.payload)
        counts.wrong_digests += not frame.intact
        self._owner.on_packet(frame)

    def _open_stream(self, data: bytes) -> None:
        if self._owner.streams >= self._settings.streams_max:
            self._owner.counts.refused_connections += 1
            self.abort()
            return
        self._owner.streams += 1
        self._stream = StreamDecoder(bytes_max=self._settings.stream_bytes_max)
        if data:
            self._read_stream(data)

    def _read_stream(self, data: bytes) -> None:
        if self._answered:
            return
        assert self._stream is not None
        assert self._transport is not None
        try:
            result = self._stream.feed(data)
            if result is None:
                return
            self._answered = True
            answer = self._owner.on_stream(result)
        except WireError as error:
            self._answered = True
            self._owner.counts.damaged_packets += 1
            answer = ErrorReply(str(error))
        if answer is not None:
            reply = encode_stream(answer, label="", compression=self._settings.compression_enabled)
            self._transport.write(reply)
        self._transport.close()
