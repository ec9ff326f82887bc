"""An ingester's hand-over as a running service: carries out what core.py says.

Asked for by an operator (`leave`), it goes on whoever waits for it; unfinished at a stop, it is taken up by the next
life of the process (`file.py`), which takes no writes meanwhile. On the event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mimir_rw.components.ingester.hand_over.answers import refusal
from mimir_rw.components.ingester.hand_over.asking import Asking
from mimir_rw.components.ingester.hand_over.core import (
    AbortAsked,
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
    HandOverState,
    LeaveRing,
    MarkReadOnly,
    Pause,
    Rest,
    Resumed,
    Status,
    TenantBlocks,
    WriteRecord,
)
from mimir_rw.components.ingester.hand_over.file import Kept, read_kept, write_kept
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.service import Service
from mimir_rw.kv.hand_over import HandOver
from mimir_rw.model.errors import Conflict, MimirError, NotFound, Unavailable
from mimir_rw.ring.view import RingView


@dataclass(frozen=True, slots=True)
class HandOverReport:
    """What operators are shown. since_ms: when the present action was begun."""

    status: str
    step: int
    doing: str
    since_ms: int
    waiting: tuple[tuple[str, str], ...]
    """Who does not confirm, and why."""
    tenants: int
    blocks: int
    record: str


_SAID_S = 10.0
"""Between two log lines that say the same."""


class Leaver(Protocol):
    """The ingester, as far as it takes part in its leaving."""

    def seal(self) -> None:
        """Refuse pushes from now on. May be called often, and before it runs."""
        ...

    def unseal(self) -> None: ...

    async def flush_and_ship(self) -> tuple[TenantBlocks, ...]:
        """Wait for pushes that have begun, cut all that the heads have, and put every block of this disk into the
        store; what of them is there. Raises Unavailable when something of it could not be done."""
        ...


class Place(Protocol):
    """The ingester's entry in its ring."""

    async def set_read_only(self, read_only: bool) -> None:
        """Raises Unavailable."""

    async def leave(self) -> None:
        """LEAVING, then out of the ring; nothing brings the entry back. Raises Unavailable."""


class Records(Protocol):
    async def write(self, record: HandOver) -> None:
        """Raises Unavailable."""


