"""One suite over the questions of a hand-over asked in this process and across the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from mimir_rw.model.errors import BadRequest, Unavailable
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.rpc.contracts.hand_over import (
    TENANTS_ASKED_MAX,
    BlockLoader,
    BlocksAsked,
    BlocksServed,
    IndexWriter,
    ReadOnlySeen,
    RecordFollower,
    RecordKnown,
    WritePlanner,
    WrittenIndex,
)
from mimir_rw.rpc.stubs.hand_over import (
    BlockLoaderClient,
    IndexWriterClient,
    RecordFollowerClient,
    WritePlannerClient,
    register_block_loader,
    register_index_writer,
    register_record_follower,
    register_write_planner,
)
from tests.unit.rpc.harness import Ends

BLOCKS = ("01EJ0000000000000000000001", "01EJ0000000000000000000002")


@dataclass
class Everybody:
    """All four, with answers to give; `asked` is what came."""

    answer: object = None
    asked: list[object] = field(default_factory=list)

    async def _next(self, *question: object) -> object:
        self.asked.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def sees_read_only(self, instance_id: str) -> ReadOnlySeen:
        found = await self._next(instance_id)
        assert isinstance(found, ReadOnlySeen)
        return found

    async def rewrite_index(self, tenant: str, blocks: Sequence[str]) -> WrittenIndex:
        found = await self._next(tenant, tuple(blocks))
        assert isinstance(found, WrittenIndex)
        return found

    async def load_blocks(self, asked: Sequence[BlocksAsked]) -> Sequence[BlocksServed]:
        found = await self._next(list(asked))
        assert isinstance(found, list)
        return found

    async def confirm_record(self, name: str, updated_ms: int) -> RecordKnown:
        found = await self._next(name, updated_ms)
        assert isinstance(found, RecordKnown)
        return found


@dataclass
class Sides:
    distributor: WritePlanner
    compactor: IndexWriter
    store_gateway: BlockLoader
    querier: RecordFollower


Opener = Callable[[Everybody], AbstractAsyncContextManager[Sides]]


@asynccontextmanager
async def in_process(answering: Everybody) -> AsyncIterator[Sides]:
    yield Sides(answering, answering, answering, answering)


@asynccontextmanager
async def across(answering: Everybody) -> AsyncIterator[Sides]:
    ends = Ends()

    def register(router: object) -> None:
        register_write_planner(router, answering)  # type: ignore[arg-type]
        register_index_writer(router, answering)  # type: ignore[arg-type]
        register_block_loader(router, answering)  # type: ignore[arg-type]
        register_record_follower(router, answering)  # type: ignore[arg-type]

    async with ends.server(register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        yield Sides(
            WritePlannerClient(peer, timeout_s=5),
            IndexWriterClient(peer, timeout_s=5),
            BlockLoaderClient(peer, timeout_s=5),
            RecordFollowerClient(peer, timeout_s=5),
        )


@pytest.fixture(params=[in_process, across], ids=["in process", "across the wire"])
def opened(request: pytest.FixtureRequest) -> Opener:
    opener: Opener = request.param
    return opener


@pytest.mark.parametrize("answer", [ReadOnlySeen(seen=True), ReadOnlySeen(seen=True, under_way=3), ReadOnlySeen(False)])
async def test_a_distributor_says_what_it_sees(opened: Opener, answer: ReadOnlySeen) -> None:
    everybody = Everybody(answer)
    async with opened(everybody) as sides:
        assert await sides.distributor.sees_read_only("write-a-0") == answer
    assert everybody.asked == [("write-a-0",)]


@pytest.mark.parametrize("answer", [WrittenIndex(7), WrittenIndex(1 << 40, BLOCKS)])
async def test_a_compactor_says_which_index_it_wrote(opened: Opener, answer: WrittenIndex) -> None:
    everybody = Everybody(answer)
    async with opened(everybody) as sides:
        assert await sides.compactor.rewrite_index("tenant", BLOCKS) == answer
    assert everybody.asked == [("tenant", BLOCKS)]


async def test_a_store_gateway_says_what_it_serves(opened: Opener) -> None:
    answer = [BlocksServed("t", 7, 1, BLOCKS[:1], BLOCKS[1:]), BlocksServed("u", 0)]
    everybody = Everybody(answer)
    asked = [
        BlocksAsked(StoredRange("t", -5, 5, 7, 2), BLOCKS),
        BlocksAsked(StoredRange("u", 0, 1 << 42, 9, 0), ()),
    ]
    async with opened(everybody) as sides:
        assert await sides.store_gateway.load_blocks(asked) == answer
    assert everybody.asked == [(asked,)]


async def test_a_querier_says_whether_it_knows_a_record(opened: Opener) -> None:
    everybody = Everybody(RecordKnown(True, ("t",)))
    async with opened(everybody) as sides:
        assert await sides.querier.confirm_record("write-a-0/5", 17) == RecordKnown(True, ("t",))
    assert everybody.asked == [("write-a-0/5", 17)]


async def test_who_cannot_answer_says_why(opened: Opener) -> None:
    async with opened(Everybody(Unavailable("tenant t belongs to compactor-2"))) as sides:
        with pytest.raises(Unavailable, match="belongs to compactor-2"):
            await sides.compactor.rewrite_index("t", ())
        with pytest.raises(Unavailable):
            await sides.distributor.sees_read_only("x")


async def test_a_question_about_too_many_tenants_is_refused_on_the_wire() -> None:
    asked = [BlocksAsked(StoredRange(str(n), 0, 1, 1), ()) for n in range(TENANTS_ASKED_MAX + 1)]
    async with across(Everybody([])) as sides:
        with pytest.raises(BadRequest, match="257 tenants"):
            await sides.store_gateway.load_blocks(asked)
