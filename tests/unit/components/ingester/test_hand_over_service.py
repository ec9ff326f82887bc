"""The shell of a hand-over against others in memory, some of which freeze; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mimir_rw.components.ingester.hand_over.asking import Asking
from mimir_rw.components.ingester.hand_over.core import (
    Action,
    HandOverCore,
    HandOverSettings,
    Status,
    TenantBlocks,
)
from mimir_rw.components.ingester.hand_over.file import FILE_NAME, Kept, read_kept, write_kept
from mimir_rw.components.ingester.hand_over.service import HandOverService
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.service import ServiceState
from mimir_rw.kv.hand_over import HandOver, HandOvers, Phase
from mimir_rw.model.errors import Conflict, DataDamaged, NotFound, Unavailable
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import RingView, ring_view
from mimir_rw.rpc.contracts.hand_over import (
    BlocksAsked,
    BlocksServed,
    ReadOnlySeen,
    RecordKnown,
    WrittenIndex,
)
from mimir_rw.testing.simulation import Simulation

BLOCKS = (TenantBlocks("t", 5_000, 9_999, ("b1", "b2")),)
SETTINGS = HandOverSettings(linger_s=120, retry_s=1, action_s_max=300)


@dataclass
class Somebody:
    """One of the others. frozen: does not answer; dead: its heartbeat is old as well. It knows what it saw when it was
    last alive."""

    world: World
    id: str
    zone: str = ""
    frozen: bool = False
    dead: bool = False
    deleted: bool = False
    """Of a compactor: the tenant is."""
    knows: HandOvers = field(default_factory=HandOvers)

    def desc(self) -> InstanceDesc:
        age_s = 1000 if self.dead else 0
        stamp = self.world.now_ms() // 1000 - age_s
        return InstanceDesc(
            self.id, f"{self.id}:9095", self.zone, timestamp_s=stamp, tokens=(sum(map(ord, self.id)),),
            versions={RPC_VERSION_KEY: 3},
        )  # fmt: skip

    async def _answer(self, said: str) -> None:
        if self.frozen:
            await asyncio.sleep(5)
            raise Unavailable("no answer in time")
        self.world.log.append(said)

    async def sees_read_only(self, instance_id: str) -> ReadOnlySeen:
        await self._answer("distributor")
        return ReadOnlySeen(self.world.read_only)

    async def rewrite_index(self, tenant: str, blocks: Sequence[str]) -> WrittenIndex:
        await self._answer("compactor")
        if self.deleted:
            raise NotFound("tenant t is being deleted")
        return WrittenIndex(40 + len(self.world.log), tuple(b for b in blocks if b not in self.world.shipped))

    async def load_blocks(self, asked: Sequence[BlocksAsked]) -> Sequence[BlocksServed]:
        await self._answer("store-gateway")
        loaded = self.world.records.value.loaded
        return [
            BlocksServed(
                each.range_.tenant,
                each.range_.index_version,
                served=each.blocks if loaded(each.range_.tenant, self.world.now_ms() // 1000) else (),
            )
            for each in asked
        ]

    async def confirm_record(self, name: str, updated_ms: int) -> RecordKnown:
        await self._answer("querier")
        self.knows = self.world.records.value
        record = self.knows.get(name)
        known = record is not None and record.phase is Phase.SERVING and record.updated_ms >= updated_ms
        return RecordKnown(known)


class Log(list[str]):
    """What was done; `until` returns when something was done for the first time."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}
        self._then: dict[str, Callable[[], None]] = {}

    def then(self, said: str, do: Callable[[], None]) -> None:
        """At the very moment."""
        self._then[said] = do

    def append(self, said: str) -> None:
        super().append(said)
        self._then.pop(said, lambda: None)()
        self._events.setdefault(said, asyncio.Event()).set()

    async def until(self, said: str) -> None:
        await self._events.setdefault(said, asyncio.Event()).wait()


class Records:
    def __init__(self, world: World) -> None:
        self.world = world
        self.value = HandOvers()
        self.fail = 0

    async def write(self, record: HandOver) -> None:
        if self.fail:
            self.fail -= 1
            raise Unavailable("no store")
        self.value = self.value.put(record)
        self.world.log.append(f"record {record.phase.name}")


