"""What a call between processes costs: CPU of each side, by payload and by how many callers wait at a time.

Run: python -m tests.bench.rpc_bench [--profile]. Server and client are two processes on loopback; the handler only
answers.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import ServiceState
from mimir_rw.rpc.handshake import Identity
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.peer import PeerSettings
from mimir_rw.rpc.pool import RpcPools
from mimir_rw.rpc.server import RpcServer, ServerSettings
from mimir_rw.rpc.transport import CallContext, Message, RpcPeer

CASES = [
    ("small", 100, 1, 20_000),
    ("small", 100, 16, 40_000),
    ("100 KiB", 100 << 10, 1, 8_000),
    ("100 KiB", 100 << 10, 8, 8_000),
]
"""Name, payload bytes, callers at a time, calls."""
STREAMS = [(1 << 10, 20_000), (256 << 10, 2_000)]
"""Bytes of a message, messages."""


async def serve() -> None:
    """Answer until told to report: `bench.cpu` gives this process' CPU seconds so far."""
    server = RpcServer(
        host="127.0.0.1", port=0, identity=Identity("bench", "server", "1"), settings=ServerSettings(),
        metrics=RpcMetrics(Metrics()),
    )  # fmt: skip

    async def answer(context: CallContext, message: Message) -> Message:
        return Message({"n": len(message.payload)})

    async def cpu(context: CallContext, message: Message) -> Message:
        return Message({"cpu": time.process_time()})

    async def pour(context: CallContext, message: Message) -> AsyncIterator[Message]:
        data = bytes(message.header["bytes"])
        for _ in range(message.header["messages"]):
            yield Message({}, data)

    server.stream("bench.pour", pour)
    server.unary("bench.answer", answer)
    server.unary("bench.cpu", cpu)
    life = asyncio.create_task(server.live())
    await server.wait_state(ServiceState.RUNNING)
    print(server.port, flush=True)
    await life


async def measure(peer: RpcPeer, payload: bytes, callers: int, calls: int) -> tuple[float, float, float]:
    """Microseconds a call: CPU of the client, of the server, and wall time."""

    async def caller() -> None:
        for _ in range(calls // callers):
            await peer.call("bench.answer", Message({"key": 1}, payload), tenant="tenant", timeout_s=10)

    async def all_callers() -> None:
        await asyncio.gather(*(caller() for _ in range(callers)))

    return await cost(peer, all_callers, calls)


async def measure_stream(peer: RpcPeer, size: int, messages: int) -> tuple[float, float, float]:
    """The same, a message of a stream."""

    async def read() -> None:
        header = {"bytes": size, "messages": messages}
        async for _ in peer.stream("bench.pour", Message(header), timeout_s=60):
            pass

    return await cost(peer, read, messages)


async def cost(peer: RpcPeer, work: Callable[[], Awaitable[None]], count: int) -> tuple[float, float, float]:
    async def server_cpu() -> float:
        return float((await peer.call("bench.cpu", Message(), timeout_s=10)).header["cpu"])

    await work()  # once to warm up
    server, client, start = await server_cpu(), time.process_time(), time.perf_counter()
    await work()
    wall = time.perf_counter() - start
    client = time.process_time() - client
    server = await server_cpu() - server
    return client / count * 1e6, server / count * 1e6, wall / count * 1e6


async def drive(port: int) -> None:
    pool = RpcPools(
        identity=Identity("bench", "client", "2"), settings=PeerSettings(), rng=seeded_rng(1),
        metrics=RpcMetrics(Metrics()),
    )  # fmt: skip
    life = asyncio.create_task(pool.live())
    await pool.wait_state(ServiceState.RUNNING)
    peer = pool.peer(f"127.0.0.1:{port}")
    print(f"{'payload':>10} {'callers':>8} {'client us':>10} {'server us':>10} {'wall us':>9}")
    for name, size, callers, calls in CASES:
        client, server, wall = await measure(peer, bytes(size), callers, calls)
        print(f"{name:>10} {callers:>8} {client:>10.1f} {server:>10.1f} {wall:>9.1f}")
    for size, messages in STREAMS:
        client, server, wall = await measure_stream(peer, size, messages)
        print(f"{size >> 10:>6} KiB {'stream':>8} {client:>10.1f} {server:>10.1f} {wall:>9.1f}")
    pool.request_stop()
    await life


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print where the client's time goes")
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return
    server = subprocess.Popen([sys.executable, "-m", __spec__.name, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with cProfile.Profile() as profile:
            if not arguments.profile:
                profile.disable()
            asyncio.run(drive(port))
        if arguments.profile:
            pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
