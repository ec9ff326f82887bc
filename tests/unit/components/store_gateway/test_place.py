import asyncio

import pytest

from mimir_rw.components.store_gateway.place import RingPlace
from mimir_rw.kit.service import ServiceState
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, InstanceState, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import ring_view
from mimir_rw.testing.clock import SimClock
from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.trace import Trace


class FakeLifecycler:
    def __init__(self, *, failures=0, ends=ServiceState.RUNNING):
        self.unregister_on_shutdown = True
        self.states = []
        self.failures = failures
        self.ends = ends

    async def wait_state(self, *states):
        await asyncio.sleep(1)
        return self.ends

    async def change_state(self, state):
        if self.failures:
            self.failures -= 1
            raise Unavailable("no store")
        self.states.append(state)


def view_of(*ids):
    instances = [InstanceDesc(id=id, tokens=(number,), versions={RPC_VERSION_KEY: 1}) for number, id in enumerate(ids)]
    return ring_view(RingDesc(instances), RingSettings())


@pytest.fixture
def loop():
    made = SimLoop(trace=Trace())
    yield made
    made.close()


def come(loop, lifecycler, *, views=lambda now: view_of("a"), stable_s=0.0):
    """Loop times of the sync and of the end."""
    times = []
    began = loop.time()

    async def sync():
        times.append(loop.time() - began)

    place = RingPlace(
        lifecycler=lambda: lifecycler,
        view=lambda: views(loop.time() - began),
        stable_s=stable_s,
        stable_wait_s=60,
        unregisters_by_default=True,
        clock=SimClock(loop=loop),
    )
    loop.run_until_complete(place.come(sync))
    return [*times, loop.time() - began]


def test_it_is_active_once_it_has_looked_for_its_blocks(loop):
    lifecycler = FakeLifecycler()
    assert come(loop, lifecycler) == [1, 1]
    assert lifecycler.states == [InstanceState.ACTIVE]


def test_a_ring_that_cannot_be_told_is_told_later(loop):
    lifecycler = FakeLifecycler(failures=3)
    assert come(loop, lifecycler) == [1, 4]
    assert lifecycler.states == [InstanceState.ACTIVE]


def test_it_waits_for_a_ring_that_stays_the_same(loop):
    lifecycler = FakeLifecycler()
    one, two, three = view_of("a"), view_of("a", "b"), view_of("a", "b", "c")
    times = come(loop, lifecycler, views=lambda now: one if now < 4 else two if now < 7.5 else three, stable_s=10)
    assert times == [18, 18]


def test_it_waits_for_so_long_only(loop):
    lifecycler = FakeLifecycler()
    assert come(loop, lifecycler, views=lambda now: view_of("a"), stable_s=10) == [61, 61]


def test_a_lifecycler_that_ends_before_is_not_waited_for(loop):
    lifecycler = FakeLifecycler(ends=ServiceState.FAILED)
    assert come(loop, lifecycler) == [1]
    assert lifecycler.states == []
