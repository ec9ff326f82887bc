"""What the pages show of the compactor: of each tenant, what is planned, under way, done, failed and set aside."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mimir_rw.components.compactor.jobs import CompactionJob
from mimir_rw.components.compactor.planner import Plan

RECENT_MAX = 20


@dataclass(frozen=True, slots=True)
class JobEnd:
    """error: "" when it succeeded."""

    key: str
    ended_ms: int
    error: str
    results: tuple[str, ...] = ()


@dataclass(slots=True)
class TenantProgress:
    planned_ms: int = 0
    """When `plan` was made; 0: not yet."""
    plan: Plan = field(default_factory=Plan)
    blocks: int = 0
    running: dict[str, int] = field(default_factory=dict)
    """Keys of jobs under way, and when they began."""
    recent: deque[JobEnd] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    broken: dict[str, str] = field(default_factory=dict)
    """Blocks whose meta.json cannot be read, and why."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """Blocks that this process marked no-compact, and why; the newest few."""
    failure: str = ""
    """What stopped the tenant's last run."""

    def begins(self, job: CompactionJob, now_ms: int) -> None:
        self.running[job.key] = now_ms

    def ends(self, job: CompactionJob, now_ms: int, *, error: str = "", results: tuple[str, ...] = ()) -> None:
        self.running.pop(job.key, None)
        self.recent.appendleft(JobEnd(job.key, now_ms, error, results))

    def sets_aside(self, ulid: str, why: str) -> None:
        self.set_aside[ulid] = why
        while len(self.set_aside) > RECENT_MAX:
            del self.set_aside[next(iter(self.set_aside))]


class Progress:
    """By tenant; those that are in the bucket no longer are dropped with each look at it."""

    def __init__(self) -> None:
        self.tenants: dict[str, TenantProgress] = {}

    def of(self, tenant: str) -> TenantProgress:
        return self.tenants.setdefault(tenant, TenantProgress())

    def keep(self, tenants: list[str]) -> None:
        for tenant in set(self.tenants) - set(tenants):
            del self.tenants[tenant]
