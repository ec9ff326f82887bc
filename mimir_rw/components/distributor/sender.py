"""The way to one ingester: queue, messages with group commit and series references, circuit breaker.

A job offered here ends once: with the ingester's outcome, or with an error when there is no room, the ingester is
not asked (its connection is down or its breaker open), or no answer came in time. Rows sent without labels that the
ingester could not resolve are sent again with labels before anything else of their tenant (see group_queue.py).
All of it runs on the event loop; encoding large parts runs on the Offload.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mimir_rw._native import SentSeries
from mimir_rw.components.distributor.breaker import CircuitBreaker
from mimir_rw.components.distributor.group_queue import GroupQueue
from mimir_rw.components.distributor.metrics import SenderMetrics
from mimir_rw.components.distributor.part import PartJob, PartOutcome, with_resent
from mimir_rw.components.distributor.references import References
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.kit.trace import tracing, untraced
from mimir_rw.model.errors import Internal, MimirError, Unavailable
from mimir_rw.rpc.contracts.ingester import EncodedPart, Ingester, IngesterPeer, PushResult, U32Column

INLINE_BYTES_MAX = 1 << 20
"""Bytes of parts up to which a message is encoded on the event loop: mostly copying, some hundred microseconds."""

_STOPPING = "the distributor is shutting down"


class Sender(Protocol):
    def offer(self, job: PartJob) -> None:
        """Have the job stored. Returns at once; the job may have ended by then."""
        ...

    def age(self) -> None:
        """Called now and then, to forget what is used no more."""
        ...

    def stop(self) -> None:
        """End all that waits; what is on the way is cancelled with the tasks."""
        ...


@dataclass(frozen=True, slots=True)
class _Unresolved:
    """A job some of whose rows are to be sent again. sent: what the ingester was taken to hold. labelled: the rows (of
    the batch) that went with labels. first: the outcome of the others."""

    job: PartJob
    sent: SentSeries | None
    labelled: U32Column
    first: PushResult


class LocalSender:
    """To the ingester of this process: the object itself, which has queues and bounds of its own."""

    def __init__(self, *, ingester: Ingester, tasks: TaskSupervisor) -> None:
        self._ingester = ingester
        self._tasks = tasks

    def offer(self, job: PartJob) -> None:
        self._tasks.spawn(self._store(job), name="push to the ingester here")

    def age(self) -> None: ...

    def stop(self) -> None: ...

    async def _store(self, job: PartJob) -> None:
        try:
            results = await self._ingester.push_group([job.local()])
            job.finish(results[0])
        except MimirError as error:
            job.finish(error)
        finally:
            job.finish(Unavailable(_STOPPING))


class IngesterSender:
    def __init__(
        self,
        *,
        instance_id: str,
        peer: IngesterPeer,
        queue: GroupQueue[PartJob],
        breaker: CircuitBreaker,
        references: References | None,
        timeout_s: float,
        clock: Clock,
        rng: Rng,
        offload: Offload,
        tasks: TaskSupervisor,
        metrics: SenderMetrics,
    ) -> None:
        """timeout_s: for the answer to one message. references: None sends labels always."""
        self._id = instance_id
        self._peer = peer
        self._queue = queue
        self._breaker = breaker
        self._references = references
        self._timeout_s = timeout_s
        self._clock = clock
        self._rng = rng
        self._offload = offload
        self._tasks = tasks
        self._metrics = metrics
        self._pumping = False
        self._lost = False
        """The connection, since the last look."""
        self._epoch = peer.epoch

    def offer(self, job: PartJob) -> None:
        refusal = self._refusal()
        if refusal is None and job.extended and not self._peer.extended:
            refusal = Unavailable(
                f"ingester {self._id} is of an older release, which does not take native histograms or exemplars; try "
                "again when the cluster is updated"
            )
        if refusal is None and not self._queue.offer(job):
            refusal = Unavailable(
                f"too much waits for ingester {self._id} (-distributor.ingester-queue-bytes-max, "
                "-distributor.ingester-queue-series-max); try again later"
            )
            self._metrics.queue_full.inc()
        if refusal is not None:
            job.finish(refusal)
            return
        self._metrics.queued(self._queue.bytes, self._queue.rows)
        self._pump_soon()

    def age(self) -> None:
        if self._references is not None:
            self._references.age()

    def stop(self) -> None:
        self._fail_waiting(Unavailable(f"nothing more is written to ingester {self._id}"))
        self._metrics.remove()

    # -- messages ---------------------------------------------------------------------------------------------------

    def _refusal(self) -> MimirError | None:
        """Why nothing is sent now, or None."""
        if not self._peer.healthy:
            self._lost = True
            return Unavailable(f"ingester {self._id} cannot be reached")
        self._look_who_is_there()
        if self._breaker.refuses(self._clock.monotonic()):
            self._metrics.breaker_open.inc()
            return Unavailable(f"ingester {self._id} has not answered of late and is left alone for a while")
        return None

    def _look_who_is_there(self) -> None:
        """A new connection, or another life of the ingester, has shown that it works better than any probe would: what
        its last life or connection did wrong counts no more."""
        epoch = self._peer.epoch
        if self._lost or epoch != self._epoch:
            self._lost, self._epoch = False, epoch
            self._breaker.succeeded()

    def _pump_soon(self) -> None:
        """Form messages once the callbacks that are ready now have run, so that what arrives together goes together."""
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump, context=untraced())

    def _pump(self) -> None:
        self._pumping = False
        refusal = self._refusal()
        if refusal is not None:
            self._fail_waiting(refusal)
            return
        while jobs := self._queue.take():
            if not self._breaker.allows(self._clock.monotonic()):
                self._end(jobs, Unavailable(f"ingester {self._id} is being tried with another push"))
                self._queue.message_ended(jobs)
                continue
            self._tasks.spawn(self._deliver(jobs), name=f"push to {self._id}")

    async def _deliver(self, jobs: list[PartJob]) -> None:
        """Send one message and, for what it left unresolved, another; every job ends. A message that several pushes
        share carries the trace of the first."""
        try:
            with tracing(jobs[0].trace_id):
                await self._exchange(self._timely(jobs))
        except MimirError as error:
            self._end(jobs, error)
        except OffloadFull as error:
            self._end(jobs, Unavailable(str(error)))
        finally:
            self._end(jobs, Unavailable(_STOPPING))  # those that have not: it was cancelled
            self._queue.message_ended(jobs)
            self._pump_soon()

    def _timely(self, jobs: list[PartJob]) -> list[PartJob]:
        """The jobs that somebody may still wait for; the others end."""
        now_s = self._clock.monotonic()
        late = [job for job in jobs if job.deadline_s <= now_s]
        self._end(late, Unavailable(f"ingester {self._id} is too slow: the push waited for its turn until too late"))
        return [job for job in jobs if not job.ended]

    async def _exchange(self, jobs: list[PartJob]) -> None:
        if not jobs:
            return
        epoch = self._peer.epoch
        known = [self._known(job, epoch) for job in jobs]
        encoded = await self._encode(jobs, known)
        results = await self._call([part for part, _ in encoded])
        again: list[_Unresolved] = []
        for job, sent, (_, labelled), result in zip(jobs, known, encoded, results, strict=True):
            if isinstance(result, PushResult) and len(result.unresolved):
                again.append(_Unresolved(job, sent, labelled, result))
                continue
            if sent is not None and isinstance(result, PushResult) and self._peer.epoch == epoch:
                _learn(sent, job, labelled, result)
            self._end([job], result)
        if again:
            await self._send_again(again, epoch)
        if self._references is not None and any(len(labelled) for _, labelled in encoded):
            self._metrics.references.set(len(self._references))

    async def _send_again(self, again: list[_Unresolved], epoch: str) -> None:
        """Rows that the ingester does not know, now with labels."""
        self._metrics.unresolved.inc(sum(len(each.first.unresolved) for each in again))
        rows = [each.job.whole_rows(each.first.unresolved) for each in again]
        for each, whole in zip(again, rows, strict=True):
            if each.sent is not None:
                each.sent.remove(each.job.source.batch, whole)
        results = await self._call(
            await self._offload.run(lambda: [each.job.labelled(whole) for each, whole in zip(again, rows, strict=True)])
        )
        for each, whole, result in zip(again, rows, results, strict=True):
            outcome: PartOutcome = result
            if isinstance(result, PushResult):
                if len(result.unresolved):
                    outcome = Internal(f"ingester {self._id} asks again for labels that it was sent")
                else:
                    outcome = with_resent(each.first, result)
                    if each.sent is not None and self._peer.epoch == epoch:
                        _learn(each.sent, each.job, np.union1d(each.labelled, whole), outcome)
            self._end([each.job], outcome)

    async def _encode(
        self, jobs: Sequence[PartJob], known: Sequence[SentSeries | None]
    ) -> list[tuple[EncodedPart, U32Column]]:
        def encode() -> list[tuple[EncodedPart, U32Column]]:
            return [job.encode(sent) for job, sent in zip(jobs, known, strict=True)]

        if sum(job.size for job in jobs) <= INLINE_BYTES_MAX:
            return encode()
        return await self._offload.run(encode)

    async def _call(self, parts: Sequence[EncodedPart]) -> list[PushResult | MimirError]:
        started_s = self._clock.monotonic()
        try:
            results = await self._peer.push_encoded(parts, timeout_s=self._timeout_s)
        except Unavailable:
            self._metrics.failures.inc()
            self._metrics.breaker_failed.inc()
            self._breaker.failed(self._clock.monotonic(), self._rng.random())
            raise
        finally:
            self._metrics.answered(len(parts), self._clock.monotonic() - started_s)
        self._breaker.succeeded()
        self._metrics.breaker_succeeded.inc()
        return results

    def _known(self, job: PartJob, epoch: str) -> SentSeries | None:
        if self._references is None or not epoch or not self._peer.references:
            return None
        return self._references.sent(job.tenant, epoch=epoch, key=job.key)

    # -- ends -------------------------------------------------------------------------------------------------------

    def _end(self, jobs: Sequence[PartJob], outcome: PartOutcome) -> None:
        """End those of the jobs that have not."""
        for job in jobs:
            if not job.ended:
                self._queue.done(job)
                job.finish(outcome)
        self._metrics.queued(self._queue.bytes, self._queue.rows)

    def _fail_waiting(self, why: MimirError) -> None:
        self._end(self._queue.drain(), why)


def _learn(sent: SentSeries, job: PartJob, labelled: U32Column, result: PushResult) -> None:
    """The ingester holds the series whose labels it was sent, but for those it refused."""
    for rejection in result.rejections:
        labelled = np.setdiff1d(labelled, job.whole_rows(rejection.rows))
    if len(labelled):
        sent.add(job.source.batch, labelled)
