"""The core of a hand-over, over every order of what can happen to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from mimir_rw.components.ingester.hand_over.core import (
    RECORD_KEPT_S_MIN,
    AbortAsked,
    Action,
    Answered,
    AskCompactors,
    AskDistributors,
    AskQueriers,
    AskStoreGateways,
    Began,
    Done,
    Effect,
    Event,
    Failed,
    Flush,
    Flushed,
    HandOverCore,
    HandOverSettings,
    Indexed,
    LeaveRing,
    MarkReadOnly,
    Pause,
    Rest,
    Resumed,
    Status,
    Step,
    TenantBlocks,
    Waiting,
    WriteRecord,
)
from mimir_rw.kv.hand_over import HandOver, Phase
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.rpc.contracts.hand_over import BlocksAsked

NOW_MS = 1_000_000_000
SETTINGS = HandOverSettings(linger_s=120, retry_s=1, action_s_max=60)
BLOCKS = (TenantBlocks("t", 5, 9, ("b1", "b2")), TenantBlocks("u", 0, 3, ("b3",)))
NEEDED_S = NOW_MS // 1000 + 50_000
WHO = (Waiting("somebody", "is not there"),)


@dataclass
class World:
    """Carries out what the core says; `seen` is what the others know by it. disturb: what goes wrong, by the number of
    the effect at which it does."""

    disturb: dict[int, str] = field(default_factory=dict)
    blocks: tuple[TenantBlocks, ...] = BLOCKS
    alone: bool = False
    now_ms: int = NOW_MS
    writable: bool = True
    """In the ring."""
    in_ring: bool = True
    sealed: bool = False
    flushed: bool = False
    confirmed: dict[str, object] = field(default_factory=dict)
    indexed: dict[str, int] = field(default_factory=dict)
    record: HandOver | None = None
    lingered_s: float = 0.0
    effects: list[Effect] = field(default_factory=list)
    restarts: int = 0
    core: HandOverCore = field(init=False)

    def __post_init__(self) -> None:
        self.core = self._born()
        self.kept: HandOver | None = None

    def _born(self) -> HandOverCore:
        return HandOverCore(instance="write-a-0", settings=SETTINGS, alone=self.alone)

    def run(self, most: int = 400) -> list[Effect]:
        effect = self.core.handle(Began(7), self.now_ms)
        while not isinstance(effect, Rest) and len(self.effects) < most:
            effect = self._one(effect)
            if isinstance(effect, Rest) and self.core.state.status is Status.STUCK:
                effect = self.core.handle(Resumed(), self.now_ms)
        assert isinstance(effect, Rest), "it comes to no end"
        return self.effects

    def _one(self, effect: Effect) -> Effect:
        number = len(self.effects)
        self.effects.append(effect)
        self.kept = self.core.state.record
        self._check(effect)
        wrong = self.disturb.get(number, "")
        if wrong == "restart":
            return self._restart()
        if wrong == "abort" and self.core.may_abort:
            return self.core.handle(AbortAsked(), self.now_ms)
        if wrong == "restart after":
            self._carry_out(effect)
            return self._restart()
        if wrong in ("fails", "is late") and not isinstance(effect, Pause):
            self.now_ms += 61_000 if wrong == "is late" else 10
            if isinstance(effect, AskCompactors) and wrong == "fails":
                first = effect.blocks[0].tenant
                self.indexed[first] = 3
                return self.core.handle(Indexed({first: 3}, WHO), self.now_ms)
            asks = isinstance(effect, AskDistributors | AskStoreGateways | AskQueriers)
            return self.core.handle(Answered(WHO) if asks else Failed("no"), self.now_ms)
        return self.core.handle(self._carry_out(effect), self.now_ms)

    def _restart(self) -> Effect:
        """Another life begins in the ring, read-only as the one before was; all is asked anew. What store-gateways
        confirmed before SERVING was ever said stays true: they go by the record."""
        going_back = self.core.state.status is Status.GOING_BACK
        self.in_ring, self.flushed, self.lingered_s = True, False, 0.0
        self.confirmed.pop("distributors", None)
        self.confirmed.pop("queriers", None)
        self.core = self._born()
        self.restarts += 1
        effect = self.core.handle(Began(7, self.kept), self.now_ms)
        return self.core.handle(AbortAsked(), self.now_ms) if going_back else effect

    def _carry_out(self, effect: Effect) -> Event:
        self.now_ms += 10
        match effect:
            case MarkReadOnly(read_only):
                self.writable = not read_only
                self.sealed = self.sealed and read_only
                self.flushed = self.flushed and read_only
            case AskDistributors():
                self.confirmed["distributors"] = not self.writable
                return Answered()
            case Flush():
                self.sealed = self.flushed = True
                return Flushed(self.blocks, NEEDED_S)
            case AskCompactors(blocks):
                versions = {each.tenant: 4 for each in blocks}
                self.indexed.update(versions)
                return Indexed(versions)
            case WriteRecord(record):
                assert self.record is None or record.updated_ms >= self.record.updated_ms
                self.record = record
            case AskStoreGateways():
                assert self.record is not None
                self.confirmed["gateways"] = self.record.phase
                return Answered()
            case AskQueriers(name, updated_ms):
                assert self.record is not None
                assert (name, updated_ms) == (self.record.name, self.record.updated_ms)
                self.confirmed["queriers"] = self.record.phase
                return Answered()
            case Pause(seconds):
                self.now_ms += int(seconds * 1000)
                if self.core.state.action is Action.LINGER:
                    self.lingered_s += seconds
            case LeaveRing():
                self.in_ring = False
        return Done()

    def _check(self, effect: Effect) -> None:
        """What must be so before something is done."""
        match effect:
            case AskCompactors():
                assert self.flushed
            case WriteRecord(record) if record.phase is not Phase.WITHDRAWN:
                assert self.indexed.keys() >= {each.tenant for each in self.blocks}
                if record.phase is Phase.SERVING and (self.record is None or self.record.phase is Phase.LOADING):
                    assert self.confirmed["gateways"] is Phase.LOADING
            case Flush() if not self.alone:
                assert self.confirmed["distributors"] is True
            case MarkReadOnly(False):
                assert self.record is None or self.record.phase is Phase.WITHDRAWN
            case LeaveRing() if not self.alone:
                assert not self.writable
                assert self.sealed
                assert self.flushed
                if self.blocks:
                    assert self.record is not None
                    assert self.record.phase is Phase.SERVING
                    assert self.confirmed["queriers"] is Phase.SERVING
                    assert self.lingered_s >= SETTINGS.linger_s
            case _:
                pass


def kinds(effects: list[Effect]) -> list[str]:
    return [
        f"record {effect.record.phase.name}" if isinstance(effect, WriteRecord) else type(effect).__name__
        for effect in effects
    ]


WHOLE = [
    "MarkReadOnly", "AskDistributors", "Flush", "AskCompactors", "record LOADING", "AskStoreGateways",
    "record SERVING", "AskQueriers", "Pause", "AskStoreGateways", "AskQueriers", "record SERVING", "LeaveRing",
]  # fmt: skip


def test_when_all_goes_well_each_thing_is_done_once_in_order() -> None:
    world = World()
    assert kinds(world.run()) == WHOLE
    assert world.core.state.status is Status.LEFT
    assert world.lingered_s == SETTINGS.linger_s
    assert world.record == HandOver(
        "write-a-0",
        7,
        Phase.SERVING,
        world.record.updated_ms if world.record else 0,
        NEEDED_S,
        (StoredRange("t", 5, 9, 4, 2), StoredRange("u", 0, 3, 4, 1)),
    )


def test_an_ingester_without_samples_leaves_as_soon_as_nothing_comes() -> None:
    assert kinds(World(blocks=()).run()) == ["MarkReadOnly", "AskDistributors", "Flush", "LeaveRing"]


def test_a_process_that_is_alone_flushes_and_leaves() -> None:
    assert kinds(World(alone=True).run()) == ["Flush", "LeaveRing"]


def test_store_gateways_are_asked_for_the_blocks_within_the_records_ranges() -> None:
    asked = [effect.asked for effect in World().run() if isinstance(effect, AskStoreGateways)]
    assert asked[0] == asked[1]
    assert asked[0] == (
        BlocksAsked(StoredRange("t", 5, 9, 4, 2), ("b1", "b2")),
        BlocksAsked(StoredRange("u", 0, 3, 4, 1), ("b3",)),
    )


WRONG = ("fails", "is late", "restart", "restart after", "abort")
ONE = [{at: wrong} for at in range(len(WHOLE)) for wrong in WRONG]
TWO = [
    {at: wrong, at + later: again}
    for at, wrong, later, again in itertools.product(range(len(WHOLE)), WRONG, range(1, 16), WRONG)
]


@pytest.mark.parametrize("disturb", ONE, ids=lambda d: " ".join(f"{wrong}@{at}" for at, wrong in d.items()))
def test_whatever_goes_wrong_once_it_ends_and_nothing_is_left_out(disturb: dict[int, str]) -> None:
    ends(World(disturb))


def test_whatever_goes_wrong_twice() -> None:
    for disturb in TWO:
        ends(World(disturb))


def test_whatever_goes_wrong_three_times_in_a_row() -> None:
    for at in range(len(WHOLE)):
        for wrong in itertools.product(WRONG, repeat=3):
            ends(World(dict(enumerate(wrong, at))))


def ends(world: World) -> None:
    """Every check of the world held, and it either left or is as it was before."""
    world.run()
    state = world.core.state
    if state.status is Status.LEFT:
        assert not world.in_ring
        assert [name for name in WHOLE if name not in kinds(world.effects)] == []
        return
    assert "abort" in world.disturb.values()
    assert state.status is Status.STAYED
    assert world.in_ring
    assert world.writable
    assert not world.sealed
    assert world.record is None or world.record.phase is Phase.WITHDRAWN


def step_until(core: HandOverCore, wanted: type[Effect], answer: Callable[[Effect], Event]) -> Effect:
    effect = core.handle(Began(7), NOW_MS)
    while not isinstance(effect, wanted):
        effect = core.handle(answer(effect), NOW_MS)
    return effect


def well(effect: Effect) -> Event:
    match effect:
        case Flush():
            return Flushed(BLOCKS, NEEDED_S)
        case AskCompactors(blocks):
            return Indexed({each.tenant: 4 for each in blocks})
        case AskDistributors() | AskStoreGateways() | AskQueriers():
            return Answered()
        case _:
            return Done()


def test_what_has_taken_too_long_is_stuck_with_who_does_not_confirm_and_may_be_resumed() -> None:
    core = HandOverCore(instance="i", settings=SETTINGS)
    step_until(core, AskQueriers, well)
    assert core.handle(Answered(WHO), NOW_MS) == Pause(1)
    assert core.state.waiting == WHO
    assert core.state.step is Step.RECORD
    assert isinstance(core.handle(Done(), NOW_MS + 1000), AskQueriers)
    assert core.handle(Answered(WHO), NOW_MS + 60_000) == Rest()
    assert core.state.status is Status.STUCK
    assert core.state.waiting == WHO
    assert isinstance(core.handle(Resumed(), NOW_MS + 90_000), AskQueriers)
    assert core.handle(Answered(WHO), NOW_MS + 91_000) == Pause(1)


def test_only_tenants_without_an_index_are_asked_again() -> None:
    core = HandOverCore(instance="i", settings=SETTINGS)
    step_until(core, AskCompactors, well)
    assert core.handle(Indexed({"u": 9}, WHO), NOW_MS) == Pause(1)
    assert core.handle(Done(), NOW_MS) == AskCompactors(BLOCKS[:1])
    effect = core.handle(Indexed({"t": 3}), NOW_MS)
    assert isinstance(effect, WriteRecord)
    assert [range_.index_version for range_ in effect.record.ranges] == [3, 9]


def test_there_is_no_way_back_while_it_leaves_the_ring() -> None:
    core = HandOverCore(instance="i", settings=SETTINGS)
    step_until(core, LeaveRing, well)
    assert not core.may_abort
    core.handle(Failed("no store"), NOW_MS + 61_000)
    assert core.state.status is Status.STUCK
    assert not core.may_abort
    assert isinstance(core.handle(Resumed(), NOW_MS), LeaveRing)


def test_a_later_life_says_no_less_than_an_earlier_one() -> None:
    """Local blocks may be gone by then; queriers have gone by the record."""
    earlier = HandOver("i", 7, Phase.SERVING, NOW_MS + 5000, NEEDED_S + 9, (StoredRange("t", 1, 6, 8, 3),))
    core = HandOverCore(instance="i", settings=SETTINGS)
    effect = core.handle(Began(7, earlier), NOW_MS)
    while not isinstance(effect, WriteRecord):
        effect = core.handle(well(effect), NOW_MS)
    assert effect.record == HandOver(
        "i",
        7,
        Phase.SERVING,
        NOW_MS + 5001,
        NEEDED_S + 9,
        (StoredRange("t", 1, 9, 8, 3), StoredRange("u", 0, 3, 4, 1)),
    )


def test_a_record_of_old_samples_lasts_as_long_as_it_is_asked_about() -> None:
    core = HandOverCore(instance="i", settings=SETTINGS)
    old = lambda effect: Flushed(BLOCKS, 5) if isinstance(effect, Flush) else well(effect)  # noqa: E731
    effect = step_until(core, WriteRecord, old)
    assert isinstance(effect, WriteRecord)
    assert effect.record.expires_s == NOW_MS // 1000 + RECORD_KEPT_S_MIN


def test_going_back_does_not_end_before_the_store_has_taken_it() -> None:
    core = HandOverCore(instance="i", settings=SETTINGS)
    serving = step_until(core, AskQueriers, well)
    assert isinstance(serving, AskQueriers)
    effect = core.handle(AbortAsked(), NOW_MS)
    assert isinstance(effect, WriteRecord)
    assert effect.record.phase is Phase.WITHDRAWN
    assert effect.record.updated_ms > serving.updated_ms
    for _ in range(100):
        assert core.handle(Failed("no store"), NOW_MS + 10**7) == Pause(1)
        assert core.handle(Done(), NOW_MS) == effect
    assert core.handle(Done(), NOW_MS) == MarkReadOnly(False)
    assert core.handle(Failed("no store"), NOW_MS) == Pause(1)
    assert core.handle(Done(), NOW_MS) == MarkReadOnly(False)
    assert core.handle(Done(), NOW_MS) == Rest()
    assert core.state.status is Status.STAYED
    assert replace(core.state, status=Status.IDLE).ended
