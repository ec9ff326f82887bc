"""What a compactor shows: tenants, the jobs of one, and the deletion of a tenant. Paths are Mimir's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

import msgspec

from mimir_rw.api import pages
from mimir_rw.api.block_upload import BlockUploadApi
from mimir_rw.api.errors import text_answer
from mimir_rw.api.exchange import JSON_TYPE, Answer, Call
from mimir_rw.api.pages import Markup
from mimir_rw.components.compactor.jobs import CompactionJob
from mimir_rw.components.compactor.planner import Plan
from mimir_rw.components.compactor.progress import TenantProgress
from mimir_rw.components.compactor.uploads import BlockUploads
from mimir_rw.model.errors import NotFound
from mimir_rw.model.tenant import validate_tenant

_NO_STORE = (b"cache-control", b"no-store")


class Compactor(Protocol):
    """See `components.compactor.service.Compactor`."""

    async def tenants(self) -> Sequence[str]: ...

    async def planned(self, tenant: str) -> Plan: ...

    def tenant_progress(self, tenant: str) -> TenantProgress: ...

    async def delete_tenant(self, tenant: str) -> None: ...

    async def tenant_is_empty(self, tenant: str) -> bool: ...


class CompactorPages(BlockUploadApi):
    """With the block upload API: a component's routes are served by one object."""

    def __init__(self, *, compactor: Compactor, uploads: BlockUploads, root: str) -> None:
        super().__init__(uploads=uploads)
        self._compactor = compactor
        self._root = root

    async def tenants(self, call: Call) -> Answer:
        """All tenants of the bucket, and what this compactor has done for them."""
        names = await self._compactor.tenants()
        if call.accepts(b"application/json"):
            return _json({"tenants": [{"tenant": name} for name in names]})
        rows = [self._tenant_row(name, self._compactor.tenant_progress(name)) for name in names]
        columns = ("Tenant", "Blocks", "Planned jobs", "Under way", "Set aside", "Looked at", "Failure")
        return pages.page(
            "Tenants of the bucket",
            pages.table(columns, rows, empty="The bucket is empty."),
            root=self._root,
            wide=True,
        )

    def _tenant_row(self, name: str, found: TenantProgress) -> tuple[str | int, ...]:
        path = f"{self._root}/compactor/tenant/{quote(name, safe='')}/planned_jobs"
        aside = len(found.broken) + len(found.set_aside)
        return (
            pages.link(path, name),
            found.blocks,
            len(found.plan.jobs) + len(found.plan.waiting),
            len(found.running),
            aside,
            _time(found.planned_ms) if found.planned_ms else "not by this compactor",
            found.failure,
        )

    async def planned_jobs(self, call: Call) -> Answer:
        """What a plan of the blocks that are there now would do, and what this compactor has done lately."""
        tenant = validate_tenant(call.path_value("tenant"))
        if tenant not in await self._compactor.tenants():
            raise NotFound(f"tenant {tenant} has nothing in the bucket")
        plan = await self._compactor.planned(tenant)
        found = self._compactor.tenant_progress(tenant)
        if call.accepts(b"application/json"):
            jobs = [_job_json(job) for job in plan.jobs]
            waiting = [{**_job_json(each.job), "ready": _time(each.ready_ms)} for each in plan.waiting]
            return _json({"tenant": tenant, "jobs": jobs, "waiting": waiting, "blocks_set_aside": _aside(found)})
        parts = [
            pages.heading("Planned"),
            pages.table(("Job", "Range", "Shard or group", "Blocks"), map(_job_row, plan.jobs), empty="Nothing."),
            pages.heading("Planned, and waiting for blocks of other ingesters"),
            pages.table(
                ("Job", "Range", "Shard or group", "Blocks", "At the latest"),
                [(*_job_row(each.job), _time(each.ready_ms)) for each in plan.waiting],
                empty="Nothing.",
            ),
            *_past(found),
        ]
        return pages.page(f"Compaction of tenant {tenant}", *parts, root=self._root, wide=True)

    async def delete_tenant(self, call: Call) -> Answer:
        """Mark all of the tenant's blocks for deletion, for good."""
        if call.header(b"origin") is not None:
            return text_answer(403, "not from a page of another site")
        await self._compactor.delete_tenant(call.tenant)
        return Answer(200)

    async def delete_tenant_status(self, call: Call) -> Answer:
        gone = await self._compactor.tenant_is_empty(call.tenant)
        return _json({"tenant_id": call.tenant, "blocks_deleted": gone})


def _past(found: TenantProgress) -> list[Markup]:
    rows = [(key, _time(begin), "under way") for key, begin in found.running.items()]
    rows += [(end.key, _time(end.ended_ms), end.error or " ".join(end.results) or "done") for end in found.recent]
    return [
        pages.heading("Done by this compactor"),
        pages.table(("Job", "When", "What came of it"), rows, empty="Nothing yet."),
        pages.heading("Blocks set aside, because they cannot be read"),
        pages.table(("Block", "Why"), list(_aside(found).items()), empty="None."),
    ]


def _aside(found: TenantProgress) -> dict[str, str]:
    return {**found.broken, **found.set_aside}


def _job_row(job: CompactionJob) -> tuple[str, str, str, str]:
    return (
        job.stage.value,
        f"{_time(job.range_start)} to {_time(job.range_end)}",
        job.shard,
        " ".join(block.ulid for block in job.blocks),
    )


def _job_json(job: CompactionJob) -> dict[str, object]:
    return {
        "key": job.key,
        "stage": job.stage.value,
        "start": _time(job.range_start),
        "end": _time(job.range_end),
        "shard": job.shard,
        "blocks": [block.ulid for block in job.blocks],
    }


def _json(document: object) -> Answer:
    return Answer(200, msgspec.json.encode(document), JSON_TYPE, (_NO_STORE,))


def _time(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return str(ms)