class World:
    def __init__(self, sim: Simulation, directory: Path) -> None:
        self.sim = sim
        self.directory = directory
        self.log = Log()
        self.read_only = False
        self.sealed = False
        self.in_ring = True
        self.shipped: tuple[str, ...] = ()
        self.flush_fails = 0
        self.records = Records(self)
        self.distributor = Somebody(self, "distributor-1")
        self.compactor = Somebody(self, "compactor-1")
        self.gateways = [Somebody(self, "gateway-1"), Somebody(self, "gateway-2")]
        self.queriers = [Somebody(self, "querier-1"), Somebody(self, "querier-2")]
        self.peer = Somebody(self, "write-a-1", "a")
        self.blocks = BLOCKS
        self.offload: InlineOffload = InlineOffload()
        self.service = self.born()

    def now_ms(self) -> int:
        return self.sim.clock.now_ms()

    def born(self, alone: bool = False) -> HandOverService:
        self.service = HandOverService(
            core=HandOverCore(instance="write-a-0", settings=SETTINGS, alone=alone),
            alone=alone,
            instance_id="write-a-0",
            zone="a",
            directory=self.directory,
            leaver=self,
            place=lambda: self.place,
            in_ring=self._nothing,
            records=self.records,
            asking=Asking(others=self, instance_id="write-a-0", clock=self.sim.clock),  # type: ignore[arg-type]
            ring=lambda: self._view([Somebody(self, "write-a-0", "a"), self.peer], zones=True),
            needed_s=lambda tenant: 13 * 3600,
            clock=self.sim.clock,
            offload=self.offload,
            metrics=Metrics(),
        )
        return self.service

    async def _nothing(self) -> None: ...

    # The ingester and its place.

    @property
    def place(self) -> World:
        return self

    async def set_read_only(self, read_only: bool) -> None:
        self.log.append(f"read-only {read_only}")
        self.read_only = read_only

    async def leave(self) -> None:
        self.log.append("leave")
        self.in_ring = False

    def seal(self) -> None:
        self.sealed = True

    def unseal(self) -> None:
        self.sealed = False

    async def flush_and_ship(self) -> tuple[TenantBlocks, ...]:
        self.log.append("flush")
        assert self.sealed
        if self.flush_fails:
            self.flush_fails -= 1
            raise Unavailable("the bucket is gone")
        self.shipped = tuple(block for each in self.blocks for block in each.blocks)
        return self.blocks

    # The others.

    def _view(self, members: Sequence[Somebody], zones: bool = False) -> RingView:
        settings = RingSettings(replication_factor=3 if zones else 1, zone_awareness=zones)
        return ring_view(RingDesc(member.desc() for member in members), settings)

    def distributors(self) -> RingView:
        return self._view([self.distributor])

    def store_gateways(self) -> RingView:
        return self._view(self.gateways)

    def queriers_view(self) -> RingView:
        return self._view(self.queriers)

    def compactor_of(self, tenant: str) -> InstanceDesc:
        return self.compactor.desc()

    def by_instance(self, instance: InstanceDesc) -> Any:
        everybody = [self.distributor, self.compactor, *self.gateways, *self.queriers]
        return next(each for each in everybody if each.id == instance.id)


class Ways:
    """`Others` over a world."""

    def __init__(self, world: World) -> None:
        self.distributors = world.distributors
        self.store_gateways = world.store_gateways
        self.queriers = world.queriers_view
        self.compactor_of = world.compactor_of
        self.distributor = self.compactor = self.store_gateway = self.querier = world.by_instance


Script = Callable[[World], Awaitable[None]]


def simulated(script: Script) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        run(script, tmp_path)

    test.__name__ = script.__name__  # type: ignore[attr-defined]
    return test


def run(script: Script, directory: Path) -> None:
    with Simulation(7) as sim:
        sim.run(script(World(sim, directory)))  # type: ignore[arg-type]


async def live(world: World) -> asyncio.Task[None]:
    service = world.service
    service._asking = Asking(others=Ways(world), instance_id="write-a-0", clock=world.sim.clock)  # type: ignore[arg-type]
    life = asyncio.create_task(service.live())
    assert await service.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING
    return life


