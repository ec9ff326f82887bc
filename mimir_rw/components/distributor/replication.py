"""Stores batches on the ingesters of the ring: placement of all rows at once, a job per ingester, quorum per row.

An answer is given as soon as every row is decided; jobs that are left go on, each ending by its deadline at the latest.
Where the ring is one ingester in this process the batch goes straight to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from mimir_rw._native import WriteBatch
from mimir_rw.components.distributor.part import PartJob, PartOutcome, PushSource, Share
from mimir_rw.components.distributor.senders import Senders
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import MimirError, Unavailable
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.hashes import metadata_token
from mimir_rw.ring.operations import WRITE_NO_EXTEND
from mimir_rw.ring.placement import Placement
from mimir_rw.ring.quorum import BatchOutcome, BatchTracker
from mimir_rw.ring.view import RingView
from mimir_rw.rpc.contracts.hand_over import ReadOnlySeen
from mimir_rw.rpc.contracts.ingester import Ingester, PushResult, Rejection, U32Column

Answered = tuple[Rejection, ...]
"""All that one ingester refused of its part: a row can be refused for several reasons, for some of its samples each."""


class RingSource(Protocol):
    """A `ring.service.RingService`, as far as it is used here."""

    def view(self) -> RingView: ...

    def watch(self, watcher: Callable[[RingView], None]) -> Callable[[], None]: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch is stored but for this. rejections: with the rows that they are about, none for metadata."""

    rejections: Sequence[Rejection] = ()
    exemplars_refused: int = 0


class BatchStore(Protocol):
    async def store(self, tenant: str, batch: WriteBatch, *, shard_size: int, key: bytes) -> Stored:
        """Store a batch that is hashed with `key` on the tenant's shard of that size (0: the whole ring).

        Returns when every row is either on a quorum or refused by one, with what was refused. Raises Unavailable when
        that does not come about: parts of the batch may have been stored then."""
        ...

    def start(self, tasks: TaskSupervisor) -> None:
        """Before anything is stored; `tasks` run until `drain` has ended."""
        ...

    def sees_read_only(self, instance_id: str) -> ReadOnlySeen:
        """See `rpc.contracts.hand_over.WritePlanner`."""
        ...

    def age(self) -> None:
        """Called every few minutes, to forget what is used no more."""
        ...

    async def drain(self) -> None:
        """Wait, for so long as an ingester may take, for what is left of pushes that were answered already."""
        ...


class RingStore:
    def __init__(
        self,
        *,
        ring: RingSource,
        senders: Callable[[TaskSupervisor], Senders],
        local: tuple[str, Ingester] | None,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        """local: instance id and object of the ingester in this process."""
        self._ring = ring
        self._make_senders = senders
        self._senders: Senders
        self._unwatch: Callable[[], None]
        self._local = local
        self._clock = clock
        self._timeout_s = timeout_s
        self._log = get_logger(component="distributor")
        self._jobs = 0
        """That have not ended."""
        self._under_way: dict[str, int] = {}
        """The same by ingester; those with none are not in it."""
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self, tasks: TaskSupervisor) -> None:
        """See `BatchStore`."""
        self._senders = self._make_senders(tasks)
        self._unwatch = self._ring.watch(self._senders.follow)

    def age(self) -> None:
        """See `BatchStore`."""
        self._senders.age()

    def sees_read_only(self, instance_id: str) -> ReadOnlySeen:
        """See `BatchStore`. A push is planned and handed out without a pause, so what was planned before the ring was
        seen changed is counted here, and what is planned after it goes elsewhere. An ingester that is not in the ring
        is not written to either."""
        view = self._ring.view()
        seen = instance_id not in view or view.desc[instance_id].read_only
        return ReadOnlySeen(seen, self._under_way.get(instance_id, 0))

    async def drain(self) -> None:
        """See `BatchStore`."""
        self._unwatch()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await self._idle.wait()
        self._senders.stop()

    async def store(self, tenant: str, batch: WriteBatch, *, shard_size: int, key: bytes) -> Stored:
        """See `BatchStore`."""
        view, now_s = self._ring.view(), self._clock.now_ms() // 1000
        alone = self._alone(view, now_s)
        if alone is not None:
            result = await self._push_alone(alone, tenant, batch)
            return Stored(result.rejections, result.exemplars_refused)
        shard = view.shuffle_shard(tenant, shard_size)
        placement = shard.replication_sets(row_tokens(tenant, batch), WRITE_NO_EXTEND, now_s=now_s)
        push = _Push(placement, batch)
        self._offer(PushSource(tenant=tenant, batch=batch, key=key), placement, push)
        try:
            async with asyncio.timeout(self._timeout_s):
                outcome = await push.decided
                if outcome.error is not None:
                    others = "; ".join(dict.fromkeys(map(str, outcome.others)))
                    self._log.warning("a push failed", tenant=tenant, err=str(outcome.error), others=others)
                return Stored(refusals(outcome, batch.series_count), push.exemplars_refused())
        except TimeoutError:
            self._log.warning("no quorum answered a push in time", tenant=tenant)
            raise Unavailable(
                f"no quorum of ingesters answered within {self._timeout_s:g} s (-distributor.remote-timeout)"
            ) from None

    async def _push_alone(self, alone: Ingester, tenant: str, batch: WriteBatch) -> PushResult:
        assert self._local is not None
        self._count(self._local[0], 1)
        try:
            return await alone.push(tenant, batch)
        finally:
            self._count(self._local[0], -1)

    def _offer(self, source: PushSource, placement: Placement, push: _Push) -> None:
        """Hand the shares out, a job each."""
        held = shares(placement, source.batch.series_count)
        self._jobs += len(held)
        for instance, _ in held:
            self._count(instance.id, 1)
        self._idle.clear()
        deadline_s = self._clock.monotonic() + self._timeout_s
        for instance, share in held:
            finished = partial(self._ended, push, instance.id)
            self._senders.to(instance).offer(PartJob(source, share, deadline_s=deadline_s, finished=finished))

    def _ended(self, push: _Push, instance_id: str, outcome: PartOutcome) -> None:
        self._jobs -= 1
        self._count(instance_id, -1)
        if not self._jobs:
            self._idle.set()
        push.answered(instance_id, outcome)

    def _count(self, instance_id: str, more: int) -> None:
        count = self._under_way.get(instance_id, 0) + more
        if count:
            self._under_way[instance_id] = count
        else:
            self._under_way.pop(instance_id, None)

    def _alone(self, view: RingView, now_s: int) -> Ingester | None:
        """The ingester here, when it holds everything of everybody."""
        if self._local is None or len(view) != 1 or view.settings.replication_factor != 1:
            return None
        instance_id, ingester = self._local
        instance = view.instances[0]
        writable = instance.id == instance_id and not instance.read_only
        return ingester if writable and view.healthy(instance_id, WRITE_NO_EXTEND, now_s=now_s) else None


