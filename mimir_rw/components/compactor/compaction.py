"""The runs over all tenants: plan, and do what of the plan is this compactor's.

Every compactor of a tenant's shard plans for the tenant and does the jobs whose keys are its own on the ring; the one
that owns the tenant marks superfluous blocks too. Plans are pure, so all see the same jobs as soon as they see the same
blocks. Jobs of all tenants share a number of slots.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from mimir_rw.components.compactor.jobs import CompactionJob
from mimir_rw.components.compactor.merge_process import MergeFailed
from mimir_rw.components.compactor.metrics import CompactorMetrics
from mimir_rw.components.compactor.planner import Plan, PlannerSettings, plan
from mimir_rw.components.compactor.progress import Progress, TenantProgress
from mimir_rw.components.compactor.runner import JobDone, JobRunner, JobStale, SourceUnreadable
from mimir_rw.components.compactor.store import BlockStore
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.rng import Rng
from mimir_rw.model.errors import MimirError

BACKOFF_MIN_S = 10.0
BACKOFF_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class CompactionSettings:
    concurrency: int
    tries: int
    """Of a job in one run."""
    run_s_max: float
    """No job of a tenant is begun later than this; 0: no limit."""
    enabled: frozenset[str] = frozenset()
    """Tenants; empty: all."""
    disabled: frozenset[str] = frozenset()

    def compacts(self, tenant: str) -> bool:
        return (not self.enabled or tenant in self.enabled) and tenant not in self.disabled


class Owns(Protocol):
    """Which work is this compactor's (`ownership.Ownership`)."""

    def shares(self, tenant: str) -> bool: ...

    def owns_tenant(self, tenant: str) -> bool: ...

    def owns_job(self, job: CompactionJob) -> bool: ...


class _End(enum.Enum):
    """How a try of a job ended."""

    DONE = "done"
    STALE = "stale"
    SET_ASIDE = "set aside"
    FAILED = "failed"


