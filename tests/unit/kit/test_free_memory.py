"""When free memory is given back to the system."""

from __future__ import annotations

import asyncio
import contextlib

from mimir_rw.kit.free_memory import FreeMemory, resident_bytes, return_free_memory
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.service import ServiceState
from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.trace import Trace

MIB = 1 << 20


class Machine:
    """What is used, and what is free but still resident."""

    def __init__(self) -> None:
        self.used, self.free, self.returns = 100 * MIB, 0, 0

    def resident(self) -> int:
        return self.used + self.free

    def give_back(self) -> None:
        self.free = 0
        self.returns += 1


async def scenario(machine: Machine) -> list[int]:
    service = FreeMemory(
        offload=InlineOffload(), metrics=Metrics(), resident=machine.resident, give_back=machine.give_back
    )
    living = asyncio.create_task(service.live())
    await service.wait_state(ServiceState.RUNNING)
    seen = []
    for used, free in ((100, 0), (100, 50), (100, 400), (900, 0), (900, 10), (100, 0), (100, 65)):
        machine.used, machine.free = used * MIB, free * MIB
        await asyncio.sleep(5)
        seen.append(machine.returns)
    service.request_stop()
    await living
    return seen


def test_free_memory_goes_back_when_the_process_has_grown() -> None:
    loop = SimLoop(trace=Trace())
    with contextlib.closing(loop):
        assert loop.run_until_complete(scenario(Machine())) == [0, 0, 1, 2, 2, 2, 3]


def test_the_real_calls_work_here() -> None:
    assert resident_bytes() > MIB
    return_free_memory()
