import asyncio
from contextlib import aclosing

import pytest

from mimir_rw.components.query_scheduler.discovery import schedulers_of
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.desc import InstanceState, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import ring_view
from mimir_rw.rpc.contracts.scheduler import CancelledQuery, QueuedQuery
from mimir_rw.rpc.transport import Message
from tests.unit.components.query_path import Parts, running
from tests.unit.ring.rings import NOW_S, instance


def query(name, tenant="t"):
    return QueuedQuery(name, "f", tenant, "", 60.0, Message({"kind": name}))


async def test_a_query_from_frontend_to_querier_and_back():
    scheduler = Parts().scheduler()
    async with running(scheduler), aclosing(scheduler.pull("q", 1)) as items:
        queued = asyncio.ensure_future(scheduler.enqueue(query("a")))
        item = await anext(items)
        assert (item.query_id, item.request.header) == ("a", {"kind": "a"})
        assert not queued.done()
        await scheduler.finished("q", "f", "a")
        await asyncio.wait_for(queued, 5)


async def test_who_leaves_takes_the_query_along():
    scheduler = Parts().scheduler()
    async with running(scheduler), aclosing(scheduler.pull("q", 1)) as items:
        queued = asyncio.ensure_future(scheduler.enqueue(query("a")))
        await anext(items)
        queued.cancel()
        assert await anext(items) == CancelledQuery("f", "a")


async def test_a_lost_querier_ends_the_wait():
    scheduler = Parts().scheduler()
    async with running(scheduler):
        items = scheduler.pull("q", 1)
        queued = asyncio.ensure_future(scheduler.enqueue(query("a")))
        await anext(items)
        await items.aclose()
        await asyncio.wait_for(queued, 5)


async def test_it_stops_when_what_it_has_is_done():
    scheduler = Parts().scheduler(drain_s=5.0)
    async with aclosing(scheduler.pull("q", 1)) as items:
        async with running(scheduler):
            queued = [asyncio.ensure_future(scheduler.enqueue(query(name))) for name in "ab"]
            assert (await anext(items)).query_id == "a"
            scheduler.request_stop()
            await scheduler.wait_state(scheduler.state.STOPPING)
            with pytest.raises(Unavailable, match="shutting down"):
                await scheduler.enqueue(query("c"))
            await scheduler.finished("q", "f", "a")
            assert (await anext(items)).query_id == "b"
            await scheduler.finished("q", "f", "b")
            await asyncio.wait_for(asyncio.gather(*queued), 5)
        with pytest.raises(StopAsyncIteration):
            await anext(items)


async def test_it_does_not_wait_for_ever():
    scheduler = Parts().scheduler(drain_s=0.01)
    async with aclosing(scheduler.pull("q", 1)) as items:
        async with running(scheduler):
            queued = asyncio.ensure_future(scheduler.enqueue(query("a")))
            await anext(items)
        with pytest.raises(Unavailable, match="shutting down"):
            await queued


async def test_nothing_is_taken_before_it_runs():
    scheduler = Parts().scheduler()
    with pytest.raises(Unavailable, match="not running"):
        await scheduler.enqueue(query("a"))
    with pytest.raises(Unavailable, match="not running"):
        await anext(scheduler.pull("q", 1))


def ring(*members):
    return ring_view(RingDesc(members), RingSettings(heartbeat_timeout_s=60))


def member(name, token, **fields):
    return instance(name, "", [token], **fields)


class TestWhichAreInUse:
    three = tuple(member(name, n * 1000) for n, name in enumerate("xyz"))

    def used(self, view, now_s=NOW_S):
        return [address for address, in_use in schedulers_of(view, 2, now_s) if in_use]

    def test_two_of_three_the_same_for_everybody(self):
        found = schedulers_of(ring(*self.three), 2, NOW_S)
        assert [address for address, _ in found] == ["x:9095", "y:9095", "z:9095"]
        assert sum(in_use for _, in_use in found) == 2
        assert found == schedulers_of(ring(*reversed(self.three)), 2, NOW_S)

    def test_all_without_a_bound(self):
        assert all(in_use for _, in_use in schedulers_of(ring(*self.three), 0, NOW_S))

    def test_another_one_stands_in_for_one_that_is_not_healthy(self):
        first = self.used(ring(*self.three))
        for lost in first:
            left = [m for m in self.three if m.addr != lost]
            stale = [m for m in self.three if m.addr == lost]
            gone = member(stale[0].id, stale[0].tokens[0], timestamp_s=NOW_S - 61)
            assert self.used(ring(*left, gone)) == [m.addr for m in left]
            leaving = member(stale[0].id, stale[0].tokens[0], state=InstanceState.LEAVING)
            assert self.used(ring(*left, leaving)) == [m.addr for m in left]

    def test_none(self):
        assert schedulers_of(ring(), 2, NOW_S) == ()