class Compaction:
    def __init__(
        self,
        *,
        store: BlockStore,
        runner: JobRunner,
        owns: Owns,
        settings: CompactionSettings,
        planner: Callable[[str], PlannerSettings],
        progress: Progress,
        metrics: CompactorMetrics,
        clock: Clock,
        rng: Rng,
    ) -> None:
        """planner: the settings of a tenant."""
        self._store = store
        self._runner = runner
        self._owns = owns
        self._settings = settings
        self._planner = planner
        self._progress = progress
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._log: Logger = get_logger(component="compactor")

    async def run(self) -> None:
        """One run over all tenants. Errors end with the tenant that they are about."""
        metrics = self._metrics
        metrics.runs_started.inc()
        try:
            tenants = await self._store.tenants()
        except MimirError as error:
            metrics.runs_failed.labels("error").inc()
            self._log.error("the tenants cannot be listed", err=str(error))
            return
        self._progress.keep(tenants)
        self._rng.shuffle(tenants)
        mine = [tenant for tenant in tenants if self._settings.compacts(tenant) and self._owns.shares(tenant)]
        metrics.tenants_discovered.set(len(tenants))
        metrics.tenants_skipped.set(len(tenants) - len(mine))
        metrics.tenants_succeeded.set(0)
        metrics.tenants_failed.set(0)
        failed = False
        for tenant in mine:
            if await self._tenant(tenant):
                metrics.tenants_succeeded.inc()
            else:
                metrics.tenants_failed.inc()
                failed = True
        if failed:
            metrics.runs_failed.labels("error").inc()
        else:
            metrics.runs_completed.inc()
            metrics.last_success.set(self._clock.now_ms() / 1000)

    async def tenants(self) -> list[str]:
        """All that are in the bucket."""
        return await self._store.tenants()

    async def look(self, tenant: str) -> Plan:
        """A plan of the blocks that are there now; progress is brought up to date with it."""
        progress = self._progress.of(tenant)
        found = await self._store.load(tenant)
        planned = Plan()
        now_ms = self._clock.now_ms()
        if not found.deleted:
            planned = plan(tenant, found.whole, self._planner(tenant), now_ms)
        progress.plan, progress.planned_ms, progress.blocks = planned, now_ms, len(found.whole)
        progress.broken = dict(found.broken)
        self._metrics.broken_metas.labels(tenant).set(len(found.broken))
        for ulid, why in found.broken.items():
            self._log.error("block left out, its meta.json cannot be read", tenant=tenant, block=ulid, err=why)
        return planned

    async def _tenant(self, tenant: str) -> bool:
        """All that is to be done for a tenant now; whether all of it was."""
        progress = self._progress.of(tenant)
        try:
            progress.failure = await self._work(tenant, progress)
        except MimirError as error:
            progress.failure = str(error)
            self._log.error("tenant not compacted", tenant=tenant, err=str(error))
        return not progress.failure

    async def _work(self, tenant: str, progress: TenantProgress) -> str:
        """Plan and do until nothing is left to do, or the time is up. What failed for good, "" if nothing did."""
        begin = self._clock.monotonic()
        tries: dict[str, int] = {}
        failure = ""
        while not self._late(begin):
            planned = await self.look(tenant)
            if self._owns.owns_tenant(tenant):
                await self._mark_redundant(tenant, planned)
            left = [
                job for job in planned.jobs if self._owns.owns_job(job) and tries.get(job.key, 0) < self._settings.tries
            ]
            if not left:
                break
            ends = await self._do_all(left, begin)
            for key, end in ends.items():
                # A source set aside is not in the next plan: that makes it another job.
                tries[key] = tries.get(key, 0) + (end is not _End.SET_ASIDE)
            if not ends:
                break
            if _End.FAILED in ends.values():
                failure = next((each.error for each in progress.recent if each.error), "a job failed")
            if all(end is _End.FAILED for end in ends.values()):
                await self._back_off(max(tries[key] for key in ends))
        return failure if any(count >= self._settings.tries for count in tries.values()) else ""

    async def _back_off(self, tries: int) -> None:
        seconds = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** (tries - 1))
        await asyncio.sleep(seconds * (0.5 + self._rng.random() / 2))

    def _late(self, begin: float) -> bool:
        most = self._settings.run_s_max
        return bool(most) and self._clock.monotonic() - begin >= most

    async def _mark_redundant(self, tenant: str, planned: Plan) -> None:
        for block in planned.redundant:
            covers = " ".join(block.covered_by)
            await self._store.mark_deleted(tenant, block.ulid, f"its samples are in {covers}"[:500])
            self._metrics.garbage.inc()
            self._metrics.marked_for_deletion.labels("duplicate").inc()
            self._log.info("superfluous block marked for deletion", tenant=tenant, block=block.ulid, others=covers)

    async def _do_all(self, jobs: list[CompactionJob], begin: float) -> dict[str, _End]:
        """Do jobs, several at once; how those ended that were begun, by key."""
        ends: dict[str, _End] = {}

        async def one(job: CompactionJob) -> None:
            async with self._slots:
                # The ring may have changed since the plan, and the time may be up.
                if not self._late(begin) and self._owns.owns_job(job):
                    ends[job.key] = await self._do(job)

        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(one(job))
        return ends

    async def _do(self, job: CompactionJob) -> _End:
        metrics, progress = self._metrics, self._progress.of(job.tenant)
        begin = self._clock.monotonic()
        progress.begins(job, self._clock.now_ms())
        metrics.jobs_started.inc()
        metrics.jobs_running.inc()
        log = self._log.bind(tenant=job.tenant, job=job.key)
        log.info("compaction job begins", blocks=" ".join(meta.ulid for meta in job.blocks))
        end, error = _End.FAILED, "cut off"
        results: tuple[str, ...] = ()
        try:
            done = await self._runner.run(job)
            end, error, results = _End.DONE, "", tuple(meta.ulid for meta in done.results)
            self._count(job, done, self._clock.monotonic() - begin)
            log.info("compaction job done", results=" ".join(results), bytes=done.source_bytes)
        except JobStale as stale:
            end, error = _End.STALE, ""
            log.info("compaction job not needed any more", why=str(stale))
        except SourceUnreadable as unreadable:
            end, error = _End.SET_ASIDE, str(unreadable)
            progress.sets_aside(unreadable.ulid, error)
            metrics.marked_no_compact.labels(unreadable.reason).inc()
        except (MimirError, MergeFailed, OSError) as failed:
            error = str(failed)
            metrics.jobs_failed.labels("error").inc()
            log.error("compaction job failed", err=error)
        finally:
            metrics.jobs_running.dec()
            progress.ends(job, self._clock.now_ms(), error=error, results=results)
        return end

    def _count(self, job: CompactionJob, done: JobDone, seconds: float) -> None:
        metrics = self._metrics
        metrics.jobs_completed.inc()
        metrics.compactions.inc()
        metrics.vertical.inc(overlapping(job))
        metrics.job_duration.observe(seconds)
        metrics.merge_cpu.inc(done.merged.cpu_s)
        metrics.merge_peak.set(done.merged.peak_bytes)
        metrics.merged_samples.inc(sum(output.samples for output in done.merged.outputs))
        metrics.marked_for_deletion.labels("compaction").inc(len(job.blocks))


def overlapping(job: CompactionJob) -> bool:
    """Whether any two of its blocks do."""
    blocks = sorted(job.blocks, key=lambda meta: meta.min_time)
    return any(b.min_time < a.max_time for a, b in pairwise(blocks))
