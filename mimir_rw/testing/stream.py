"""One end of a simulated TCP connection: an asyncio transport over bytes in memory.

    write ──► in flight (in order, delayed by the link) ──► received (kernel of the other host) ──► data_received

What was written and not yet taken by the other side counts against a window that stands for both kernels' buffers;
beyond it the transport's own buffer grows and `pause_writing` is called. A cut link keeps what is in flight and
delivers it some time after it heals, as retransmission does. A reset overtakes everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zlib import crc32

from mimir_rw.testing.process import Life, SimProcess

if TYPE_CHECKING:
    from mimir_rw.testing.network import SimNetwork

WINDOW_BYTES = 256 << 10
_SEGMENT_BYTES = 64 << 10
_HIGH_WATER_BYTES = 64 << 10


@dataclass(slots=True)
class _Segment:
    """Bytes written at one moment, or some of them: those of a large write arrive one after another. fin: the sender's
    half ends after them."""

    sent_s: float
    arrives_s: float
    size: int = 0
    chunks: list[bytes] = field(default_factory=list)
    fin: bool = False


class SimTransport(asyncio.Transport):
    """Made in pairs by `SimNetwork`. `start` hands it to its protocol."""

    def __init__(self, *, network: SimNetwork, process: SimProcess, port: int, label: str) -> None:
        """label: names the end in the trace."""
        super().__init__()
        self.process = process
        self.label = label
        self.peer: SimTransport
        self.peername: tuple[str, int]
        self._network = network
        self._loop = network.loop
        self._port = port
        self._protocol: asyncio.BaseProtocol | None = None
        self._buffered: asyncio.BufferedProtocol | None = None
        self._flight: list[_Segment] = []
        self._stalled = False
        self._received: list[bytes] = []
        self._fin_received = False
        self._unread = 0
        self._reading = True
        self._read_due = False
        self._writing_paused = False
        self._high, self._low = _HIGH_WATER_BYTES, _HIGH_WATER_BYTES // 4
        self._fin_sent = False
        self._closing = False
        self._lost = False
        process.transports[self] = None

    # -- what a protocol asks of its transport ----------------------------------------------------------------------

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """In the process's own context: connection_made, then whatever has arrived."""
        self.set_protocol(protocol)
        protocol.connection_made(self)
        self._schedule_read()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._buffered = protocol if isinstance(protocol, asyncio.BufferedProtocol) else None

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peername":
            return self.peername
        if name == "sockname":
            return (self.process.host.address, self._port)
        return default

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._schedule_read()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._fin_sent or self._closing, "write after write_eof"
        if self._closing or not data:
            return
        for start in range(0, len(data), _SEGMENT_BYTES):
            chunk = bytes(data[start : start + _SEGMENT_BYTES])
            self._unread += len(chunk)
            segment = self._segment()
            segment.chunks.append(chunk)
            segment.size += len(chunk)
        if not self._writing_paused and self.get_write_buffer_size() > self._high:
            self._writing_paused = True
            self.get_protocol().pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._fin_sent and not self._closing:
            self._send_fin()

    def get_write_buffer_size(self) -> int:
        return max(0, self._unread - WINDOW_BYTES)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high if high is not None else 4 * low if low is not None else _HIGH_WATER_BYTES
        self._low = low if low is not None else self._high // 4

    def close(self) -> None:
        """What is written still goes out, then the other side reads the end. Bytes that come later are refused."""
        if self._closing:
            return
        self._closing = True
        if not self._fin_sent:
            self._send_fin()
        if self.get_write_buffer_size() == 0:
            self.process.call_soon(self._lose, None)

    def abort(self) -> None:
        if self._lost:
            return
        self._closing = True
        self._flight.clear()
        self._network.send_reset(self)
        self.process.call_soon(self._lose, None)

    # -- bytes on their way to the other side -----------------------------------------------------------------------

    def _segment(self) -> _Segment:
        """The segment of this moment, to which more may be added."""
        now_s = self._loop.time()
        flight = self._flight
        if flight and flight[-1].sent_s == now_s and flight[-1].size < _SEGMENT_BYTES and not flight[-1].fin:
            return flight[-1]
        arrives_s = now_s + self._network.delay_s(self.process.host, self.peer.process.host, self._unread)
        if flight:
            arrives_s = max(arrives_s, flight[-1].arrives_s)
        segment = _Segment(now_s, arrives_s)
        flight.append(segment)
        if len(flight) == 1 and not self._stalled:
            self._await_arrival()
        return segment

    def _send_fin(self) -> None:
        self._fin_sent = True
        if self.peer._closing and not self._flight:
            return  # whoever closed its end does not look at the end of ours
        self._segment().fin = True

    def _await_arrival(self) -> None:
        self._loop.call_at(self._flight[0].arrives_s, self._arrive, context=self._network.context)

    def _arrive(self) -> None:
        """The first segments reach the other host, if they can."""
        if self._stalled or not self._flight:
            return  # cut, or aborted meanwhile
        if self._network.is_cut(self.process.host, self.peer.process.host):
            self._stalled = True
            self._network.stalled[self] = None
            return
        if self._network.breaks(self):
            self.reset("broken")
            return
        now_s = self._loop.time()
        while self._flight and self._flight[0].arrives_s <= now_s:
            self.peer._take(self._flight.pop(0))
        if self._flight:
            self._await_arrival()

    def retransmit(self, after_s: float) -> None:
        """The cut has healed: what is in flight arrives after_s seconds from now."""
        self._stalled = False
        if self._flight:
            self._flight[0].arrives_s = self._loop.time() + after_s
            for before, segment in pairwise(self._flight):
                segment.arrives_s = max(segment.arrives_s, before.arrives_s)
            self._await_arrival()

    # -- bytes that have arrived ------------------------------------------------------------------------------------

    def _take(self, segment: _Segment) -> None:
        """In this end's kernel."""
        data = b"".join(segment.chunks)
        self._network.saw(f"data {self.label} {len(data)} {crc32(data):08x}{' fin' if segment.fin else ''}")
        if self._closing or self.process.life is Life.DEAD:
            if data:
                self._network.send_reset(self)
            return
        if data:
            self._received.append(data)
        self._fin_received = self._fin_received or segment.fin
        self._schedule_read()

    def _schedule_read(self) -> None:
        if (
            self._reading
            and not self._read_due
            and self._protocol is not None
            and (self._received or self._fin_received)
        ):
            self._read_due = True
            self.process.call_soon(self._read)

    def _read(self) -> None:
        """In the process: hand over what is there."""
        self._read_due = False
        while self._received and self._reading and not self._closing:
            data = self._received.pop(0)
            cut = self._network.split(len(data))
            if cut:
                self._received.insert(0, data[cut:])
                data = data[:cut]
            self.peer._taken(len(data))
            self._hand_over(data)
        if self._fin_received and not self._received and self._reading and not self._closing:
            self._fin_received = False
            assert isinstance(self._protocol, asyncio.Protocol | asyncio.BufferedProtocol)
            if not self._protocol.eof_received():
                self.close()

    def _hand_over(self, data: bytes) -> None:
        if self._buffered is None:
            assert isinstance(self._protocol, asyncio.Protocol)
            self._protocol.data_received(data)
            return
        view = memoryview(data)
        while view and not self._closing:
            room = memoryview(self._buffered.get_buffer(len(view)))
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self._buffered.buffer_updated(count)
            view = view[count:]

    def _taken(self, count: int) -> None:
        """The other side has read so much of what was written here."""
        self._unread -= count
        if self._writing_paused and self.get_write_buffer_size() <= self._low:
            self._writing_paused = False
            self.process.call_soon(self._resume_writing)
        if self._closing and not self._lost and self.get_write_buffer_size() == 0:
            self.process.call_soon(self._lose, None)

    def _resume_writing(self) -> None:
        if not self._lost:
            self.get_protocol().resume_writing()

    # -- ends -------------------------------------------------------------------------------------------------------

    def reset(self, why: str) -> None:
        """A reset reaches this end: what was on its way is gone."""
        self._network.saw(f"reset {self.label} {why}")
        self._flight.clear()
        self._received.clear()
        self._fin_received = False
        if not self._closing:
            self._closing = True
            self.process.call_soon(self._lose, ConnectionResetError(104, "Connection reset by peer"))

    def orphan(self, *, abruptly: bool) -> None:
        """The process has died: its kernel ends the connection, with a reset if it was told to be abrupt."""
        self._closing = True
        if abruptly or self._received:
            self._flight.clear()
            self._network.send_reset(self)
        elif not self._fin_sent:
            self._send_fin()

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self.process.transports.pop(self, None)
        if self._protocol is not None:
            self._protocol.connection_lost(error)
            self._protocol = self._buffered = None
        self._forget_peer()

    def _forget_peer(self) -> None:
        """Once nothing more can come of either end: tens of thousands of connections would wait for the next collection
        of garbage otherwise."""
        peer = self.peer
        if peer._lost and not self._flight and not peer._flight:
            del self.peer, peer.peer
