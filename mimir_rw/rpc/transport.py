"""Contract of calls between processes: what a method's two sides see of them, whatever carries them.

A message is a small header (a msgpack map with text keys) and a payload of raw bytes; numbers in bulk travel in the
payload. Errors cross by kind and id (`model/errors.py`) and arrive as the same class with the same text.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    header: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes | memoryview = b""


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a handler may know of its caller. protocol: the version that both sides speak on this connection."""

    tenant: str
    trace_id: str
    timeout_s: float
    """What is left of the caller's deadline; the handler is cancelled when it has passed."""
    peer: str
    """The caller's instance id, as it said in the handshake."""
    protocol: int


UnaryHandler = Callable[[CallContext, Message], Awaitable[Message]]
StreamHandler = Callable[[CallContext, Message], AsyncIterator[Message]]


class RpcRouter(Protocol):
    """Where a component registers what it answers. Method names are `component.verb`, as in `ingester.push`."""

    def unary(self, method: str, handler: UnaryHandler) -> None: ...

    def stream(self, method: str, handler: StreamHandler) -> None:
        """Messages are sent as the caller grants credit. The handler's iterator is closed when the caller leaves."""
        ...


class RpcPeer(Protocol):
    """One process that can be called. Connects when first used, and again, with jittered backoff, when it is lost.

    A connection whose other side answers no ping within the health timeout is given up: every call on it fails with
    Unavailable at once, and so does each new one until it is back.
    """

    @property
    def address(self) -> str: ...

    @property
    def healthy(self) -> bool:
        """Connected, or never tried. False while the last attempt failed."""
        ...

    @property
    def protocol(self) -> int:
        """Version of the connection; 0 before the first handshake."""
        ...

    @property
    def epoch(self) -> str:
        """Identifies the life of the process at the other end: another after each of its starts; "" when unknown."""
        ...

    async def connect(self) -> None:
        """Be connected, or raise Unavailable."""
        ...

    async def call(
        self,
        method: str,
        message: Message,
        *,
        tenant: str = "",
        timeout_s: float,
        protocol_min: int = 1,
    ) -> Message:
        """The answer, or the error the handler raised. QueryTimeout-like deadlines raise Unavailable (timed out);
        Unavailable also when the connection is lost, and then the call may have been carried out. Cancelling the
        caller cancels the handler. protocol_min: what the message needs; Unavailable, unsent, when the connection that
        is there by then speaks less. The call carries the trace of the task that makes it."""
        ...

    def stream(
        self,
        method: str,
        message: Message,
        *,
        tenant: str = "",
        timeout_s: float,
        protocol_min: int = 1,
    ) -> AsyncIterator[Message]:
        """The messages of a streaming handler, in order; ends when it ends, raises what it raises. Leaving the iterator
        (aclose) cancels the handler. timeout_s is for the whole stream; 0: no deadline."""
        ...


class RpcPool(Protocol):
    """Peers by address, shared by all callers in a process; those unused for a while are closed."""

    def peer(self, address: str) -> RpcPeer: ...
