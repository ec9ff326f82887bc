"""A small run with many kinds of events, whose trace is printed: started twice by the test of equal traces."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from mimir_rw.testing.network import Link
from mimir_rw.testing.simulation import Simulation


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(100):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve() -> None:
    server = await asyncio.start_server(echo, "0.0.0.0", 9095)
    await server.serve_forever()


async def talk(names: set[str], rng) -> None:
    """names is a set on purpose: its order differs between interpreters, and is sorted before use."""
    for turn in range(20):
        for name in sorted(names):
            try:
                async with asyncio.timeout(2):
                    reader, writer = await asyncio.open_connection(name, 9095)
                    writer.write(f"{turn} {rng.random()}".encode() * 50)
                    await reader.read(10)
                    writer.close()
            except OSError:
                pass
        await asyncio.sleep(rng.random())


def run(seed: int) -> str:
    with Simulation(seed) as sim:
        hosts = [sim.network.add_host(f"host-{i}") for i in range(5)]
        sim.network.set_link(hosts[1], Link(refuse=0.2, breaks=0.1, bytes_per_s=1e6))
        processes = [sim.network.spawn(host) for host in hosts]
        for process in processes:
            process.run(serve())
            process.run(talk({host.name for host in hosts}, sim.rng(process.name)))

        async def script() -> None:
            await asyncio.sleep(2)
            processes[0].freeze()
            sim.network.cut(hosts[2:3], hosts)
            await asyncio.sleep(2)
            processes[0].thaw()
            processes[3].kill()
            await asyncio.sleep(1)
            sim.network.heal()
            sim.network.spawn(hosts[3]).run(serve())
            await asyncio.sleep(60)

        sim.run(script())
        assert sim.loop.complaints == []
        return f"{sim.trace.events} {sim.trace.digest()}"


if __name__ == "__main__":
    print(run(int(sys.argv[1])))
