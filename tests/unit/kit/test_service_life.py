import asyncio

import pytest

from mimir_rw.kit.service import Service, ServiceFailed, ServiceSet, ServiceState


class Recorder(Service):
    def __init__(self, name, log, *, fail_start=False, fail_run=False, hang_start=False):
        super().__init__(name)
        self.log = log
        self.fail_start = fail_start
        self.hang_start = hang_start
        self.fail_run = asyncio.Event() if fail_run else None

    async def start_up(self):
        self.log.append(f"start {self.name}")
        if self.fail_start:
            raise RuntimeError("no luck")
        if self.hang_start:
            await asyncio.Event().wait()
        if self.fail_run is not None:
            self.tasks.spawn(self._run(), name="run")

    async def _run(self):
        await self.fail_run.wait()
        raise RuntimeError("broke")

    async def shut_down(self):
        self.log.append(f"stop {self.name}")


GRAPH = {"b": ["a"], "c": ["b", "missing"]}


async def test_starts_in_dependency_order_and_stops_in_reverse():
    log = []
    services = ServiceSet([Recorder(n, log) for n in ("c", "b", "a")], GRAPH)
    run = asyncio.ensure_future(services.run())
    await services.running.wait()
    assert services.not_ready() is None
    services.request_stop()
    await run
    assert log == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]
    assert {s.state for s in services.services} == {ServiceState.TERMINATED}


async def test_a_failed_start_takes_the_rest_down():
    log = []
    services = ServiceSet([Recorder("a", log), Recorder("b", log, fail_start=True), Recorder("c", log)], GRAPH)
    with pytest.raises(ServiceFailed, match="b: no luck"):
        await services.run()
    assert log == ["start a", "start b", "stop b", "stop a"]
    assert [s.state.value for s in services.services] == ["Terminated", "Failed", "Terminated"]


async def test_a_failing_task_takes_the_process_down_in_order():
    log = []
    failing = Recorder("b", log, fail_run=True)
    services = ServiceSet([Recorder("a", log), failing, Recorder("c", log)], GRAPH)
    run = asyncio.ensure_future(services.run())
    await services.running.wait()
    failing.fail_run.set()
    with pytest.raises(ServiceFailed, match="b: broke"):
        await run
    assert log.index("stop a") > log.index("stop c")
    assert log.index("stop a") > log.index("stop b")


async def test_stop_while_one_is_starting_does_not_hang():
    log = []
    services = ServiceSet([Recorder("a", log), Recorder("b", log, hang_start=True), Recorder("c", log)], GRAPH)
    run = asyncio.ensure_future(services.run())
    await services.services[1].wait_state(ServiceState.STARTING)
    assert "b: Starting" in services.not_ready()
    services.request_stop()
    await asyncio.wait_for(run, 5)
    assert log == ["start a", "start b", "stop b", "stop a"]


async def test_stop_before_run_starts_nothing():
    log = []
    services = ServiceSet([Recorder("a", log)], {})
    services.request_stop()
    await services.run()
    assert log == []


class Namesake(Recorder):
    """Has events of its own under names that a base may well use."""

    def __init__(self, name, log):
        super().__init__(name, log)
        self._changed = asyncio.Event()
        self._changed.set()
        self._stop = asyncio.Event()


async def test_a_service_may_have_an_event_of_any_name():
    log = []
    services = ServiceSet([Recorder("a", log), Namesake("b", log), Recorder("c", log)], GRAPH)
    run = asyncio.ensure_future(services.run())
    await services.running.wait()
    services.request_stop()
    await run
    assert log == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]
