import asyncio

from mimir_rw.app.announcement import Announcement
from mimir_rw.app.modules import ANNOUNCEMENT, GATE, NEEDS, RINGS, lifecycler_module
from mimir_rw.kit.service import ServiceState


async def test_it_runs_once_the_others_have_been_told():
    told = asyncio.Event()

    async def wait() -> None:
        await told.wait()

    made = Announcement(told=wait)
    living = asyncio.create_task(made.live())
    await asyncio.sleep(0)
    assert made.state is ServiceState.STARTING
    told.set()
    assert await made.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING
    made.request_stop()
    await living


def test_it_lies_between_the_rings_and_traffic():
    assert set(NEEDS[ANNOUNCEMENT]) == {lifecycler_module(ring) for ring in RINGS}
    assert ANNOUNCEMENT in NEEDS[GATE]
