"""One suite over a query-scheduler in this process and over one that frontend and querier reach across the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from mimir_rw.components.query_scheduler.service import QuerySchedulerService
from mimir_rw.model.errors import RateLimited, Unavailable
from mimir_rw.rpc.contracts.scheduler import CancelledQuery, QueuedQuery, Scheduler
from mimir_rw.rpc.pool import RpcPools
from mimir_rw.rpc.stubs.scheduler import SchedulerClient, register_scheduler
from mimir_rw.rpc.transport import Message
from tests.unit.components.query_path import Parts
from tests.unit.rpc.harness import CLIENT_ID, Ends, running


@dataclass
class Sides:
    """The scheduler as its frontend and its querier see it."""

    frontend: Scheduler
    querier: Scheduler
    service: QuerySchedulerService


Opener = Callable[[QuerySchedulerService], AbstractAsyncContextManager[Sides]]


@asynccontextmanager
async def in_process(service: QuerySchedulerService) -> AsyncIterator[Sides]:
    async with running(service):
        yield Sides(service, service, service)


@asynccontextmanager
async def across(service: QuerySchedulerService) -> AsyncIterator[Sides]:
    ends = Ends()
    async with ends.server(lambda server: register_scheduler(server, service)) as server, running(service):
        other = replace(CLIENT_ID, instance="querier-1")
        async with ends.pool() as frontends, ends.pool(identity=other) as queriers:

            def client(pool: RpcPools) -> SchedulerClient:
                return SchedulerClient(pool.peer(f"127.0.0.1:{server.port}"), timeout_s=5)

            yield Sides(client(frontends), client(queriers), service)


@pytest.fixture(params=[in_process, across], ids=["in process", "across the wire"])
def opened(request: pytest.FixtureRequest) -> Opener:
    opener: Opener = request.param
    return opener


def query(name: str, tenant: str = "t") -> QueuedQuery:
    return QueuedQuery(name, "frontend:9095", tenant, "trace", 60.0, Message({"kind": name}, b"body"))


async def test_a_query_goes_from_frontend_to_querier_and_ends_when_it_is_finished(opened: Opener) -> None:
    async with opened(Parts().scheduler()) as sides, aclosing(sides.querier.pull("q", 1)) as items:
        queued = asyncio.create_task(sides.frontend.enqueue(query("a")))
        item = await anext(items)
        assert isinstance(item, QueuedQuery)
        assert (item.query_id, item.frontend_address, item.tenant, item.trace_id) == (
            "a",
            "frontend:9095",
            "t",
            "trace",
        )
        assert (item.request.header, bytes(item.request.payload)) == ({"kind": "a"}, b"body")
        assert 55 < item.timeout_s <= 60
        assert not queued.done()
        await sides.querier.finished("q", "frontend:9095", "a")
        assert await asyncio.wait_for(queued, 5) == "q"


async def test_no_more_than_its_slots_are_given_to_a_querier(opened: Opener) -> None:
    async with opened(Parts().scheduler()) as sides, aclosing(sides.querier.pull("q", 2)) as items:
        queued = [asyncio.create_task(sides.frontend.enqueue(query(name))) for name in "abc"]
        first = {(await anext(items)).query_id, (await anext(items)).query_id}
        third = asyncio.create_task(anext(items))
        await asyncio.sleep(0.02)
        assert not third.done()
        await sides.querier.finished("q", "frontend:9095", sorted(first)[0])
        assert {(await third).query_id, *first} == {"a", "b", "c"}
        for task in queued:
            task.cancel()
        await asyncio.wait(queued)


async def test_a_query_that_a_querier_failed_goes_to_another(opened: Opener) -> None:
    async with (
        opened(Parts().scheduler()) as sides,
        aclosing(sides.querier.pull("p", 20)) as failing,
        aclosing(sides.querier.pull("q", 1)) as items,
    ):
        first = asyncio.create_task(anext(failing))
        taken = asyncio.create_task(anext(items))
        await asyncio.sleep(0.02)
        queued = asyncio.create_task(sides.frontend.enqueue(replace(query("a"), avoid=("p",))))
        assert (await asyncio.wait_for(taken, 5)).query_id == "a"
        assert not first.done()
        for task in (first, queued):
            task.cancel()
        await asyncio.wait([first, queued])


async def test_a_frontend_that_leaves_calls_its_query_back(opened: Opener) -> None:
    async with opened(Parts().scheduler()) as sides, aclosing(sides.querier.pull("q", 1)) as items:
        queued = asyncio.create_task(sides.frontend.enqueue(query("a")))
        await anext(items)
        queued.cancel()
        assert await anext(items) == CancelledQuery("frontend:9095", "a")


async def test_a_querier_that_leaves_ends_the_wait(opened: Opener) -> None:
    async with opened(Parts().scheduler()) as sides:
        async with aclosing(sides.querier.pull("q", 1)) as items:
            queued = asyncio.create_task(sides.frontend.enqueue(query("a")))
            await anext(items)
        assert await asyncio.wait_for(queued, 5) == "q"


async def test_a_pull_ends_when_the_querier_says_that_it_stops(opened: Opener) -> None:
    async with opened(Parts().scheduler()) as sides, aclosing(sides.querier.pull("q", 1)) as items:
        queued = asyncio.create_task(sides.frontend.enqueue(query("a")))
        await anext(items)
        await sides.querier.leave("q")
        await sides.querier.finished("q", "frontend:9095", "a")
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(items), 5)
        await asyncio.wait_for(queued, 5)


async def test_a_full_queue_refuses(opened: Opener) -> None:
    parts = Parts()
    parts.waiting_max = 1
    async with opened(parts.scheduler()) as sides:
        first = asyncio.create_task(sides.frontend.enqueue(query("a")))
        await asyncio.sleep(0.02)
        with pytest.raises(RateLimited):
            await asyncio.wait_for(sides.frontend.enqueue(query("b")), 5)
        first.cancel()
        await asyncio.wait([first])


async def test_a_scheduler_that_stops_says_so(opened: Opener) -> None:
    async with opened(Parts().scheduler()) as sides:
        await asyncio.sleep(0.02)
        sides.service.request_stop()
        await sides.service.wait_state()
        with pytest.raises(Unavailable):
            await sides.frontend.enqueue(query("a"))
        with pytest.raises(Unavailable):
            await anext(sides.querier.pull("q", 1))
