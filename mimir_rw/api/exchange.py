"""One HTTP exchange: what a handler sees (`Call`) and gives (`Answer`). Thin over ASGI, no framework.

Bodies are read whole (but for `body_parts`), with their bound checked while reading: a declared length over it is
refused before a byte is read, an undeclared one as soon as it passes. A body is held as one `bytes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from mimir_rw.model.errors import BadRequest, Cancelled, MimirError, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Headers = tuple[tuple[bytes, bytes], ...]

JSON_TYPE = b"application/json"
TEXT_TYPE = b"text/plain; charset=utf-8"
HTML_TYPE = b"text/html; charset=utf-8"

DISCARD_BYTES_MAX = 32 << 20
DISCARD_SECONDS_MAX = 5.0


class BodyStore:
    """The bytes of request bodies that a process holds at once, over all requests of one kind, and their bound.

    A body counts from the first byte received until its request has been answered, so that senders which are slow, or
    many, cannot fill the memory.
    """

    __slots__ = ("_over", "bytes_max", "held")

    def __init__(self, bytes_max: int, over: Callable[[], MimirError]) -> None:
        """bytes_max 0: no bound. over: the error for a request whose body does not fit any more."""
        self.bytes_max = bytes_max
        self.held = 0
        self._over = over

    def take(self, count: int) -> None:
        if 0 < self.bytes_max < self.held + count:
            raise self._over()
        self.held += count

    def give_back(self, count: int) -> None:
        self.held -= count


@dataclass(slots=True)
class Answer:
    """A whole response. Content-Length is added when it is sent."""

    status: int
    body: bytes = b""
    content_type: bytes = TEXT_TYPE
    headers: Headers = ()


class Call:
    """A request, bound to its connection. `tenant` is "" on routes without authentication."""

    __slots__ = (
        "_read_seconds_max",
        "_receive",
        "body_bytes",
        "body_ended",
        "form",
        "gone",
        "path_params",
        "scope",
        "stored_bytes",
        "tenant",
    )

    def __init__(self, scope: Scope, receive: Receive, read_seconds_max: float) -> None:
        self.scope = scope
        self._receive = receive
        self._read_seconds_max = read_seconds_max
        self.tenant = ""
        self.path_params: Mapping[str, str] = scope.get("path_params", {})
        self.form = b""
        """The body, on routes whose endpoint reads it."""
        self.body_bytes = 0
        """Bytes of the body received so far."""
        self.stored_bytes = 0
        """Bytes of the body that stand in a `BodyStore`."""
        self.body_ended = False
        self.gone = False
        """Has the client been seen to go away?"""

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    @property
    def query_string(self) -> bytes:
        query: bytes = self.scope["query_string"]
        return query

    def header(self, name: bytes) -> bytes | None:
        """The first header of this lower-case name."""
        return find_header(self.scope, name)

    def path_value(self, name: str) -> str:
        """The path segment, percent-decoded (a segment may hold an encoded slash)."""
        try:
            return unquote(self.path_params[name], errors="strict")
        except UnicodeDecodeError:
            raise BadRequest(f"path segment {self.path_params[name]!r} is not valid UTF-8") from None

    def accepts(self, media_type: bytes) -> bool:
        """Does the Accept header name this type?"""
        accept = self.header(b"accept")
        return accept is not None and media_type in accept

    async def body(
        self, bytes_max: int, *, over: Callable[[int], TooLarge] | None = None, store: BodyStore | None = None
    ) -> bytes:
        """The whole body. Raises TooLarge (or what `over` makes of the size) beyond bytes_max, Cancelled when the
        client goes away first or takes longer than read_seconds_max.

        What is read is taken from `store`, and its error raised where it does not fit; the caller gives `stored_bytes`
        back."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > bytes_max:
            raise _too_large(int(declared), bytes_max, over)
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._read_seconds_max):
                while not self.body_ended:
                    if chunk := await self._chunk():
                        if self.body_bytes > bytes_max:
                            raise _too_large(self.body_bytes, bytes_max, over)
                        if store is not None:
                            store.take(len(chunk))
                            self.stored_bytes += len(chunk)
                        chunks.append(chunk)
        except TimeoutError:
            raise Cancelled("the client took too long to send its request") from None
        if self.gone:
            raise Cancelled("the client went away while sending its request")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def body_parts(self, bytes_max: int) -> AsyncIterator[bytes]:
        """The body as it comes, for those too large to be held. It may take as long as it likes, but not be silent for
        longer than read_seconds_max. Raises as `body` does."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > bytes_max:
            raise _too_large(int(declared), bytes_max, None)
        while not self.body_ended:
            try:
                async with asyncio.timeout(self._read_seconds_max):
                    part = await self._chunk()
            except TimeoutError:
                raise Cancelled("the client took too long to send its request") from None
            if self.body_bytes > bytes_max:
                raise _too_large(self.body_bytes, bytes_max, None)
            if part:
                yield part
        if self.gone:
            raise Cancelled("the client went away while sending its request")

    async def discard(self) -> bool:
        """Read and drop what is left of the body, so that the client gets to read an early answer.

        False when there is more than DISCARD_BYTES_MAX, or the client is slow: then the connection has to close.
        """
        bytes_max = self.body_bytes + DISCARD_BYTES_MAX
        try:
            async with asyncio.timeout(DISCARD_SECONDS_MAX):
                while not self.body_ended and self.body_bytes <= bytes_max:
                    await self._chunk()
        except TimeoutError:
            return False
        return self.body_ended

    async def wait_gone(self) -> None:
        """Drop all that still comes; returns when the client has gone away or the server closed the stream."""
        while not self.gone:
            await self._chunk()

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = self.body_ended = True
            return b""
        chunk: bytes = message.get("body", b"")
        self.body_bytes += len(chunk)
        self.body_ended = self.body_ended or not message.get("more_body", False)
        return chunk


def find_header(scope: Scope, name: bytes) -> bytes | None:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    for key, value in headers:
        if key == name:
            return value
    return None


def _too_large(size: int, bytes_max: int, over: Callable[[int], TooLarge] | None) -> TooLarge:
    if over is not None:
        return over(size)
    return TooLarge(f"the request body is larger than the allowed limit of {bytes_max} bytes")
