"""Cost of gossip at rest: CPU of each of ten real processes, as a part of one core.

usage: python -m tests.bench.gossip_bench [--processes 10] [--seconds 60] [--port 21000] [--seed 1]

Each process is one member that heartbeats an instance with 128 tokens every 15 s, as an ingester does, and one without
tokens, as a distributor does. Settings are the defaults: ping every 5 s, whole state every 30 s, TCP for each packet.
Measured is what /proc tells of user and system time, after everybody knows everybody and things have settled.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.logging import configure
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import ServiceState
from mimir_rw.kv.contract import KV
from mimir_rw.kv.memberlist.service import MemberlistService
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.ring.codec import RING_CODEC
from mimir_rw.ring.desc import InstanceDesc, RingDesc

TOKENS = 128
HEARTBEAT_S = 15.0
SETTLE_S = 10.0
TICK = os.sysconf("SC_CLK_TCK")


async def member(index: int, port: int, processes: int, rng: Random) -> None:
    service = MemberlistService(
        settings=MemberlistSettings(
            bind_addr=("127.0.0.1",),
            bind_port=port + index,
            join_members=tuple(f"127.0.0.1:{port + i}" for i in range(min(3, processes))),
        ),
        codecs=[RING_CODEC],
        clock=SystemClock(),
        rng=seeded_rng(rng.randrange(1 << 32)),
        metrics=Metrics(),
        hostname=f"node-{index}",
    )
    living = asyncio.ensure_future(service.live())
    await service.wait_state(ServiceState.RUNNING)
    kv = service.kv(RING_CODEC)
    tokens = tuple(sorted(rng.randrange(1 << 32) for _ in range(TOKENS)))
    await asyncio.gather(
        heartbeat(kv, "collectors/ring", f"ingester-{index}", tokens, rng),
        heartbeat(kv, "collectors/distributor", f"distributor-{index}", (), rng),
        living,
    )


async def heartbeat(kv: KV[RingDesc], key: str, name: str, tokens: tuple[int, ...], rng: Random) -> None:
    await asyncio.sleep(rng.random() * HEARTBEAT_S / 4)
    while True:
        now_s = int(time.time())
        instance = InstanceDesc(
            id=name, addr="127.0.0.1:9095", zone="zone-a", timestamp_s=now_s, registered_s=1, tokens=tokens
        )
        await kv.cas(key, lambda ring, instance=instance: (ring or RingDesc()).with_instance(instance))
        await asyncio.sleep(HEARTBEAT_S)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(count: int = 10, *, seconds: float = 60, port: int = 21000, seed: int = 1) -> list[float]:
    """What each of `count` processes takes of a core, in per cent, ascending."""
    processes = []
    for index in range(count):
        command = [sys.executable, "-m", "tests.bench.gossip_bench", f"--member={index}"]
        command += [f"--processes={count}", f"--port={port}", f"--seed={seed}"]
        processes.append(subprocess.Popen(command))
    try:
        time.sleep(SETTLE_S)
        before = [cpu_seconds(process.pid) for process in processes]
        began = time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - began
        return sorted((cpu_seconds(p.pid) - b) / passed * 100 for p, b in zip(processes, before, strict=True))
    finally:
        for process in processes:
            process.kill()
            process.wait()


def in_words(parts: list[float]) -> str:
    mean = sum(parts) / len(parts)
    return (
        f"{len(parts)} processes at rest, % of a core each: least {parts[0]:.2f}, mean {mean:.2f}, most {parts[-1]:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--port", type=int, default=21000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--member", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.member is None:
        at = measure(arguments.processes, seconds=arguments.seconds, port=arguments.port, seed=arguments.seed)
        print(in_words(at))
        return
    configure(level="warn")
    rng = Random(f"{arguments.seed}/{arguments.member}")
    asyncio.run(member(arguments.member, arguments.port, arguments.processes, rng))


if __name__ == "__main__":
    main()
