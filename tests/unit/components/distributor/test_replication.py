"""Batches over rings of ingesters in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from mimir_rw._native import WriteBatch
from mimir_rw.components.distributor.core import written
from mimir_rw.components.distributor.replication import RingStore
from mimir_rw.components.distributor.sender import LocalSender, Sender
from mimir_rw.components.distributor.senders import Senders
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import BadRequest, MimirError, Overloaded, Unavailable
from mimir_rw.ring.desc import InstanceDesc, InstanceState
from mimir_rw.ring.operations import WRITE_NO_EXTEND as WRITE
from mimir_rw.ring.settings import RingSettings
from mimir_rw.rpc.contracts.distributor import Written
from mimir_rw.rpc.contracts.hand_over import ReadOnlySeen
from mimir_rw.rpc.contracts.ingester import PushPart, PushResult, Rejection
from tests.unit.components.distributor.ingesters import FakeRing, instance
from tests.unit.tsdb.batches import KEY, START_MS, batch, up


class LoopClock:
    def now_ms(self) -> int:
        return START_MS

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Answering:
    """An ingester that keeps parts, and answers as it is told once it is let."""

    def __init__(self) -> None:
        self.parts: list[PushPart] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.answer: Callable[[PushPart], PushResult | MimirError] = lambda part: PushResult(part.batch.sample_count)

    async def push(self, tenant: str, batch: WriteBatch) -> PushResult:
        result = (await self.push_group([PushPart(tenant, batch)]))[0]
        if isinstance(result, MimirError):
            raise result
        return result

    async def push_group(self, parts: Sequence[PushPart]) -> list[PushResult | MimirError]:
        await self.gate.wait()
        self.parts += parts
        return [self.answer(part) for part in parts]

    def names(self) -> list[str]:
        return [dict(p.batch.row_labels(i))["instance"] for p in self.parts for i in range(p.batch.series_count)]


class Bed:
    def __init__(self, ring: FakeRing, *, local: str, timeout_s: float) -> None:
        self.ring = ring
        self.ingesters: dict[str, Answering] = {each.id: Answering() for each in ring.view().instances}
        self.senders: list[str] = []
        self.tasks = TaskSupervisor()
        self.store = RingStore(
            ring=ring,
            senders=lambda tasks: Senders(make=lambda to: self._sender(to, tasks)),
            local=(local, self.ingesters[local]) if local else None,  # type: ignore[arg-type]
            clock=LoopClock(),
            timeout_s=timeout_s,
        )
        self.store.start(self.tasks)

    def _sender(self, to: InstanceDesc, tasks: TaskSupervisor) -> Sender:
        self.senders.append(to.id)
        return LocalSender(ingester=self.ingesters[to.id], tasks=tasks)  # type: ignore[arg-type]

    async def push(self, what: WriteBatch, shard_size: int = 0) -> Sequence[Rejection]:
        return (await self.store.store("t", what, shard_size=shard_size, key=KEY)).rejections

    def holders(self) -> dict[str, set[str]]:
        """By series, the ingesters that were given it."""
        held: dict[str, set[str]] = {}
        for id, ingester in self.ingesters.items():
            for name in ingester.names():
                held.setdefault(name, set()).add(id)
        return held


THREE = [instance("a-0", "a"), instance("b-0", "b"), instance("c-0", "c")]
SIX = [instance(f"{zone}-{n}", zone) for zone in "abc" for n in range(2)]


@asynccontextmanager
async def bed(
    instances: Sequence[InstanceDesc] = SIX,
    *,
    factor: int = 3,
    zones: bool = True,
    local: str = "",
    timeout_s: float = 5,
) -> AsyncIterator[Bed]:
    made = Bed(
        FakeRing(RingSettings(replication_factor=factor, zone_awareness=zones), instances),
        local=local,
        timeout_s=timeout_s,
    )
    yield made
    await made.store.drain()
    await made.tasks.cancel()


def many(count: int = 50) -> WriteBatch:
    return batch(*(up(str(n), (START_MS, 1.0)) for n in range(count)))


def refusing(*names: str) -> Callable[[PushPart], PushResult | MimirError]:
    def answer(part: PushPart) -> PushResult:
        rows = [i for i in range(part.batch.series_count) if dict(part.batch.row_labels(i))["instance"] in names]
        rejection = Rejection("max-series-per-user", len(rows), "full", np.array(rows, dtype=np.uint32))
        return PushResult(part.batch.sample_count - len(rows), (rejection,) if rows else ())

    return answer


def failing(error: MimirError) -> Callable[[PushPart], PushResult | MimirError]:
    return lambda part: error


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_each_series_goes_to_one_ingester_of_each_zone_by_its_token() -> None:
    async with bed() as b:
        what = many()
        assert list(await b.push(what)) == []
        await settle()
        for row, token in enumerate(what.tokens().tolist()):
            name = dict(what.row_labels(row))["instance"]
            placed = b.ring.view().replication_set(token, WRITE, now_s=0)
            assert b.holders()[name] == set(placed.ids)
            assert sorted(placed.zones()) == ["a", "b", "c"]


async def test_where_all_hold_all_they_are_given_the_batch_itself() -> None:
    async with bed(THREE) as b:
        what = many()
        await b.push(what)
        await settle()
        assert all(part.batch is what for each in b.ingesters.values() for part in each.parts)


async def test_one_zone_may_fail_or_be_slow_and_gets_it_later() -> None:
    async with bed(timeout_s=0.2) as b:
        for id in ("a-0", "a-1"):
            b.ingesters[id].answer = failing(Unavailable("gone"))
        assert list(await b.push(many())) == []
        for id in ("a-0", "a-1"):
            b.ingesters[id].gate.clear()
        assert list(await b.push(many())) == []
        for id in ("a-0", "a-1"):
            assert b.ingesters[id].names()
            b.ingesters[id].gate.set()


@pytest.mark.parametrize("error", [Unavailable("gone"), Overloaded("too much")])
async def test_failures_in_two_zones_are_the_answer(error: MimirError) -> None:
    async with bed() as b:
        for id in ("a-0", "b-0", "b-1"):
            b.ingesters[id].answer = failing(error)
        with pytest.raises(type(error)):
            await b.push(many())


async def test_an_error_of_the_tenants_own_needs_two_zones_too() -> None:
    async with bed() as b:
        b.ingesters["a-0"].answer = failing(BadRequest("bad"))
        assert list(await b.push(many())) == []
        b.ingesters["b-0"].answer = b.ingesters["b-1"].answer = failing(BadRequest("bad"))
        with pytest.raises(BadRequest):
            await b.push(many())


async def test_rows_refused_by_a_quorum_are_counted_and_the_others_stored() -> None:
    async with bed() as b:
        for each in b.ingesters.values():
            each.answer = refusing("3", "7", "31")
        refused = await b.push(many())
        assert {r.error_id for r in refused} == {"max-series-per-user"}
        assert sum(r.count for r in refused) == 3


def refusing_samples(part: PushPart) -> PushResult:
    """Of each row one sample for being late and one for being another at its time; of row 7 only the second."""
    rows = {dict(part.batch.row_labels(i))["instance"]: i for i in range(part.batch.series_count)}
    late = np.array(sorted(row for name, row in rows.items() if name != "7"), dtype=np.uint32)
    other = np.arange(part.batch.series_count, dtype=np.uint32)
    rejections = (
        Rejection("sample-out-of-order", len(late), "late", late),
        Rejection("sample-duplicate-timestamp", len(other), "other", other),
    )
    return PushResult(0, tuple(r for r in rejections if r.count))


async def test_a_row_refused_for_two_reasons_counts_for_both() -> None:
    times = [(START_MS + i, float(i)) for i in range(3)]
    what = batch(*(up(str(n), *times) for n in range(10)))
    for instances in (THREE, SIX):
        async with bed(instances) as b:
            for each in b.ingesters.values():
                each.answer = refusing_samples
            refused = await b.push(what)
            counts: dict[str, int] = {}
            for r in refused:
                counts[r.error_id] = counts.get(r.error_id, 0) + r.count
            assert counts == {"sample-out-of-order": 9, "sample-duplicate-timestamp": 10}
            assert written(what, refused, 0) == Written(11, 0, 0)


async def test_metadata_that_a_quorum_has_is_not_refused_with_rows_that_none_has() -> None:
    async with bed(THREE) as b:
        what = batch(*(up(str(n), (START_MS, 1.0)) for n in range(4)), metadata=[(2, "up", "", "")])
        full = Rejection("max-metadata-per-user", 1, "full")
        row = np.array([3], dtype=np.uint32)
        last = Rejection("max-series-per-user", 1, "full", row)
        b.ingesters["c-0"].answer = refusing("3")
        b.ingesters["a-0"].answer = lambda part: PushResult(3, (last, full))
        for id in ("a-0", "b-0"):
            b.ingesters[id].gate.clear()
        pushed = asyncio.ensure_future(b.push(what))
        for id in ("a-0", "b-0"):
            await settle()
            b.ingesters[id].gate.set()
        assert [(r.error_id, r.count) for r in await pushed] == [("max-series-per-user", 1)]


async def test_rows_refused_in_one_zone_only_are_stored() -> None:
    async with bed() as b:
        b.ingesters["a-0"].answer = b.ingesters["a-1"].answer = refusing("3", "7", "31")
        assert list(await b.push(many())) == []


async def test_a_quorum_that_does_not_answer_in_time_is_unavailable() -> None:
    async with bed(timeout_s=0.01) as b:
        for id in ("a-0", "a-1", "b-0", "b-1"):
            b.ingesters[id].gate.clear()
        with pytest.raises(Unavailable, match="remote-timeout"):
            await b.push(many())


async def test_too_few_live_replicas() -> None:
    async with bed([*SIX[:2], *(instance(i.id, i.zone, state=InstanceState.LEAVING) for i in SIX[2:])]) as b:
        with pytest.raises(Unavailable, match="at least 2 live replicas required"):
            await b.push(many())


async def test_an_instance_that_leaves_is_not_replaced() -> None:
    async with bed([instance("a-0", "a", state=InstanceState.LEAVING), *SIX[1:]]) as b:
        await b.push(many())
        await settle()
        assert not b.ingesters["a-0"].parts
        assert min(len(held) for held in b.holders().values()) == 2


async def test_shards_and_read_only_ingesters() -> None:
    async with bed() as b:
        await b.push(many(), shard_size=3)
        await settle()
        assert len({id for held in b.holders().values() for id in held}) == 3
    async with bed([instance("a-0", "a", read_only=True), *SIX[1:]]) as b:
        await b.push(many())
        await settle()
        assert not b.ingesters["a-0"].parts
        assert {len(held) for held in b.holders().values()} == {3}


async def test_the_one_ingester_of_the_process_gets_the_batch_itself() -> None:
    async with bed([instance("here")], factor=1, zones=False, local="here") as b:
        what = many()
        b.ingesters["here"].answer = refusing("3")
        assert [r.count for r in await b.push(what)] == [1]
        assert b.ingesters["here"].parts[0].batch is what
        assert b.senders == []
        b.ring.become([instance("here", state=InstanceState.LEAVING)])
        with pytest.raises(Unavailable):
            await b.push(what)


async def test_metadata_is_stored_in_each_zone_once() -> None:
    async with bed() as b:
        what = batch(
            *(up(str(n), (START_MS, 1.0)) for n in range(20)), metadata=[(1, "up", "h", ""), (1, "x", "h", "")]
        )
        await b.push(what)
        await b.push(batch(metadata=[(1, "up", "h", "")]))
        await settle()
        holders = [id for id, each in b.ingesters.items() for part in each.parts if part.batch.metadata_count]
        assert sorted({id[0] for id in holders}) == ["a", "b", "c"]
        assert len(holders) == 6
        assert {len(held) for held in b.holders().values()} == {3}


async def test_metadata_refused_by_a_quorum() -> None:
    def answer(part: PushPart) -> PushResult:
        return PushResult(0, (Rejection("max-metadata-per-user", 2, "full"),) if part.batch.metadata_count else ())

    async with bed() as b:
        for id in ("a-0", "a-1"):
            b.ingesters[id].answer = answer
        what = batch(up("a", (START_MS, 1.0)), metadata=[(1, "up", "h", ""), (1, "x", "h", "")])
        assert list(await b.push(what)) == []
        for each in b.ingesters.values():
            each.answer = answer
        assert [(r.error_id, r.count) for r in await b.push(what)] == [("max-metadata-per-user", 2)]


async def test_ingesters_that_left_the_ring_are_given_up() -> None:
    async with bed(THREE) as b:
        await b.push(many())
        assert b.senders == ["a-0", "b-0", "c-0"]
        b.ring.become(THREE[:2])
        await b.push(many())
        b.ring.become(THREE)
        await b.push(many())
        assert b.senders == ["a-0", "b-0", "c-0", "c-0"]


async def test_drain_waits_for_what_was_answered_already() -> None:
    async with bed(THREE) as b:
        b.ingesters["c-0"].gate.clear()
        await b.push(many(3))
        draining = asyncio.ensure_future(b.store.drain())
        await settle()
        assert not draining.done()
        b.ingesters["c-0"].gate.set()
        await draining
        assert len(b.ingesters["c-0"].names()) == 3
        b.store.start(b.tasks)


def read_only(*ids: str) -> list[InstanceDesc]:
    return [replace(each, read_only=each.id in ids, read_only_updated_s=START_MS // 1000) for each in SIX]


async def test_a_read_only_ingester_is_seen_and_pushes_planned_before_are_counted_until_they_end() -> None:
    async with bed() as b:
        leaving = b.ingesters["a-0"]
        leaving.gate.clear()
        before = asyncio.create_task(b.push(many()))
        await settle()
        assert b.store.sees_read_only("a-0") == ReadOnlySeen(False, 1)
        b.ring.become(read_only("a-0"))
        assert b.store.sees_read_only("a-0") == ReadOnlySeen(True, 1)
        assert list(await before) == []  # the two other zones are a quorum
        given = len(leaving.parts)
        await b.push(many())
        assert b.store.sees_read_only("a-0") == ReadOnlySeen(True, 1)
        leaving.gate.set()
        await settle()
        assert b.store.sees_read_only("a-0") == ReadOnlySeen(True, 0)
        assert len(leaving.parts) == given + 1
        await b.push(many())
        assert len(leaving.parts) == given + 1
        assert b.store.sees_read_only("a-1") == ReadOnlySeen(False, 0)


async def test_an_ingester_that_is_not_in_the_ring_is_as_good_as_read_only() -> None:
    async with bed(THREE) as b:
        assert b.store.sees_read_only("d-0") == ReadOnlySeen(True, 0)


async def test_a_push_that_goes_straight_to_the_only_ingester_is_counted_too() -> None:
    async with bed([instance("a-0", "a")], factor=1, zones=False, local="a-0") as b:
        b.ingesters["a-0"].gate.clear()
        pushing = asyncio.create_task(b.push(many()))
        await settle()
        assert b.store.sees_read_only("a-0") == ReadOnlySeen(False, 1)
        b.ingesters["a-0"].gate.set()
        await pushing
        assert b.store.sees_read_only("a-0") == ReadOnlySeen(False, 0)
