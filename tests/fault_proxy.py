"""A TCP proxy between an S3 client and its server that spoils single requests: answers of its own, truncated bodies,
resets, slowness. It reads requests whole (by Content-Length), which is all that boto3 sends without aws-chunked bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

BODY = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>said by the proxy</Message></Error>'


@dataclass
class FaultProxy:
    """faults: one for each request to come, "" for none: "500", "503" (SlowDown), "reset" (before the server sees it),
    "lost" (done by the server, the answer is dropped), "truncated" (half of the body, then the end), "slow"."""

    upstream: str
    faults: deque[str] = field(default_factory=deque)
    seen: list[str] = field(default_factory=list)
    endpoint: str = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"expect: 100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(_length(head))
        fault = self.faults.popleft() if self.faults else ""
        self.seen.append(head.split(b" ", 2)[0].decode())
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault in ("500", "503"):
            text = BODY % (b"InternalError" if fault == "500" else b"SlowDown")
            writer.write(b"HTTP/1.1 %s Oops\r\nContent-Type: application/xml\r\n" % fault.encode())
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(text), text))
            return True
        answer, answer_body = await self._ask(_without_expect(head) + body)
        if fault == "slow":
            await asyncio.sleep(1.5)
        if fault == "lost":
            writer.transport.abort()
            return False
        if fault == "truncated":
            writer.write(answer + answer_body[: len(answer_body) // 2])
            await writer.drain()
            return False
        writer.write(answer + answer_body)
        await writer.drain()
        return True

    async def _ask(self, request: bytes) -> tuple[bytes, bytes]:
        host, _, port = self.upstream.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head = await reader.readuntil(b"\r\n\r\n")
        has_body = not request.startswith(b"HEAD") and b" 204 " not in head.split(b"\r\n")[0]
        body = await (_body(reader, head) if has_body else _nothing())
        writer.close()
        return head, body


async def _nothing() -> bytes:
    return b""


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head.lower():
        return await reader.readexactly(_length(head))
    whole = b""
    while True:
        line = await reader.readline()
        size = int(line.split(b";")[0], 16)
        chunk = await reader.readexactly(size + 2)
        whole += line + chunk
        if size == 0:
            return whole


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _without_expect(head: bytes) -> bytes:
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))


@contextlib.asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(upstream)
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    proxy.endpoint = f"127.0.0.1:{port}"
    try:
        yield proxy
    finally:
        server.close()