async def die(world: World, life: asyncio.Task[None]) -> None:
    world.service.request_stop()
    await life


WHOLE = [
    "read-only True", "distributor", "flush", "compactor", "record LOADING", "store-gateway", "store-gateway",
    "record SERVING", "querier", "querier", "store-gateway", "store-gateway", "querier", "querier", "record SERVING",
    "leave",
]  # fmt: skip


@simulated
async def test_it_leaves_when_all_have_confirmed(world: World) -> None:
    life = await live(world)
    began = world.now_ms()
    await world.service.leave()
    assert world.log == WHOLE
    assert 120_000 <= world.now_ms() - began < 121_000
    (record,) = world.records.value.values()
    assert record.ranges == (StoredRange("t", 5_000, 9_999, record.ranges[0].index_version, 2),)
    assert not world.service.unfinished
    assert not (world.directory / FILE_NAME).exists()
    await world.service.leave()
    assert world.log == WHOLE
    await die(world, life)


@simulated
async def test_a_process_that_is_alone_flushes_ships_and_leaves(world: World) -> None:
    world.born(alone=True)
    life = await live(world)
    await world.service.leave()
    assert world.log == ["flush", "leave"]
    await die(world, life)


@simulated
async def test_the_last_of_its_zone_may_not_leave(world: World) -> None:
    world.peer.dead = True
    life = await live(world)
    with pytest.raises(Conflict, match="last ingester of a that takes writes"):
        await world.service.leave()
    assert world.log == []
    assert not world.sealed
    assert not await world.service.depart(for_good=True)
    assert world.log == ["flush"]
    await die(world, life)


MOMENTS = list(dict.fromkeys(WHOLE))


