import asyncio

from mimir_rw.app.wiring import ready
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.service import Service, ServiceSet


class Waiting(Service):
    reason: str | None = "nobody is there"

    def readiness(self):
        return self.reason


async def test_a_process_is_called_ready_when_its_services_are():
    service = Waiting("frontend")
    services = ServiceSet([service], {})
    running = asyncio.ensure_future(services.run())
    welcome = asyncio.ensure_future(ready(services, get_logger()))
    await services.running.wait()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not welcome.done()
    service.reason = None
    async with asyncio.timeout(10):
        await welcome
    services.request_stop()
    await running
