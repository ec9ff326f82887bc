"""The network between simulated hosts: names, listeners, connections, and what goes wrong with them.

Every chance is drawn from one generator. Links are those of the hosts they join: the slower of two counts. Faults:
latency, jitter, slow links, refused connections, connections that break, and cuts, where bytes and new connections
wait silently until the cut heals or somebody's patience ends.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.process import Life, SimHost, SimProcess
from mimir_rw.testing.stream import SimTransport

_SYN_RETRY_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_EPHEMERAL_PORT = 32_768
_LOOPBACK_S = 0.00002
_SPLIT_CHANCE = 0.05


@dataclass(frozen=True, slots=True)
class Link:
    """A host's way to the others. jitter_s: the most that is added to the latency. bytes_per_s 0: no limit.
    refuse: chance that a connection is refused; breaks: chance that a segment breaks its connection."""

    latency_s: float = 0.0003
    jitter_s: float = 0.0007
    bytes_per_s: float = 0.0
    refuse: float = 0.0
    breaks: float = 0.0

    def worse(self, other: Link) -> Link:
        rates = [rate for rate in (self.bytes_per_s, other.bytes_per_s) if rate]
        return Link(
            latency_s=max(self.latency_s, other.latency_s),
            jitter_s=max(self.jitter_s, other.jitter_s),
            bytes_per_s=min(rates, default=0.0),
            refuse=max(self.refuse, other.refuse),
            breaks=max(self.breaks, other.breaks),
        )


GOOD_LINK = Link()


class _Listener:
    """What `sockets` of a server shows."""

    def __init__(self, address: str, port: int) -> None:
        self._name = (address, port)

    def getsockname(self) -> tuple[str, int]:
        return self._name


class SimServer(asyncio.AbstractServer):
    def __init__(
        self,
        *,
        network: SimNetwork,
        process: SimProcess,
        port: int,
        factory: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self.process = process
        self.port = port
        self.factory = factory
        self._network = network

    @property
    def sockets(self) -> tuple[Any, ...]:
        return (_Listener(self.process.host.address, self.port),) if self.is_serving() else ()

    def is_serving(self) -> bool:
        return self._network.listens(self)

    def close(self) -> None:
        self._network.unlisten(self)

    async def start_serving(self) -> None:
        """It serves from the start."""

    async def serve_forever(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def wait_closed(self) -> None:
        """Open connections live on."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop


class SimNetwork:
    def __init__(self, *, loop: SimLoop, rng: Random) -> None:
        self.loop = loop
        self.context = Context()
        """Of callbacks that belong to no process."""
        self.stalled: dict[SimTransport, None] = {}
        """Ends whose bytes wait for a cut to heal."""
        self.hosts: dict[str, SimHost] = {}
        """By address."""
        self._rng = rng
        self._links: dict[SimHost, Link] = {}
        self._pairs: dict[tuple[SimHost, SimHost], Link] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._servers: dict[tuple[str, int], SimServer] = {}
        self._cuts: dict[tuple[SimHost, SimHost], None] = {}
        self._ports = _EPHEMERAL_PORT
        self._processes = 0
        loop.network = self

    # -- hosts, names, processes ------------------------------------------------------------------------------------

    def add_host(self, name: str, *, zone: str = "", directory: Path | None = None) -> SimHost:
        address = f"10.0.{len(self.hosts) // 200}.{len(self.hosts) % 200 + 1}"
        host = self.hosts[address] = SimHost(name=name, address=address, zone=zone, directory=directory)
        self._names[name] = (address,)
        return host

    def add_name(self, name: str, hosts: Iterable[SimHost]) -> None:
        """A name that resolves to several hosts."""
        self._names[name] = tuple(host.address for host in hosts)

    async def resolve(self, name: str) -> tuple[str, ...]:
        """Addresses of a name; an address is its own. Raises OSError as getaddrinfo does."""
        found = (name,) if name in self.hosts else self._names.get(name)
        if not found:
            raise OSError(-2, "Name or service not known")
        return found

    def spawn(self, host: SimHost) -> SimProcess:
        """A new process on the host, with nothing running in it yet."""
        self._processes += 1
        process = SimProcess(loop=self.loop, host=host, number=self._processes)
        process.on_death.append(lambda: self._end_connections(process))
        self.saw(f"spawn {process.name}")
        return process

    # -- faults -----------------------------------------------------------------------------------------------------

    def set_link(self, host: SimHost, link: Link) -> None:
        self._links[host] = link
        self._pairs.clear()
        self.saw(f"link {host.name} {link}")

    def cut(self, here: Iterable[SimHost], there: Iterable[SimHost]) -> None:
        """No byte passes between the two groups, either way, until `heal`."""
        others = list(there)
        for a in here:
            for b in others:
                if a is not b:
                    self._cuts[a, b] = self._cuts[b, a] = None
                    self.saw(f"cut {a.name} {b.name}")

    def heal(self) -> None:
        """End all cuts. What waited is sent again soon."""
        self._cuts.clear()
        self.saw("heal")
        for end in self.stalled:
            end.retransmit(0.2 + 2.0 * self._rng.random())
        self.stalled.clear()

    def is_cut(self, a: SimHost, b: SimHost) -> bool:
        return (a, b) in self._cuts

    def breaks(self, end: SimTransport) -> bool:
        """Whether the connection breaks now; the other side learns of it too."""
        chance = self._link(end.process.host, end.peer.process.host).breaks
        if not chance or self._rng.random() >= chance:
            return False
        end.peer.reset("broken")
        return True

    def split(self, size: int) -> int:
        """Where a chunk is cut in two before it is read; 0: nowhere."""
        if size < 2 or self._rng.random() >= _SPLIT_CHANCE:
            return 0
        return self._rng.randrange(1, size)

    def delay_s(self, a: SimHost, b: SimHost, size: int) -> float:
        """How long `size` bytes take from a to b."""
        if a is b:
            return _LOOPBACK_S
        link = self._link(a, b)
        delay_s = link.latency_s + link.jitter_s * self._rng.random()
        return delay_s + size / link.bytes_per_s if link.bytes_per_s else delay_s

    def _link(self, a: SimHost, b: SimHost) -> Link:
        if not self._links:
            return GOOD_LINK
        link = self._pairs.get((a, b))
        if link is None:
            link = self._links.get(a, GOOD_LINK).worse(self._links.get(b, GOOD_LINK))
            self._pairs[a, b] = link
        return link

    # -- listening and connecting -----------------------------------------------------------------------------------

    def listen(self, process: SimProcess, factory: Callable[[], asyncio.BaseProtocol], port: int) -> SimServer:
        """Raises OSError when the port is taken. port 0: any."""
        if port == 0:
            port = self._new_port()
        key = (process.host.address, port)
        if key in self._servers:
            raise OSError(errno.EADDRINUSE, f"error while attempting to bind on address {key}: address already in use")
        server = self._servers[key] = SimServer(network=self, process=process, port=port, factory=factory)
        self.saw(f"listen {process.name}:{port}")
        return server

    def listens(self, server: SimServer) -> bool:
        return self._servers.get((server.process.host.address, server.port)) is server

    def unlisten(self, server: SimServer) -> None:
        if self.listens(server):
            del self._servers[server.process.host.address, server.port]

    async def connect(
        self, process: SimProcess, factory: Callable[[], asyncio.BaseProtocol], name: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Raises ConnectionRefusedError, TimeoutError (nothing came back), OSError (no such name)."""
        target = self.hosts[(await self.resolve(name))[0]]
        answer: asyncio.Future[SimTransport] = self.loop.create_future()
        self._later(process.host, target, self._arrive_syn, process, target, port, answer, 0)
        try:
            transport = await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                answer.result().abort()
            raise
        finally:
            del answer  # an error would hold its traceback, that this frame, and this frame the error
        protocol = factory()
        transport.start(protocol)
        return transport, protocol

    def _arrive_syn(
        self, process: SimProcess, target: SimHost, port: int, answer: asyncio.Future[SimTransport], tries: int
    ) -> None:
        here = process.host
        if process.life is Life.DEAD or answer.cancelled():
            return
        if self.is_cut(here, target):
            self._retry_syn(process, target, port, answer, tries)
            return
        server = self._servers.get((target.address, port))
        chance = self._link(here, target).refuse
        if server is None or (chance and self._rng.random() < chance):
            self.saw(f"refuse {process.name} > {target.name}:{port}")
            self._later(target, here, _fail, answer, ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
            return
        self._establish(process, server, answer)

    def _retry_syn(
        self, process: SimProcess, target: SimHost, port: int, answer: asyncio.Future[SimTransport], tries: int
    ) -> None:
        if tries == len(_SYN_RETRY_S):
            _fail(answer, TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
            return
        self.loop.call_later(
            _SYN_RETRY_S[tries], self._arrive_syn, process, target, port, answer, tries + 1, context=self.context
        )

    def _establish(self, process: SimProcess, server: SimServer, answer: asyncio.Future[SimTransport]) -> None:
        port = self._new_port()
        label = f"{process.name}:{port}>{server.process.name}:{server.port}"
        near = SimTransport(network=self, process=process, port=port, label=label + " back")
        far = SimTransport(network=self, process=server.process, port=server.port, label=label)
        near.peer, far.peer = far, near
        near.peername = (server.process.host.address, server.port)
        far.peername = (process.host.address, port)
        self.saw(f"connect {label}")
        server.process.call_soon(self._accept, server, far)
        self._later(server.process.host, process.host, self._connected, near, answer)

    def _accept(self, server: SimServer, end: SimTransport) -> None:
        if end.is_closing() or not self.listens(server):
            end.abort()
        else:
            end.start(server.factory())

    def _connected(self, end: SimTransport, answer: asyncio.Future[SimTransport]) -> None:
        if answer.done() or end.process.life is Life.DEAD:
            end.abort()
        else:
            answer.set_result(end)

    # -- resets and ends --------------------------------------------------------------------------------------------

    def send_reset(self, end: SimTransport) -> None:
        """Tell the other side that this end is gone; lost where the link is cut."""
        here, there = end.process.host, end.peer.process.host
        if not self.is_cut(here, there):
            self._later(here, there, end.peer.reset, "by peer")

    def _end_connections(self, process: SimProcess) -> None:
        """The kernel's part of a process's end."""
        for server in [server for server in self._servers.values() if server.process is process]:
            self.unlisten(server)
        for end in list(process.transports):
            moment_s = 0.05 * self._rng.random()
            self.loop.call_later(moment_s, _orphan, end, self._rng.random() < 0.5, context=self.context)

    def saw(self, text: str) -> None:
        """Note an event in the trace, with the number of callbacks so far: what differs in between shows too."""
        self.loop.trace.event(self.loop.time(), f"{self.loop.steps} {text}")

    def _later(self, a: SimHost, b: SimHost, callback: Callable[..., object], *args: Any) -> None:
        self.loop.call_later(self.delay_s(a, b, 0), callback, *args, context=self.context)

    def _new_port(self) -> int:
        self._ports = self._ports + 1 if self._ports < 60_999 else _EPHEMERAL_PORT
        return self._ports


def _fail(answer: asyncio.Future[SimTransport], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _orphan(end: SimTransport, abruptly: bool) -> None:
    end.orphan(abruptly=abruptly)