@pytest.mark.parametrize("who", ["querier", "store-gateway", "distributor", "compactor"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_somebody_freezes_between_any_two_steps(who: str, moment: str, tmp_path: Path) -> None:
    """From the moment that something was done until it has been missed for two minutes: nobody leaves a frozen querier
    behind that would miss samples, and whatever thaws, it goes on."""

    async def script(world: World) -> None:
        victim = {
            "querier": world.queriers[0],
            "store-gateway": world.gateways[0],
            "distributor": world.distributor,
            "compactor": world.compactor,
        }[who]
        life = await live(world)
        world.log.then(moment, lambda: setattr(victim, "frozen", True))
        leaving = asyncio.create_task(world.service.leave())
        await world.log.until(moment)
        assert victim.frozen
        await asyncio.sleep(119)
        if who == "querier" and world.in_ring:
            assert any("querier-1" in str(each) for each in world.service.progress.waiting) or (
                world.service.progress.action in (Action.LINGER, Action.TELL_AGAIN, Action.LEAVE)
            )
        if not world.in_ring:
            record = next(iter(world.records.value))
            assert all(record in querier.knows for querier in world.queriers)
        victim.frozen = False
        await leaving
        assert not world.in_ring
        record = next(iter(world.records.value))
        assert all(record in querier.knows for querier in world.queriers)
        assert sorted(set(world.log)) == sorted(set(WHOLE))
        await die(world, life)

    run(script, tmp_path)


@simulated
async def test_a_querier_that_stays_frozen_is_named_and_keeps_the_ingester_in_the_ring(world: World) -> None:
    world.queriers[1].frozen = world.queriers[1].dead = True
    life = await live(world)
    with pytest.raises(Unavailable, match=r"stuck while asking queriers whether they know that: querier querier-2"):
        await world.service.leave()
    assert world.in_ring
    assert world.service.progress.status is Status.STUCK
    del world.queriers[1]  # it was forgotten
    await world.service.leave()
    assert not world.in_ring
    await die(world, life)


@simulated
async def test_dead_distributors_and_store_gateways_are_not_waited_for(world: World) -> None:
    for each in (world.distributor, world.gateways[0]):
        each.frozen = each.dead = True
    life = await live(world)
    await world.service.leave()
    assert not world.in_ring
    await die(world, life)


@simulated
async def test_what_fails_for_a_while_is_tried_again(world: World) -> None:
    world.flush_fails, world.records.fail = 3, 2
    life = await live(world)
    await world.service.leave()
    assert world.log.count("flush") == 4
    assert not world.in_ring
    await die(world, life)


@pytest.mark.parametrize("moment", WHOLE[:-1])
def test_an_abort_at_any_moment_leaves_everything_as_it_was(moment: str, tmp_path: Path) -> None:
    async def script(world: World) -> None:
        life = await live(world)
        leaving = asyncio.create_task(world.service.leave())
        await world.log.until(moment)
        await world.service.abort()
        with pytest.raises(Conflict, match="aborted"):
            await leaving
        assert world.in_ring
        assert not world.read_only
        assert not world.sealed
        assert world.records.value.served("t", world.now_ms() // 1000) == ()
        assert world.records.value.loaded("t", world.now_ms() // 1000) == ()
        assert await world.service.depart(for_good=False)
        with pytest.raises(NotFound):
            await world.service.abort()
        await world.service.leave()
        assert not world.in_ring
        await die(world, life)

    run(script, tmp_path)


@pytest.mark.parametrize("moment", WHOLE[:-1])
def test_a_process_that_dies_at_any_moment_takes_it_up_again_without_taking_writes(moment: str, tmp_path: Path) -> None:
    async def script(world: World) -> None:
        life = await live(world)
        leaving = asyncio.create_task(world.service.leave())
        await world.log.until(moment)
        assert not await world.service.depart(for_good=False), "it must stay in the ring"
        leaving.cancel()
        await die(world, life)
        world.sealed = False
        world.log.clear()
        world.born()
        life = await live(world)
        assert world.service.unfinished
        assert world.sealed
        await world.service.leave()
        assert "flush" in world.log
        assert not world.in_ring
        assert len(world.records.value) == 1
        await die(world, life)

    run(script, tmp_path)


@simulated
async def test_a_process_that_dies_on_its_way_back_goes_on_back(world: World) -> None:
    life = await live(world)
    leaving = asyncio.create_task(world.service.leave())
    await world.log.until("record SERVING")
    world.records.fail = 1 << 30
    aborting = asyncio.create_task(world.service.abort())
    await asyncio.sleep(3)
    for task in (aborting, leaving):
        task.cancel()
    await die(world, life)
    world.records.fail = 0
    world.born()
    life = await live(world)
    await asyncio.sleep(5)
    assert world.service.progress.status is Status.STAYED
    assert not world.read_only
    assert not world.sealed
    assert world.records.value.served("t", world.now_ms() // 1000) == ()
    await die(world, life)


class SlowDisk(InlineOffload):
    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0.5)
        return await super().run(fn, *args)


@simulated
async def test_a_process_that_stops_as_soon_as_it_has_left_does_not_leave_again_when_it_is_back(world: World) -> None:
    world.offload = SlowDisk()
    world.born()
    life = await live(world)
    leaving = asyncio.create_task(world.service.leave())
    while not leaving.done():
        world.service._moved.set()  # whoever waits looks at every moment
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
    await die(world, life)
    assert read_kept(world.directory) is None


@simulated
async def test_stopping_for_good_hands_over_first(world: World) -> None:
    life = await live(world)
    assert await world.service.depart(for_good=True)
    assert world.log == WHOLE
    await die(world, life)


def test_what_is_kept_on_disk(tmp_path: Path) -> None:
    assert read_kept(tmp_path) is None
    record = HandOver("i", 7, Phase.SERVING, 8, 9, (StoredRange("t", 1, 2, 3, 4),))
    for kept in (Kept(7), Kept(7, record), Kept(7, record, going_back=True)):
        write_kept(tmp_path, kept)
        assert read_kept(tmp_path) == kept
    write_kept(tmp_path, None)
    write_kept(tmp_path, None)
    assert read_kept(tmp_path) is None


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b'{"round_ms": 1, "record": "eA=="}', b'{"round_ms": 1, "record": 5}']
)
def test_a_damaged_file_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    with pytest.raises(DataDamaged, match=FILE_NAME):
        read_kept(tmp_path)


@simulated
async def test_a_tenant_that_is_being_deleted_keeps_nobody(world: World) -> None:
    world.compactor.deleted = True
    life = await live(world)
    await world.service.leave()
    (record,) = world.records.value.values()
    assert [range_.index_version for range_ in record.ranges] == [0]
    await die(world, life)
