"""What is to be done next by an ingester that leaves for good. Pure; one thing at a time.

    IDLE ──Began──► RUNNING ──all done──► LEFT
                     │  ▲ └──abort──► GOING_BACK ──► STAYED
          too long   ▼  │ Resumed         ▲
                    STUCK ──────abort─────┘

`handle` is told what came of the last effect and gives the next one. An action that is not finished (somebody does not
confirm, the store cannot be written) is done again after a pause, until it has taken too long: then the hand-over is
STUCK where it is, which harms nothing, and waits to be resumed or aborted. Every action may be done again: after a
restart of the ingester all of them are, from the first one on, and each finds its work done.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mimir_rw.kv.hand_over import HandOver, Phase
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.rpc.contracts.hand_over import BlocksAsked

RECORD_KEPT_S_MIN = 3600
"""A record stays for so long at least after it was written, even if its samples are old enough for all settings."""


class Step(enum.IntEnum):
    """What an operator sees."""

    READ_ONLY = 1
    FLUSH = 2
    INDEX = 3
    LOAD = 4
    RECORD = 5
    LEAVE = 6


class Action(enum.Enum):
    """In the order in which they are done. The value says it to operators."""

    MARK = "telling the ring that it takes no more writes"
    DISTRIBUTORS = "asking the distributors whether they see that"
    FLUSH = "flushing heads and shipping blocks"
    COMPACTORS = "asking compactors for indexes that have the blocks"
    LOADING = "telling store-gateways of the blocks"
    GATEWAYS = "asking store-gateways whether they serve the blocks"
    SERVING = "telling queriers where the samples are"
    QUERIERS = "asking queriers whether they know that"
    LINGER = "answering the queries that began before"
    GATEWAYS_AGAIN = "asking store-gateways once more"
    QUERIERS_AGAIN = "asking queriers once more"
    TELL_AGAIN = "telling everybody once more where the samples are"
    LEAVE = "leaving the ring"


ACTIONS = tuple(Action)
ALONE = (Action.FLUSH, Action.LEAVE)
"""Of a process that has nobody to hand over to."""
_STEPS: Mapping[Action, Step] = {
    Action.MARK: Step.READ_ONLY,
    Action.DISTRIBUTORS: Step.READ_ONLY,
    Action.FLUSH: Step.FLUSH,
    Action.COMPACTORS: Step.INDEX,
    Action.LOADING: Step.LOAD,
    Action.GATEWAYS: Step.LOAD,
    Action.SERVING: Step.RECORD,
    Action.QUERIERS: Step.RECORD,
}


def step_of(action: Action) -> Step:
    return _STEPS.get(action, Step.LEAVE)


class Status(enum.Enum):
    IDLE = "idle"
    RUNNING = "running"
    STUCK = "stuck"
    GOING_BACK = "going back"
    STAYED = "stayed"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who does not confirm, and why."""

    who: str
    why: str

    def __str__(self) -> str:
        return f"{self.who}: {self.why}"


@dataclass(frozen=True, slots=True)
class TenantBlocks:
    """Blocks of a tenant that this ingester has put into the store: mint <= t <= maxt of their samples."""

    tenant: str
    mint: int
    maxt: int
    blocks: tuple[str, ...]


# -- events: what has happened --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Began:
    """round_ms: the round's name. record: what an earlier life of this ingester wrote in the same round."""

    round_ms: int
    record: HandOver | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The last effect is carried out."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be, this time."""

    why: str


@dataclass(frozen=True, slots=True)
class Flushed:
    """needed_until_s: when the settings alone make every query ask the store for all of these samples."""

    blocks: tuple[TenantBlocks, ...]
    needed_until_s: int


@dataclass(frozen=True, slots=True)
class Indexed:
    """versions: by tenant, of indexes that have its blocks. waiting: what kept the others from that."""

    versions: Mapping[str, int]
    waiting: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """waiting: empty when all have confirmed."""

    waiting: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True)
class Resumed: ...


@dataclass(frozen=True, slots=True)
class AbortAsked: ...


Event = Began | Done | Failed | Flushed | Indexed | Answered | Resumed | AbortAsked


# -- effects: what is to be done ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MarkReadOnly:
    """In the ring. False also takes pushes again."""

    read_only: bool


@dataclass(frozen=True, slots=True)
class AskDistributors: ...


@dataclass(frozen=True, slots=True)
class Flush:
    """Refuse pushes from now on, flush all heads, ship all blocks."""


@dataclass(frozen=True, slots=True)
class AskCompactors:
    blocks: tuple[TenantBlocks, ...]


@dataclass(frozen=True, slots=True)
class WriteRecord:
    record: HandOver