class _Push:
    """What one push waits for."""

    def __init__(self, placement: Placement, batch: WriteBatch) -> None:
        self._tracker: BatchTracker[Answered] = BatchTracker(placement)
        self._metadata_row = np.array([batch.series_count], dtype=np.uint32)
        self._answers = 0
        self._exemplars_refused = 0
        """By all ingesters that have answered."""
        self._rows = len(placement.set_of_row)
        self._held: dict[str, int] = {}
        """Rows of each ingester; of a batch without exemplars nobody asks."""
        if batch.exemplar_count:
            for held in placement.by_instance():
                self._held[held.instance.id] = self._rows if held.rows is None else len(held.rows)
        self.decided: asyncio.Future[BatchOutcome[Answered]] = asyncio.get_running_loop().create_future()

    def answered(self, instance_id: str, outcome: PartOutcome) -> None:
        if self.decided.done():
            return
        if isinstance(outcome, PushResult):
            self._answers += self._held.get(instance_id, 0)
            self._exemplars_refused += outcome.exemplars_refused
            rows = [r.rows if len(r.rows) else self._metadata_row for r in outcome.rejections]
            refused = [(np.unique(np.concatenate(rows)), outcome.rejections)] if rows else []
            decision = self._tracker.answered(instance_id, refused)
        else:
            decision = self._tracker.failed(instance_id, outcome)
        if decision is not None:
            self.decided.set_result(decision)

    def exemplars_refused(self) -> int:
        """Of the batch, each exemplar counted once however many ingesters hold its row."""
        return self._exemplars_refused * self._rows // max(self._answers, 1)


def row_tokens(tenant: str, batch: WriteBatch) -> U32Column:
    """Ring token of each series; and of the metadata, if there is any, as one row more, by its first metric's name.

    Metadata need not be where its series are: queriers unite what ingesters have, and each ingester holds as much as
    the tenant may have in all, so that no entry is refused for where the others happen to be."""
    tokens = batch.tokens()
    if not batch.metadata_count:
        return tokens
    _, metric, _, _ = batch.metadata_rows()[0]
    return np.append(tokens, np.uint32(metadata_token(tenant, metric)))


def shares(placement: Placement, series: int) -> list[tuple[InstanceDesc, Share]]:
    """What each ingester is to store; rows from `series` on are the metadata."""
    made: dict[int | None, Share] = {}
    result = []
    for held in placement.by_instance():
        name = None if held.rows is None else id(held.rows)
        share = made.get(name)
        if share is None:
            share = made[name] = Share() if held.rows is None else _share(held.rows, series)
        result.append((held.instance, share))
    return result


def _share(rows: U32Column, series: int) -> Share:
    metadata = bool(len(rows)) and int(rows[-1]) == series
    rows = rows[:-1] if metadata else rows
    return Share(None if len(rows) == series else rows, metadata)


def refusals(outcome: BatchOutcome[Answered], series: int) -> list[Rejection]:
    """What a decided push of so many series is answered with. Raises what kept it from a quorum.

    Where an ingester refused samples of several rows for one reason, and a quorum refused only some of the rows, it is
    taken that each row had as many of them."""
    if outcome.error is not None:
        raise outcome.error
    found = []
    for refused in outcome.refused:
        if isinstance(refused.cause, MimirError):
            raise refused.cause
        parts = [_about(said, refused.rows, series) for said in refused.cause]
        found += [part for part in parts if part is not None]
    return found


def _about(said: Rejection, refused: U32Column, series: int) -> Rejection | None:
    """The part of a rejection that is about these rows; the metadata is the row after the series."""
    if not len(said.rows):
        return said if series in refused else None
    rows = np.intersect1d(said.rows, refused)
    if not len(rows):
        return None
    return Rejection(said.error_id, max(said.count * len(rows) // len(said.rows), 1), said.first, rows)
