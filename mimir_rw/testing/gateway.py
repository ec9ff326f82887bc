"""The one door of a simulated cluster, as nginx is in life: it hands a request to an upstream and, when that fails,
once more to another one.

In the processes a `Door` answers where the HTTP server would: it calls the very services and turns what they raise into
the very statuses. A request is one connection with a length and a msgpack list in each direction.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mimir_rw.api.errors import text_status
from mimir_rw.api.traffic import TrafficGate
from mimir_rw.kit.service import Service
from mimir_rw.model.errors import MimirError
from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.process import SimProcess

HTTP_PORT = 8080
CONNECT_S = 2.0
FAIL_S = 10.0
"""How long an upstream that failed is passed over while there are others."""
_NEXT = frozenset({502, 503})
_GATEWAY_TIMEOUT, _BAD_GATEWAY = 504, 502

Handler = Callable[..., Awaitable[Any]]
"""Takes what the client sent, returns what msgpack can carry."""


class Door(Service):
    """In a process: answers what the gateway asks. It stands for the HTTP server, and like that one it takes requests
    before the gate is open and turns them away."""

    gate: TrafficGate

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        """`gate` is to be set before it starts; handlers may be filled until that opens."""
        super().__init__("server")
        self._handlers = handlers
        self._server: asyncio.AbstractServer | None = None

    async def start_up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "0.0.0.0", HTTP_PORT)

    async def shut_down(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                name, arguments = await _receive(reader)
                _send(writer, await self._answer(name, arguments))
                await writer.drain()
        finally:
            writer.close()

    async def _answer(self, name: str, arguments: Sequence[Any]) -> tuple[int, Any]:
        gate = self.gate
        if not gate.open:
            return 503, gate.refusal()
        gate.inflight += 1
        try:
            return 200, await self._handlers[name](*arguments)
        except MimirError as error:
            return text_status(error), f"{type(error).__name__}: {error}"
        finally:
            gate.left()


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    answer: Any
    """What the handler returned, or a text about the failure."""
    tries: tuple[str, ...] = ()
    """What became of each attempt, for complaints."""


class Gateway:
    """A process of its own that passes requests on."""

    def __init__(self, *, process: SimProcess, read_s: float) -> None:
        """read_s: how long an upstream may take to answer."""
        self.process = process
        self._loop: SimLoop = process.loop
        self._turn = 0
        self._read_s = read_s
        self._failed_at: dict[str, float] = {}

    async def ask(self, upstreams: Sequence[str], name: str, *arguments: Any) -> Reply:
        """upstreams: names of hosts. Never raises."""
        reply: Reply = await self.process.run(self._ask(upstreams, name, arguments))
        return reply

    async def _ask(self, upstreams: Sequence[str], name: str, arguments: Sequence[Any]) -> Reply:
        tries: list[str] = []
        reply = Reply(_BAD_GATEWAY, "no upstream")
        for host in self._order(upstreams)[:2]:
            reply = await self._attempt(host, name, arguments)
            tries.append(f"{host}: {reply.status}" + ("" if reply.status == 200 else f" {reply.answer}"))
            if reply.status not in _NEXT and reply.status != _GATEWAY_TIMEOUT:
                break
            self._failed_at[host] = self._loop.time()
        return Reply(reply.status, reply.answer, tuple(tries))

    def _order(self, upstreams: Sequence[str]) -> list[str]:
        """A turn of the wheel, those that failed lately last."""
        now_s = self._loop.time()
        turn = self._turn % len(upstreams)
        self._turn += 1
        return sorted(
            [*upstreams[turn:], *upstreams[:turn]], key=lambda host: now_s - self._failed_at.get(host, -FAIL_S) < FAIL_S
        )

    async def _attempt(self, host: str, name: str, arguments: Sequence[Any]) -> Reply:
        writer = None
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(host, HTTP_PORT)
            async with asyncio.timeout(self._read_s):
                _send(writer, (name, arguments))
                status, answer = await _receive(reader)
            return Reply(status, answer)
        except TimeoutError:
            return Reply(_GATEWAY_TIMEOUT, "timed out" if writer else "no connection in time")
        except (OSError, asyncio.IncompleteReadError) as error:
            return Reply(_BAD_GATEWAY, type(error).__name__)
        finally:
            if writer is not None:
                writer.close()


def _send(writer: asyncio.StreamWriter, message: Sequence[Any]) -> None:
    data = msgspec.msgpack.encode(message)
    writer.write(len(data).to_bytes(4, "big") + data)


async def _receive(reader: asyncio.StreamReader) -> Any:
    size = int.from_bytes(await reader.readexactly(4), "big")
    return msgspec.msgpack.decode(await reader.readexactly(size))
