"""One real member as a program: `python -m tests.e2e.gossip_member <settings as JSON>`.

Commands come line by line on stdin (`put <key> <name> <text>`, `drop <key> <name>`, `stop`); on stdout goes, as JSON,
what it knows whenever that has changed: members by name and their state, and the entries of each key.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.logging import configure
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import system_rng
from mimir_rw.kit.service import ServiceState
from mimir_rw.kv.memberlist.service import MemberlistService
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from tests.kv_values import ENTRIES, Entries

LOOK_S = 0.02


async def report(service: MemberlistService) -> None:
    """Print what is known whenever it has changed."""
    last = ""
    kv = service.kv(ENTRIES)
    while True:
        page = await service.snapshot()
        known = {
            "members": {member["Name"]: member["State"] for member in page["SortedMembers"]},
            "keys": {key: ENTRIES.show(await kv.get(key) or Entries()) for key in await kv.list("")},
        }
        line = json.dumps(known, sort_keys=True)
        if line != last:
            print(line, flush=True)
            last = line
        await asyncio.sleep(LOOK_S)


async def obey(service: MemberlistService) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    kv = service.kv(ENTRIES)
    while line := await reader.readline():
        match line.decode().split():
            case ["put", key, name, text]:
                await kv.cas(key, lambda v, n=name, t=text: (v or Entries()).put(n, int(time.time()), t))
            case ["drop", key, name]:
                await kv.cas(key, lambda v, n=name: v.drop(n) if v is not None else None)
            case ["stop"]:
                break


async def main() -> None:
    given = json.loads(sys.argv[1])
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    service = MemberlistService(
        settings=MemberlistSettings(**tuples),
        codecs=[ENTRIES],
        clock=SystemClock(),
        rng=system_rng(),
        metrics=Metrics(),
    )
    living = asyncio.ensure_future(service.live())
    if await service.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING:
        reporting = asyncio.ensure_future(report(service))
        await obey(service)
        reporting.cancel()
    service.request_stop()
    await living
    sys.exit(service.failure is not None)


if __name__ == "__main__":
    configure(level="info")
    asyncio.run(main())
