"""`rpc.contracts.scheduler` across processes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from mimir_rw.kit.trace import tracing
from mimir_rw.rpc.contracts.scheduler import CancelledQuery, QueryResults, QueuedQuery, Scheduler
from mimir_rw.rpc.stubs.fields import Fields, closing, read_fields
from mimir_rw.rpc.transport import CallContext, Message, RpcPeer, RpcRouter

_ENQUEUE = "scheduler.enqueue"
_PULL = "scheduler.pull"
_FINISHED = "scheduler.finished"
_LEAVE = "scheduler.leave"
_DELIVER = "frontend.deliver"
_EMPTY = Message()


class _Query(Fields, frozen=True):
    """Of a query on its way, and (`cancelled`) of one that is called back. On the way to the scheduler what the frame
    says of tenant, trace and time counts, not the first three here."""

    tenant: str = ""
    trace: str = ""
    timeout_s: float = 0.0
    query: str = ""
    frontend: str = ""
    header: dict[str, Any] = msgspec.field(default_factory=dict)
    cancelled: bool = False
    avoid: tuple[str, ...] = ()


class _Enqueued(Fields, frozen=True):
    querier: str = ""


class _Pull(Fields, frozen=True):
    querier: str
    slots: int


class _Finished(Fields, frozen=True):
    querier: str
    frontend: str
    query: str


class _Leave(Fields, frozen=True):
    querier: str


class _Answer(Fields, frozen=True):
    query: str
    header: dict[str, Any] = msgspec.field(default_factory=dict)
    querier: str = ""


class SchedulerClient:
    """A `Scheduler` in another process. timeout_s: for the short calls; `enqueue` takes what its query has left."""

    def __init__(self, peer: RpcPeer, *, timeout_s: float) -> None:
        self._peer = peer
        self._timeout_s = timeout_s

    async def enqueue(self, query: QueuedQuery) -> str:
        """See `Scheduler`."""
        message = _as_message(query)
        with tracing(query.trace_id):
            answer = await self._peer.call(_ENQUEUE, message, tenant=query.tenant, timeout_s=query.timeout_s)
        return read_fields(answer.header, _Enqueued).querier

    async def pull(self, querier_id: str, slots: int) -> AsyncGenerator[QueuedQuery | CancelledQuery, None]:
        """See `Scheduler`."""
        request = Message(_Pull(querier_id, slots).as_header())
        messages = closing(self._peer.stream(_PULL, request, timeout_s=0))
        async with contextlib.aclosing(messages):
            async for message in messages:
                yield _pulled(message)

    async def finished(self, querier_id: str, frontend_address: str, query_id: str) -> None:
        """See `Scheduler`."""
        header = _Finished(querier_id, frontend_address, query_id).as_header()
        await self._peer.call(_FINISHED, Message(header), timeout_s=self._timeout_s)

    async def leave(self, querier_id: str) -> None:
        """See `Scheduler`."""
        await self._peer.call(_LEAVE, Message(_Leave(querier_id).as_header()), timeout_s=self._timeout_s)


def register_scheduler(router: RpcRouter, scheduler: Scheduler) -> None:
    """Answer for a scheduler of this process."""

    async def enqueue(context: CallContext, message: Message) -> Message:
        fields = read_fields(message.header, _Query)
        query = QueuedQuery(
            query_id=fields.query,
            frontend_address=fields.frontend,
            tenant=context.tenant,
            trace_id=context.trace_id,
            timeout_s=context.timeout_s,
            request=Message(fields.header, message.payload),
            avoid=fields.avoid,
        )
        return Message(_Enqueued(await scheduler.enqueue(query)).as_header())

    async def pull(context: CallContext, message: Message) -> AsyncIterator[Message]:
        fields = read_fields(message.header, _Pull)
        async with contextlib.aclosing(scheduler.pull(fields.querier, fields.slots)) as items:
            async for item in items:
                yield _as_message(item)

    async def finished(context: CallContext, message: Message) -> Message:
        fields = read_fields(message.header, _Finished)
        await scheduler.finished(fields.querier, fields.frontend, fields.query)
        return _EMPTY

    async def leave(context: CallContext, message: Message) -> Message:
        await scheduler.leave(read_fields(message.header, _Leave).querier)
        return _EMPTY

    router.unary(_ENQUEUE, enqueue)
    router.stream(_PULL, pull)
    router.unary(_FINISHED, finished)
    router.unary(_LEAVE, leave)


class QueryResultsClient:
    """The `QueryResults` of a query-frontend in another process."""

    def __init__(self, peer: RpcPeer, *, timeout_s: float) -> None:
        self._peer = peer
        self._timeout_s = timeout_s

    async def deliver(self, query_id: str, answer: Message, querier_id: str) -> None:
        """See `QueryResults`."""
        message = Message(_Answer(query_id, dict(answer.header), querier_id).as_header(), answer.payload)
        await self._peer.call(_DELIVER, message, timeout_s=self._timeout_s)


def register_query_results(router: RpcRouter, results: QueryResults) -> None:
    """Answer for a query-frontend of this process."""

    async def deliver(context: CallContext, message: Message) -> Message:
        fields = read_fields(message.header, _Answer)
        await results.deliver(fields.query, Message(fields.header, message.payload), fields.querier)
        return _EMPTY

    router.unary(_DELIVER, deliver)


def _as_message(item: QueuedQuery | CancelledQuery) -> Message:
    if isinstance(item, CancelledQuery):
        return Message(_Query(query=item.query_id, frontend=item.frontend_address, cancelled=True).as_header())
    fields = _Query(
        tenant=item.tenant,
        trace=item.trace_id,
        timeout_s=item.timeout_s,
        query=item.query_id,
        frontend=item.frontend_address,
        header=dict(item.request.header),
        avoid=item.avoid,
    )
    return Message(fields.as_header(), item.request.payload)


def _pulled(message: Message) -> QueuedQuery | CancelledQuery:
    fields = read_fields(message.header, _Query)
    if fields.cancelled:
        return CancelledQuery(fields.frontend, fields.query)
    return QueuedQuery(
        query_id=fields.query,
        frontend_address=fields.frontend,
        tenant=fields.tenant,
        trace_id=fields.trace,
        timeout_s=fields.timeout_s,
        request=Message(fields.header, message.payload),
        avoid=fields.avoid,
    )
