"""Records what a real dskit node sends to a member that it joins, as the golden file of test_recorded_bytes.py.

usage: python -m tests.golden.dskit.record <binary made from node.go> > tests/golden/dskit/connections.json

This program is that member. Of connections that carry the same kinds of messages one is kept. With compression and
without; each is the whole connection as hexadecimal digits.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from mimir_rw.kv.memberlist import wire
from mimir_rw.kv.memberlist.messages import PROTOCOL_VERSIONS, Endpoint, NodeState, PushPull, RemoteNode
from tests.e2e.processes import free_port

LABEL = "dev"
RECORD_S = 6.0
LEAVE_S = 3.0


class Recorder:
    def __init__(self, port: int) -> None:
        self.port = port
        self.kept: dict[str, str] = {}

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == wire.PACKET_KIND:
            data = await reader.read()
            payload = wire.decode_frame(data).payload
            messages = wire.unseal(payload, label=LABEL, verify_label=True, bytes_max=1 << 24)
            kinds = " ".join(f"{message[0]}" for message in messages)
            self.kept.setdefault(f"packet {kinds}", (wire.PACKET_KIND + data).hex())
        else:
            await self.answer(reader, writer)
        writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder, data, result = wire.StreamDecoder(bytes_max=1 << 24), b"", None
        while result is None:
            piece = await reader.read(65536)
            data += piece
            result = decoder.feed(piece)
        assert isinstance(result.message, PushPull)
        what = "with state" if result.message.user_state else "empty"
        self.kept.setdefault(f"stream {what}", (wire.STREAM_KIND + data).hex())
        endpoint = Endpoint(bytes((127, 0, 0, 1)), self.port)
        me = RemoteNode("recorder", endpoint, b"", 1, NodeState.ALIVE, PROTOCOL_VERSIONS)
        writer.write(wire.encode_stream(PushPull((me,), join=False, user_state=b""), label="", compression=False))
        await writer.drain()


async def record(binary: str, compression: bool) -> dict[str, str]:
    recorder = Recorder(free_port())
    server = await asyncio.start_server(recorder.take, "127.0.0.1", recorder.port)
    node = await asyncio.create_subprocess_exec(
        binary, f"-port={free_port()}", f"-join=127.0.0.1:{recorder.port}", f"-label={LABEL}",
        f"-compress={str(compression).lower()}", "-beat=30",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await asyncio.sleep(RECORD_S)
    node.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(node.wait(), LEAVE_S)
    except TimeoutError:
        node.kill()
        await node.wait()
    server.close()
    return dict(sorted(recorder.kept.items()))


async def main() -> None:
    recorded = {name: await record(sys.argv[1], name == "compressed") for name in ("plain", "compressed")}
    json.dump(recorded, sys.stdout, indent=1)


if __name__ == "__main__":
    asyncio.run(main())
