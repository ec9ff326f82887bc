"""A scheduler and a frontend's results, called from another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from mimir_rw.model.errors import Internal, RateLimited
from mimir_rw.rpc.contracts.scheduler import CancelledQuery, QueuedQuery
from mimir_rw.rpc.server import RpcServer
from mimir_rw.rpc.stubs.scheduler import (
    QueryResultsClient,
    SchedulerClient,
    register_query_results,
    register_scheduler,
)
from mimir_rw.rpc.transport import CallContext, Message, RpcPeer
from tests.unit.rpc.harness import Ends, until

REQUEST = Message({"kind": "range", "n": [1]}, b"body")
QUERY = QueuedQuery("f-1", "10.0.0.1:9095", "tenant", "trace", 30.0, REQUEST, ("querier-1", "querier-2"))


class Recorder:
    """A `Scheduler` and `QueryResults` that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.left = asyncio.Event()

    async def enqueue(self, query: QueuedQuery) -> str:
        self.told.append(query)
        if query.query_id == "too-many":
            raise RateLimited("too many outstanding requests", error_id="tenant-max-outstanding")
        if query.query_id == "never":
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()
        return "querier-3"

    async def pull(self, querier_id: str, slots: int) -> AsyncIterator[QueuedQuery | CancelledQuery]:
        self.told.append((querier_id, slots))
        try:
            yield QUERY
            yield CancelledQuery("10.0.0.1:9095", "f-1")
            await asyncio.Event().wait()
        finally:
            self.left.set()

    async def finished(self, querier_id: str, frontend_address: str, query_id: str) -> None:
        self.told.append((querier_id, frontend_address, query_id))

    async def leave(self, querier_id: str) -> None:
        self.told.append(querier_id)

    async def deliver(self, query_id: str, answer: Message, querier_id: str) -> None:
        self.told.append((query_id, answer.header, bytes(answer.payload), querier_id))


@asynccontextmanager
async def across(recorder: Recorder) -> AsyncIterator[RpcPeer]:
    def register(server: RpcServer) -> None:
        register_scheduler(server, recorder)
        register_query_results(server, recorder)

    ends = Ends()
    async with ends.server(register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        await peer.connect()
        yield peer


async def test_a_query_is_queued_as_it_is() -> None:
    recorder = Recorder()
    async with across(recorder) as peer:
        client = SchedulerClient(peer, timeout_s=5)
        assert await client.enqueue(QUERY) == "querier-3"
        assert recorder.told == [QUERY]
        refused = QueuedQuery("too-many", "f:1", "t", "", 5.0, Message())
        with pytest.raises(RateLimited) as caught:
            await client.enqueue(refused)
        assert caught.value.error_id == "tenant-max-outstanding"


async def test_cancelling_an_enqueue_reaches_the_scheduler() -> None:
    recorder = Recorder()
    async with across(recorder) as peer:
        client = SchedulerClient(peer, timeout_s=5)
        waiting = asyncio.create_task(client.enqueue(QueuedQuery("never", "f:1", "t", "", 50.0, Message())))
        await until(lambda: bool(recorder.told))
        waiting.cancel()
        await recorder.left.wait()
        await asyncio.wait([waiting])


async def test_a_pull_gives_queries_and_cancellations_and_is_closed_by_leaving() -> None:
    recorder = Recorder()
    async with across(recorder) as peer:
        client = SchedulerClient(peer, timeout_s=5)
        async with aclosing(client.pull("querier-1", 4)) as items:
            assert await anext(items) == QUERY
            assert await anext(items) == CancelledQuery("10.0.0.1:9095", "f-1")
        await recorder.left.wait()
        await client.finished("querier-1", "10.0.0.1:9095", "f-1")
        await client.leave("querier-1")
        assert recorder.told == [("querier-1", 4), ("querier-1", "10.0.0.1:9095", "f-1"), "querier-1"]


async def test_an_answer_is_delivered() -> None:
    recorder = Recorder()
    async with across(recorder) as peer:
        await QueryResultsClient(peer, timeout_s=5).deliver("f-1", Message({"a": 1}, bytes(100_000)), "q")
        assert recorder.told == [("f-1", {"a": 1}, bytes(100_000), "q")]


async def test_a_process_that_does_not_say_who_failed_a_query_is_understood() -> None:
    recorder = Recorder()
    header = {"query": "f-1", "frontend": "f:1", "header": {}}
    async with across(recorder) as peer:
        await peer.call("scheduler.enqueue", Message(header), tenant="t", timeout_s=5)
        await peer.call("frontend.deliver", Message({"query": "f-1", "header": {}}), timeout_s=5)
    assert recorder.told[0].avoid == ()
    assert recorder.told[1] == ("f-1", {}, b"", "")


async def test_a_scheduler_that_does_not_say_who_had_a_query_is_understood() -> None:
    async def enqueue(context: CallContext, message: Message) -> Message:
        return Message()

    ends = Ends()
    async with ends.server(lambda server: server.unary("scheduler.enqueue", enqueue)) as server, ends.pool() as pool:
        assert await SchedulerClient(pool.peer(f"127.0.0.1:{server.port}"), timeout_s=5).enqueue(QUERY) == ""


@pytest.mark.parametrize("header", [{}, {"querier": 1, "frontend": "f", "query": "q"}, {"querier": None}])
async def test_a_header_of_another_shape_is_the_callers_process_fault(header: dict[str, object]) -> None:
    async with across(Recorder()) as peer:
        with pytest.raises(Internal, match="not as it should be"):
            await peer.call("scheduler.finished", Message(header), timeout_s=5)