@dataclass(frozen=True, slots=True)
class AskStoreGateways:
    asked: tuple[BlocksAsked, ...]


@dataclass(frozen=True, slots=True)
class AskQueriers:
    name: str
    updated_ms: int


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class LeaveRing: ...


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing, until somebody asks."""


Effect = (
    MarkReadOnly
    | AskDistributors
    | Flush
    | AskCompactors
    | WriteRecord
    | AskStoreGateways
    | AskQueriers
    | Pause
    | LeaveRing
    | Rest
)


@dataclass(frozen=True, slots=True)
class HandOverSettings:
    """linger_s: as long as a query may take. action_s_max: what an action may take before the hand-over is stuck, tries
    and pauses between them together; a flush that goes on is not interrupted."""

    linger_s: float = 120.0
    retry_s: float = 1.0
    action_s_max: float = 900.0


@dataclass(frozen=True, slots=True)
class HandOverState:
    status: Status = Status.IDLE
    action: Action = Action.MARK
    round_ms: int = 0
    began_ms: int = 0
    """When the action was begun, or resumed."""
    pausing: bool = False
    waiting: tuple[Waiting, ...] = ()
    """Of the last try."""
    blocks: tuple[TenantBlocks, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    needed_until_s: int = 0
    record: HandOver | None = None
    """As it was written last, or is to be."""

    @property
    def step(self) -> Step:
        """Of the present action."""
        return step_of(self.action)

    @property
    def ended(self) -> bool:
        return self.status in (Status.IDLE, Status.STAYED, Status.LEFT)


class HandOverCore:
    def __init__(self, *, instance: str, settings: HandOverSettings, alone: bool = False) -> None:
        """alone: nobody else holds or reads samples: flush and leave."""
        self._instance = instance
        self._settings = settings
        self._actions = ALONE if alone else ACTIONS
        self.state = HandOverState()

    def handle(self, event: Event, now_ms: int) -> Effect:
        """What to do next, now that this has happened. Until then nothing else goes on; an abort may come at any time
        but while the ring is being left (`may_abort`), and what was being done is given up then."""
        match event:
            case Began():
                assert self.state.ended
                self.state = HandOverState(Status.RUNNING, round_ms=event.round_ms, record=event.record)
                return self._begin(self._actions[0], now_ms)
            case Resumed():
                assert self.state.status is Status.STUCK
                self.state = replace(self.state, status=Status.RUNNING, began_ms=now_ms, pausing=False)
                return self._effect(now_ms)
            case AbortAsked():
                assert self.may_abort
                self.state = replace(self.state, status=Status.GOING_BACK, pausing=False, waiting=())
                return self._back(now_ms)
        if self.state.status is Status.GOING_BACK:
            return self._going_back(event, now_ms)
        assert self.state.status is Status.RUNNING
        return self._forward(event, now_ms)

    @property
    def may_abort(self) -> bool:
        """Once the ring is being left others go by that."""
        status, action = self.state.status, self.state.action
        return status in (Status.RUNNING, Status.STUCK) and action is not Action.LEAVE

    # -- forward ----------------------------------------------------------------------------------------------------

    def _forward(self, event: Event, now_ms: int) -> Effect:
        if self.state.pausing:
            assert isinstance(event, Done)
            self.state = replace(self.state, pausing=False)
            return self._next(now_ms) if self.state.action is Action.LINGER else self._effect(now_ms)
        match event:
            case Done():
                return self._next(now_ms)
            case Failed(why):
                return self._again((Waiting("this ingester", why),), now_ms)
            case Flushed(blocks, needed_until_s):
                self.state = replace(self.state, blocks=blocks, needed_until_s=needed_until_s)
                return self._next(now_ms)
            case Indexed(versions, waiting):
                self.state = replace(self.state, versions={**self.state.versions, **versions})
                lacking = [each for each in self.state.blocks if each.tenant not in self.state.versions]
                if waiting or lacking:
                    return self._again(waiting, now_ms)
                return self._next(now_ms)
            case Answered(waiting):
                return self._again(waiting, now_ms) if waiting else self._next(now_ms)
        raise AssertionError(f"{event} is no outcome of {self.state.action}")

    def _again(self, waiting: tuple[Waiting, ...], now_ms: int) -> Effect:
        state = self.state
        if now_ms - state.began_ms >= self._settings.action_s_max * 1000:
            self.state = replace(state, status=Status.STUCK, waiting=waiting)
            return Rest()
        self.state = replace(state, pausing=True, waiting=waiting)
        return Pause(self._settings.retry_s)

    def _next(self, now_ms: int) -> Effect:
        action = self.state.action
        if action is self._actions[-1]:
            self.state = replace(self.state, status=Status.LEFT, waiting=())
            return Rest()
        if action is Action.FLUSH and not self.state.blocks and self.state.record is None:
            return self._begin(Action.LEAVE, now_ms)  # it has nothing that anybody could miss
        return self._begin(self._actions[self._actions.index(action) + 1], now_ms)

    def _begin(self, action: Action, now_ms: int) -> Effect:
        self.state = replace(self.state, action=action, began_ms=now_ms, pausing=False, waiting=())
        if action in (Action.LOADING, Action.SERVING, Action.TELL_AGAIN):
            phase = Phase.LOADING if action is Action.LOADING else Phase.SERVING
            self.state = replace(self.state, record=self._record(phase, now_ms))
        return self._effect(now_ms)

    def _effect(self, now_ms: int) -> Effect:
        """What the present action is about to do, first or again."""
        state = self.state
        match state.action:
            case Action.MARK:
                return MarkReadOnly(True)
            case Action.DISTRIBUTORS:
                return AskDistributors()
            case Action.FLUSH:
                return Flush()
            case Action.COMPACTORS:
                return AskCompactors(tuple(each for each in state.blocks if each.tenant not in state.versions))
            case Action.LOADING | Action.SERVING | Action.TELL_AGAIN:
                assert state.record is not None
                return WriteRecord(state.record)
            case Action.GATEWAYS | Action.GATEWAYS_AGAIN:
                return AskStoreGateways(self._asked())
            case Action.QUERIERS | Action.QUERIERS_AGAIN:
                assert state.record is not None
                return AskQueriers(state.record.name, state.record.updated_ms)
            case Action.LINGER:
                self.state = replace(state, pausing=True)
                return Pause(self._settings.linger_s)
            case Action.LEAVE:
                return LeaveRing()

    def _asked(self) -> tuple[BlocksAsked, ...]:
        """Of each tenant all that is in the record, which may be more than the ingester has now."""
        assert self.state.record is not None
        blocks = {each.tenant: each.blocks for each in self.state.blocks}
        return tuple(BlocksAsked(range_, blocks.get(range_.tenant, ())) for range_ in self.state.record.ranges)

    def _record(self, phase: Phase, now_ms: int) -> HandOver:
        """With all that an earlier version said: it may have been gone by."""
        state, earlier = self.state, self.state.record
        ranges = {range_.tenant: range_ for range_ in (earlier.ranges if earlier is not None else ())}
        for each in state.blocks:
            range_ = StoredRange(each.tenant, each.mint, each.maxt, state.versions[each.tenant], len(each.blocks))
            known = ranges.get(each.tenant)
            ranges[each.tenant] = range_ if known is None else _united(known, range_)
        needed_until_s = max(state.needed_until_s, now_ms // 1000 + RECORD_KEPT_S_MIN)
        if earlier is None:
            updated_ms = now_ms
        else:
            updated_ms = max(now_ms, earlier.updated_ms + 1)
            phase = max(phase, earlier.phase)
            needed_until_s = max(needed_until_s, earlier.expires_s)
        return HandOver(
            self._instance,
            state.round_ms,
            phase,
            updated_ms,
            needed_until_s,
            tuple(ranges[tenant] for tenant in sorted(ranges)),
        )

    # -- back -------------------------------------------------------------------------------------------------------

    def _back(self, now_ms: int) -> Effect:
        """Queriers stop asking the store for what this ingester goes on answering; then it takes writes."""
        record = self.state.record
        if record is None:
            return MarkReadOnly(False)
        updated_ms = max(now_ms, record.updated_ms + 1)
        self.state = replace(self.state, record=replace(record, phase=Phase.WITHDRAWN, updated_ms=updated_ms))
        assert self.state.record is not None
        return WriteRecord(self.state.record)

    def _going_back(self, event: Event, now_ms: int) -> Effect:
        if self.state.pausing:
            self.state = replace(self.state, pausing=False)
            return self._effect_back()
        if isinstance(event, Failed):
            self.state = replace(self.state, pausing=True, waiting=(Waiting("this ingester", event.why),))
            return Pause(self._settings.retry_s)
        assert isinstance(event, Done)
        if self.state.record is not None:
            self.state = replace(self.state, record=None)
            return MarkReadOnly(False)
        self.state = replace(self.state, status=Status.STAYED, waiting=())
        return Rest()

    def _effect_back(self) -> Effect:
        return WriteRecord(self.state.record) if self.state.record is not None else MarkReadOnly(False)


def _united(one: StoredRange, other: StoredRange) -> StoredRange:
    return StoredRange(
        one.tenant,
        min(one.mint, other.mint),
        max(one.maxt, other.maxt),
        max(one.index_version, other.index_version),
        max(one.blocks, other.blocks),
    )
