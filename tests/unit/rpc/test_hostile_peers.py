"""Either end against a peer that sends frames without sense: the connection may end, nothing else may."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace

from mimir_rw.model.errors import MimirError, Unavailable
from mimir_rw.rpc import codec
from mimir_rw.rpc.framing import FrameBounds, FrameDecoder, Kind, frame_head
from mimir_rw.rpc.handshake import PROTOCOL_MAX, accept, answer, hello
from mimir_rw.rpc.transport import Message
from tests.unit.rpc.harness import CLIENT_ID, SERVER_ID, Ends, until
from tests.unit.rpc.test_calls import Component

METHODS = ["test.echo", "test.fail", "test.break", "test.wait", "test.count", "test.flood", "nothing", ""]


def frame(kind: int, stream: int, header: bytes, payload: bytes = b"", flags: int = 0) -> bytes:
    return frame_head(kind, stream, len(header), len(payload), flags) + header + payload


def any_header(rng: random.Random) -> bytes:
    choice = rng.randrange(6)
    if choice == 0:
        return b""
    if choice == 1:
        return rng.randbytes(rng.randrange(30))
    if choice == 2:
        return codec.encode_header(codec.CreditHeader(rng.choice([-5, 0, 1, 1 << 62])))
    if choice == 3:
        return codec.encode_header(codec.ErrorHeader(kind=rng.choice(["unavailable", "x"]), text="t", id="i"))
    timeout_s = rng.choice([0.0, -1.0, 0.01, 1e300, float("inf"), float("nan")])
    call = codec.CallHeader(
        rng.choice(METHODS), "t", "", timeout_s, rng.choice([0, 1, 5000]), {"to": rng.randrange(50)}
    )
    return codec.encode_header(call)


def any_frame(rng: random.Random, kinds: list[int]) -> bytes:
    kind = rng.choice(kinds) if rng.random() < 0.9 else rng.randrange(256)
    payload = rng.randbytes(rng.choice([0, 0, 3, 5000]))
    return frame(kind, rng.choice([0, 1, 2, 3, 2**32 - 1]), any_header(rng), payload, rng.randrange(4))


async def drained(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(1 << 16):
            pass


async def test_a_server_outlives_callers_without_sense() -> None:
    rng = random.Random(3)
    component, ends = Component(), Ends()
    kinds = [Kind.CALL, Kind.STREAM_OPEN, Kind.CREDIT, Kind.CANCEL, Kind.PING, Kind.PONG, Kind.HELLO, Kind.MESSAGE]
    async with ends.server(component.register) as server, ends.pool() as pool:
        for _ in range(150):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            reading = asyncio.create_task(drained(reader))
            writer.write(frame(Kind.HELLO, 0, codec.encode_header(hello(CLIENT_ID, 1 << 20))))
            for _ in range(rng.randrange(1, 12)):
                writer.write(any_frame(rng, [*kinds]))
            await asyncio.sleep(0)
            writer.transport.abort() if rng.random() < 0.5 else writer.close()
            await reading
        assert (await pool.peer(f"127.0.0.1:{server.port}").call("test.echo", Message({"a": 1}), timeout_s=5)).header
        await until(lambda: not server.inflight)
        assert server.inflight_bytes == 0
        assert server.failure is None


async def test_a_caller_outlives_servers_without_sense() -> None:
    rng = random.Random(4)
    kinds = [Kind.MESSAGE, Kind.END, Kind.ERROR, Kind.PING, Kind.CREDIT, Kind.GOAWAY, Kind.HELLO_ACK]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = FrameDecoder(FrameBounds())
        with contextlib.suppress(ConnectionError):
            while not (frames := greeting.feed(await reader.read(1 << 16))):
                pass
            ack, _ = answer(SERVER_ID, 1 << 20, codec.decode_header(codec.HELLO, frames[0].header))
            writer.write(frame(Kind.HELLO_ACK, 0, codec.encode_header(ack)))
            while await reader.read(1 << 16):
                for _ in range(rng.randrange(1, 8)):
                    writer.write(any_frame(rng, [*kinds]))
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    ends = Ends()
    ends.peer_settings = replace(ends.peer_settings, backoff_min_s=0.001, backoff_max_s=0.002)
    async with ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{port}")
        for turn in range(300):
            with contextlib.suppress(MimirError):
                if turn % 2:
                    await peer.call("test.echo", Message(), timeout_s=0.02)
                else:
                    async for _ in peer.stream("test.count", Message(), timeout_s=0.02):
                        pass
            await asyncio.sleep(0.001)
    listener.close()


async def test_more_than_the_credit_ends_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = FrameDecoder(FrameBounds()).feed(await reader.read(1 << 16))[0]
        ack, _ = answer(SERVER_ID, 1 << 20, codec.decode_header(codec.HELLO, theirs.header))
        writer.write(frame(Kind.HELLO_ACK, 0, codec.encode_header(ack)))
        await reader.read(1 << 16)
        for _ in range(5):
            writer.write(frame(Kind.MESSAGE, 1, b"", bytes(600_000)))
        await drained(reader)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with Ends().pool() as pool:
        stream = pool.peer(f"127.0.0.1:{port}").stream("test.count", Message(), timeout_s=5)
        assert len((await anext(stream)).payload) == 600_000
        error: MimirError | None = None
        await asyncio.sleep(0.05)
        try:
            async for _ in stream:
                pass
        except Unavailable as raised:
            error = raised
        assert "more than its credit" in str(error)
    listener.close()


def test_the_greeting_is_checked() -> None:
    theirs = hello(CLIENT_ID, 5)
    ack, agreed = answer(SERVER_ID, 7, theirs)
    assert (agreed.payload_bytes_max, accept(CLIENT_ID, ack).payload_bytes_max) == (5, 7)
    for change in ({"magic": "x"}, {"cluster": "x"}, {"protocol_min": PROTOCOL_MAX + 1, "protocol_max": 9}):
        fields = {name: getattr(theirs, name) for name in theirs.__struct_fields__}
        try:
            answer(SERVER_ID, 7, codec.Hello(**{**fields, **change}))
        except MimirError:
            continue
        raise AssertionError(change)