class HandOverService(Service):
    def __init__(
        self,
        *,
        core: HandOverCore,
        alone: bool,
        instance_id: str,
        zone: str,
        directory: Path,
        leaver: Leaver,
        place: Callable[[], Place],
        in_ring: Callable[[], Awaitable[object]],
        records: Records,
        asking: Asking,
        ring: Callable[[], RingView],
        needed_s: Callable[[str], int],
        clock: Clock,
        offload: Offload,
        metrics: Metrics,
    ) -> None:
        """place: made after this service; in_ring: returns once it is in the ring. needed_s: by tenant, how old samples
        must be for the settings alone to have everybody ask the store for them."""
        super().__init__("ingester-hand-over")
        self._core = core
        self._alone = alone
        self._instance_id, self._zone = instance_id, zone
        self._directory = directory
        self._leaver = leaver
        self._place = place
        self._in_ring = in_ring
        self._records = records
        self._asking = asking
        self._ring = ring
        self._needed_s = needed_s
        self._clock = clock
        self._offload = offload
        self._log = get_logger(component="hand-over")
        self._kept: Kept | None = None
        self._work: asyncio.Task[None] | None = None
        self._effect: Effect = Rest()
        self._moved = asyncio.Event()
        self._said = ("", 0.0)
        metrics.gauges_read(
            "mimir_rw_ingester_hand_over_step",
            "Step of the hand-over of this ingester, 1 to 6; 0: there is none.",
            (),
            lambda: [((), 0.0 if self.progress.ended else float(self.progress.step))],
        )
        metrics.gauges_read(
            "mimir_rw_ingester_hand_over_stuck",
            "Whether a hand-over waits for an operator.",
            (),
            lambda: [((), float(self.progress.status is Status.STUCK))],
        )

    @property
    def progress(self) -> HandOverState:
        return self._core.state

    def report(self) -> HandOverReport:
        state = self.progress
        under_way = not state.ended
        return HandOverReport(
            status=state.status.value,
            step=int(state.step) if under_way else 0,
            doing=state.action.value if state.status in (Status.RUNNING, Status.STUCK) else "",
            since_ms=state.began_ms if under_way else 0,
            waiting=tuple((each.who, each.why) for each in state.waiting),
            tenants=len(state.blocks),
            blocks=sum(len(each.blocks) for each in state.blocks),
            record=state.record.name if state.record is not None else "",
        )

    def readiness(self) -> str | None:
        """It takes no writes, and traffic should go elsewhere."""
        if self.progress.status in (Status.RUNNING, Status.STUCK):
            return f"this ingester is leaving ({self.progress.status.value}, step {int(self.progress.step)} of 6)"
        return None

    @property
    def unfinished(self) -> bool:
        """Whether an ingester that stops now must stay in the ring, and one that starts takes no writes."""
        return self._kept is not None

    # -- life -------------------------------------------------------------------------------------------------------

    async def start_up(self) -> None:
        self._kept = await self._offload.run(read_kept, self._directory)
        if self._kept is not None:
            self._leaver.seal()
            self._log.info("an unfinished hand-over is taken up again", round_ms=self._kept.round_ms)
            self.tasks.spawn(self._take_up(self._kept), name="hand-over is taken up")

    async def _take_up(self, kept: Kept) -> None:
        await self._in_ring()
        effect = self._core.handle(Began(kept.round_ms, kept.record), self._now_ms())
        if kept.going_back:
            effect = self._core.handle(AbortAsked(), self._now_ms())
        self._start(effect)

    # -- what operators ask -----------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Leave for good; returns when that is done. One that is under way is waited for, one that is stuck goes on.
        Raises Conflict when it may not leave or has been told to stay, Unavailable when it is stuck."""
        status = self.progress.status
        if status in (Status.IDLE, Status.STAYED) and self._kept is None:
            await self._begin()
        elif status is Status.STUCK:
            self._start(self._core.handle(Resumed(), self._now_ms()))
        await self._end_of_it()

    async def abort(self) -> None:
        """Stay; returns when it takes writes again. Raises NotFound when there is nothing to abort, Conflict when it is
        too late."""
        state = self.progress
        if state.status is Status.GOING_BACK:
            await self._until(lambda: self._over)
            return
        if state.ended:
            raise NotFound("this ingester is not leaving")
        if not self._core.may_abort:
            raise Conflict("it is too late: the ingester is leaving the ring")
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        self._log.info("the hand-over is aborted", action=state.action.value)
        self._start(self._core.handle(AbortAsked(), self._now_ms()))
        await self._until(lambda: self._over)

    async def depart(self, *, for_good: bool) -> bool:
        """The process stops. for_good: as an operator has said before. Whether the ingester may be taken out of the
        ring: not while somebody may need what only it has."""
        if for_good:
            try:
                await self.leave()
            except MimirError as error:
                self._log.error("this ingester stops without having left", err=str(error))
                await self._flush_at_least()
                return False
        return not self.unfinished

    async def _flush_at_least(self) -> None:
        """What may be all that an operator wants who takes a whole zone away."""
        if self.progress.ended:
            self._leaver.seal()
            try:
                await self._leaver.flush_and_ship()
            except MimirError as error:
                self._log.error("not everything is in the store", err=str(error))

    async def _begin(self) -> None:
        if not self._alone:
            reason = refusal(self._ring(), self._instance_id, self._zone, now_s=self._now_ms() // 1000)
            if reason is not None:
                raise Conflict(reason)
        self._log.info("this ingester leaves", alone=self._alone)
        self._start(self._core.handle(Began(self._now_ms()), self._now_ms()))

    async def _end_of_it(self) -> None:
        await self._until(lambda: self._over or self.progress.status is Status.STUCK)
        if self.progress.status is Status.STUCK:
            raise Unavailable(f"the hand-over is stuck while {self.progress.action.value}: {self._waiting_text()}")
        if self.progress.status is not Status.LEFT:
            raise Conflict("the hand-over was aborted: this ingester stays")

    @property
    def _over(self) -> bool:
        """It has ended, and the disk knows: the process may stop as soon as somebody hears of it."""
        return self.progress.status in (Status.LEFT, Status.STAYED) and self._kept is None

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._moved.clear()
            await self._moved.wait()

    def _waiting_text(self) -> str:
        return "; ".join(map(str, self.progress.waiting)) or "nobody answers"

    # -- carrying out -----------------------------------------------------------------------------------------------

    def _start(self, effect: Effect) -> None:
        self._work = self.tasks.spawn(self._carry_on(effect), name="hand-over")

    async def _carry_on(self, effect: Effect) -> None:
        while True:
            self._say()
            try:
                await self._keep()
            except OSError as error:
                self._log.error("the hand-over cannot be kept on disk, trying again", err=str(error))
                await asyncio.sleep(1.0)
                continue
            self._moved.set()
            if isinstance(effect, Rest):
                return
            effect = self._core.handle(await self._carry_out(effect), self._now_ms())

    async def _carry_out(self, effect: Effect) -> Event:
        try:
            return await self._do(effect)
        except MimirError as error:
            return Failed(str(error))

    async def _do(self, effect: Effect) -> Event:
        match effect:
            case MarkReadOnly(read_only):
                await self._place().set_read_only(read_only)
                if not read_only:
                    self._leaver.unseal()
            case AskDistributors():
                return await self._asking.ask_distributors()
            case Flush():
                self._leaver.seal()
                blocks = await self._leaver.flush_and_ship()
                until_s = max((each.maxt // 1000 + 1 + self._needed_s(each.tenant) for each in blocks), default=0)
                return Flushed(blocks, until_s)
            case AskCompactors(blocks):
                return await self._asking.ask_compactors(blocks)
            case WriteRecord(record):
                await self._records.write(record)
            case AskStoreGateways(asked):
                return await self._asking.ask_store_gateways(asked)
            case AskQueriers(name, updated_ms):
                return await self._asking.ask_queriers(name, updated_ms)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case LeaveRing():
                await self._place().leave()
            case Rest():
                pass
        return Done()

    async def _keep(self) -> None:
        """Before anything is done by it. An ingester that has left or stays has nothing to take up."""
        state = self.progress
        wanted = None if state.ended else Kept(state.round_ms, state.record, state.status is Status.GOING_BACK)
        if wanted != self._kept:
            await self._offload.run(write_kept, self._directory, wanted)
            self._kept = wanted

    def _say(self) -> None:
        """Progress: each new action once, and what it waits for now and then."""
        state = self.progress
        if state.ended or state.status is Status.STUCK:
            self._log.info("hand-over " + state.status.value, waiting=self._waiting_text() if state.waiting else "")
            return
        text, now = f"{state.status.value} {state.action.value}", self._clock.monotonic()
        if text != self._said[0]:
            self._log.info("hand-over: " + state.action.value, step=int(state.step), going=state.status.value)
        elif state.waiting and now - self._said[1] >= _SAID_S:
            self._log.info("hand-over waits", action=state.action.value, waiting=self._waiting_text())
        else:
            return
        self._said = (text, now)

    def _now_ms(self) -> int:
        return self._clock.now_ms()
