import asyncio

import pytest

from mimir_rw.testing.clock import SimClock
from mimir_rw.testing.loop import SimStuck
from mimir_rw.testing.process import current_process
from mimir_rw.testing.simulation import Simulation


@pytest.fixture
def sim():
    with Simulation(1) as sim:
        yield sim


def test_time_jumps_to_the_next_timer(sim):
    async def script():
        begin = sim.loop.time()
        await asyncio.sleep(3600)
        assert sim.loop.time() == begin + 3600
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await sim.loop.create_future()
        return sim.loop.time() - begin

    assert sim.run(script()) == 3605


def test_timers_of_one_moment_run_in_the_order_in_which_they_were_set(sim):
    order = []

    async def script():
        at = sim.loop.time() + 1
        for n in range(10):
            sim.loop.call_at(at, order.append, n)
        await asyncio.sleep(2)

    sim.run(script())
    assert order == list(range(10))


def test_waiting_for_nothing_is_an_error(sim):
    async def script():
        await sim.loop.create_future()

    with pytest.raises(SimStuck, match="nothing is left"):
        sim.run(script())


def test_a_loop_that_spins_is_an_error_that_names_it(sim, monkeypatch):
    monkeypatch.setattr("mimir_rw.testing.loop.STEPS_PER_INSTANT_MAX", 1000)

    async def spin():
        for _ in range(100_000):
            await asyncio.sleep(0)

    with pytest.raises(SimStuck, match="spin"):
        sim.run(spin())


def test_an_exception_that_nobody_takes_is_a_complaint(sim):
    async def script():
        sim.loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    sim.run(script())
    assert "ZeroDivisionError" in sim.loop.complaints[0]


def test_a_frozen_process_goes_on_where_it_was(sim):
    process = sim.network.spawn(sim.network.add_host("a"))
    ticks = []

    async def tick():
        while True:
            await asyncio.sleep(1)
            ticks.append(sim.loop.time())

    async def script():
        process.run(tick())
        await asyncio.sleep(2.5)
        process.freeze()
        await asyncio.sleep(10)
        assert len(ticks) == 2
        process.thaw()
        await asyncio.sleep(2.1)

    sim.run(script())
    assert [tick - ticks[0] for tick in ticks] == [0, 1, 11.5, 12.5, 13.5]


def test_a_killed_process_runs_no_code_any_more(sim):
    host = sim.network.add_host("a")
    process = sim.network.spawn(host)
    released, seen = [], []
    process.on_death.append(lambda: released.append(True))

    async def program():
        assert current_process() is process
        try:
            await asyncio.create_task(asyncio.sleep(5))
        finally:
            seen.append("finally")

    async def script():
        process.run(program())
        await asyncio.sleep(1)
        process.kill()
        await asyncio.sleep(10)
        assert seen == []
        assert released == [True]

    sim.run(script())


def test_a_host_has_a_clock_of_its_own(sim):
    host = sim.network.add_host("a")
    clock = SimClock(loop=sim.loop, host=host)
    host.skew_ms = -2500
    assert sim.clock.now_ms() - clock.now_ms() == 2500
    assert clock.monotonic() == sim.loop.time()


def test_generators_are_one_for_each_name(sim):
    with Simulation(1) as same, Simulation(2) as other:
        assert sim.rng("a").random() == same.rng("a").random() != same.rng("b").random()
        assert sim.rng("a").random() != other.rng("a").random()
