"""Asks the others what a hand-over needs to know, all of a kind at once; what they say is judged in answers.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from mimir_rw.components.ingester.hand_over.answers import (
    Reply,
    distributors,
    distributors_waiting,
    index_waiting,
    queriers,
    queriers_waiting,
    store_gateways,
    store_gateways_waiting,
    unanswered,
)
from mimir_rw.components.ingester.hand_over.core import Answered, Indexed, TenantBlocks, Waiting
from mimir_rw.kit.clock import Clock
from mimir_rw.model.errors import MimirError, NotFound, Unavailable
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.view import RingView
from mimir_rw.rpc.contracts.hand_over import (
    TENANTS_ASKED_MAX,
    BlockLoader,
    BlocksAsked,
    BlocksServed,
    IndexWriter,
    RecordFollower,
    WritePlanner,
)

ASKED_AT_ONCE = 32
REWRITES_AT_ONCE = 4

A = TypeVar("A")
Q = TypeVar("Q")


class Others(Protocol):
    """The rings of the others and the ways to them."""

    def distributors(self) -> RingView: ...
    def store_gateways(self) -> RingView: ...
    def queriers(self) -> RingView: ...

    def compactor_of(self, tenant: str) -> InstanceDesc:
        """The one that the tenant belongs to. Raises Unavailable when there is none."""
        ...

    def distributor(self, instance: InstanceDesc) -> WritePlanner: ...
    def compactor(self, instance: InstanceDesc) -> IndexWriter: ...
    def store_gateway(self, instance: InstanceDesc) -> BlockLoader: ...
    def querier(self, instance: InstanceDesc) -> RecordFollower: ...


class Asking:
    def __init__(self, *, others: Others, instance_id: str, clock: Clock) -> None:
        self._others = others
        self._instance_id = instance_id
        self._clock = clock

    async def ask_distributors(self) -> Answered:
        others, id = self._others, self._instance_id
        asked = distributors(others.distributors(), now_s=self._now_s())
        replies = await _replies(asked, lambda each: others.distributor(each).sees_read_only(id))
        return Answered(distributors_waiting(replies))

    async def ask_compactors(self, blocks: Sequence[TenantBlocks]) -> Indexed:
        """Several tenants at once; an index counts once it has all blocks of its tenant."""
        room = asyncio.Semaphore(REWRITES_AT_ONCE)

        async def ask(tenant: TenantBlocks) -> int | Waiting:
            async with room:
                return await self._index(tenant)

        answers = await asyncio.gather(*(ask(tenant) for tenant in blocks))
        versions = {t.tenant: a for t, a in zip(blocks, answers, strict=True) if isinstance(a, int)}
        waiting = dict.fromkeys(answer for answer in answers if isinstance(answer, Waiting))
        return Indexed(versions, tuple(waiting))

    async def _index(self, tenant: TenantBlocks) -> int | Waiting:
        try:
            compactor = self._others.compactor_of(tenant.tenant)
        except Unavailable as error:
            return Waiting("compactors", str(error))
        try:
            found = await self._others.compactor(compactor).rewrite_index(tenant.tenant, tenant.blocks)
        except NotFound:
            return 0  # its samples are not to be found any more
        except MimirError as error:
            return unanswered("compactor", compactor, str(error))
        return index_waiting(tenant, compactor, found.missing) if found.missing else found.version

    async def ask_store_gateways(self, asked: Sequence[BlocksAsked]) -> Answered:
        others = self._others
        whom = store_gateways(others.store_gateways(), now_s=self._now_s())
        replies = await _replies(whom, lambda each: _load(others.store_gateway(each), asked))
        return Answered(store_gateways_waiting(asked, replies))

    async def ask_queriers(self, name: str, updated_ms: int) -> Answered:
        others = self._others
        whom = queriers(others.queriers())
        replies = await _replies(whom, lambda each: others.querier(each).confirm_record(name, updated_ms))
        return Answered(queriers_waiting(replies))

    def _now_s(self) -> int:
        return self._clock.now_ms() // 1000


async def _load(store_gateway: BlockLoader, asked: Sequence[BlocksAsked]) -> Sequence[BlocksServed]:
    """In questions of as many tenants as one may have."""
    answers: list[BlocksServed] = []
    for at in range(0, len(asked), TENANTS_ASKED_MAX):
        answers += await store_gateway.load_blocks(asked[at : at + TENANTS_ASKED_MAX])
    return answers


async def _replies(whom: Sequence[InstanceDesc], ask: Callable[[InstanceDesc], Awaitable[A]]) -> list[Reply[A]]:
    room = asyncio.Semaphore(ASKED_AT_ONCE)

    async def reply(instance: InstanceDesc) -> Reply[A]:
        async with room:
            try:
                return Reply(instance, await ask(instance))
            except MimirError as error:
                return Reply(instance, str(error))

    return list(await asyncio.gather(*(reply(instance) for instance in whom)))
