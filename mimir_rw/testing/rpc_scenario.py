"""Calls between processes under faults: every call ends in time, is carried out once at most, and exactly once when it
was answered; streams arrive in order and whole; when all is well again, so are calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.service import ServiceSet
from mimir_rw.model.errors import MimirError
from mimir_rw.rpc.handshake import Identity
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.peer import PeerSettings
from mimir_rw.rpc.pool import RpcPools
from mimir_rw.rpc.server import RpcServer, ServerSettings
from mimir_rw.rpc.transport import CallContext, Message
from mimir_rw.testing.nemesis import Nemesis
from mimir_rw.testing.node import Node
from mimir_rw.testing.process import SimProcess
from mimir_rw.testing.simulation import Simulation

T = TypeVar("T")

LASTS_S = 600.0
PORT = 9095
_STREAM_MESSAGES = 50
_LATE_S = 1.0
"""What a call may take beyond its timeout: the caller's side is not disturbed, so nothing but the timeout itself."""
_RECOVERY_S = 15.0


@dataclass(slots=True)
class _Record:
    """Seen from outside. done: how often each call was carried out."""

    done: dict[str, int] = field(default_factory=dict)
    answered: list[str] = field(default_factory=list)
    failed: int = 0
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Parts:
    services: ServiceSet
    pool: RpcPools


class _Run:
    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.record = _Record()
        self.servers = [self._node(f"server-{i}") for i in range(3)]
        self.clients = [self._node(f"client-{i}") for i in range(2)]

    def _node(self, name: str) -> Node[_Parts]:
        network = self.sim.network
        return Node(
            network=network, host=network.add_host(name), build=self._build, services=lambda parts: parts.services
        )

    def _build(self, process: SimProcess) -> _Parts:
        metrics = RpcMetrics(Metrics())
        identity = Identity(cluster="sim", instance=process.host.name, epoch=process.name)
        server = RpcServer(
            host="", port=PORT, identity=identity, settings=ServerSettings(graceful_s=5.0), metrics=metrics
        )
        server.unary("sim.do", self._do)
        server.stream("sim.count", self._count)
        pool = RpcPools(
            identity=identity, settings=PeerSettings(), rng=self.sim.rng(process.name), metrics=metrics
        )  # fmt: skip
        return _Parts(ServiceSet([server, pool], {}), pool)

    async def _do(self, context: CallContext, message: Message) -> Message:
        name = message.header["name"]
        self.record.done[name] = self.record.done.get(name, 0) + 1
        await asyncio.sleep(message.header["takes_s"])
        return Message({"name": name}, message.payload)

    async def _count(self, context: CallContext, message: Message) -> AsyncIterator[Message]:
        for n in range(_STREAM_MESSAGES):
            yield Message({"n": n}, bytes(2000))

    async def call_for_ever(self, client: Node[_Parts], number: int, until_s: float) -> None:
        loop, rng = self.sim.loop, self.sim.rng(f"caller {number}")
        count = 0
        while loop.time() < until_s:
            await asyncio.sleep(rng.random())
            count += 1
            server = rng.choice(self.servers)
            timeout_s = rng.choice((0.5, 2.0, 10.0))
            work = self.stream(client, server, timeout_s) if count % 5 == 0 else None
            work = work or self.call(client, server, f"{number}/{count}", rng.random() * 0.1, timeout_s)
            begun_s = loop.time()
            await work
            if loop.time() - begun_s > timeout_s + _LATE_S:
                took_s = loop.time() - begun_s
                self.record.complaints.append(f"call {number}/{count} took {took_s:.3f} s with {timeout_s} s to go")

    async def call(
        self, client: Node[_Parts], server: Node[_Parts], name: str, takes_s: float, timeout_s: float
    ) -> bool:
        message = Message({"name": name, "takes_s": takes_s}, name.encode() * 200)
        peer = client.parts.pool.peer(f"{server.host.address}:{PORT}")
        try:
            answer = await _in(client, peer.call("sim.do", message, timeout_s=timeout_s))
        except MimirError:
            self.record.failed += 1
            return False
        self.record.answered.append(name)
        if answer.header != {"name": name} or bytes(answer.payload) != message.payload:
            self.record.complaints.append(f"call {name} got the answer of another: {answer.header}")
        return True

    async def stream(self, client: Node[_Parts], server: Node[_Parts], timeout_s: float) -> bool:
        peer = client.parts.pool.peer(f"{server.host.address}:{PORT}")

        got: list[int] = []

        async def read() -> bool:
            try:
                async for message in peer.stream("sim.count", Message(), timeout_s=timeout_s):
                    got.append(message.header["n"])  # noqa: PERF401 (what came before a failure counts)
            except MimirError:
                return False
            return True

        whole = await _in(client, read())
        if got != list(range(_STREAM_MESSAGES if whole else len(got))):
            self.record.complaints.append(f"a stream that {'ended' if whole else 'broke'} gave {got}")
        return whole

    async def whole(self) -> None:
        """Every client can call every server again, soon."""
        deadline = self.sim.loop.time() + _RECOVERY_S
        for client in self.clients:
            for number, server in enumerate(self.servers):
                tries = 0
                while not await self.call(client, server, f"whole {self.sim.loop.time()} {number} {tries}", 0.0, 2.0):
                    tries += 1
                    await asyncio.sleep(0.2)
                    if self.sim.loop.time() > deadline:
                        self.record.complaints.append(
                            f"{client.name} cannot call {server.name} at {self.sim.loop.time():.3f}"
                        )
                        return

    def verdict(self) -> list[str]:
        record = self.record
        found = [f"call {name} was carried out {n} times" for name, n in record.done.items() if n > 1]
        found += [
            f"call {name} was answered and not carried out" for name in record.answered if name not in record.done
        ]
        if not record.answered:
            found.append("no call was ever answered")
        return [*record.complaints, *found]


async def _in(node: Node[_Parts], work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in the node's process."""
    assert node.process is not None
    result: T = await node.process.run(work)
    return result


async def run(sim: Simulation, directory: Path) -> list[str]:
    """Servers are disturbed, one at a time; the clients are not, and judge."""
    this = _Run(sim)
    for node in (*this.servers, *this.clients):
        node.start()
    await asyncio.sleep(1.0)
    until_s = sim.loop.time() + LASTS_S
    callers = [
        asyncio.ensure_future(this.call_for_ever(client, number, until_s))
        for number, client in enumerate([*this.clients, *this.clients])
    ]
    nemesis = Nemesis(
        network=sim.network,
        rng=sim.rng("nemesis"),
        groups={node.name: [node] for node in this.servers},
        whole=this.whole,
    )
    await asyncio.gather(nemesis.run(until_s), *callers)
    return this.verdict()
