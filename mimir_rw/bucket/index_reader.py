"""Bucket indexes for those who read blocks: loaded when a tenant is first asked for, refreshed, dropped when idle.

One load per tenant at a time, shared by all who wait for it. After a failed refresh the last index stays in force and
grows old: `freshness` says what an index of some age still proves (design.md 6), and whoever asks decides. A tenant
without an index has no blocks. All state is changed on the event loop.
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field

from mimir_rw.bucket.index_updater import PACKED_BYTES_MAX
from mimir_rw.bucket.layout import bucket_index_key
from mimir_rw.bucket.parallel import in_parallel
from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import MimirError, Unavailable
from mimir_rw.objstore.contract import Bucket, ObjectNotFound

LOADS_AT_A_TIME = 8
LOOK_S = 5.0
"""How often it is looked what is due."""

_log = get_logger(component="bucket-index")


@dataclass(frozen=True, slots=True)
class IndexReaderSettings:
    refresh_s: float = 900.0
    retry_s: float = 60.0
    """After a failed load."""
    idle_s: float = 3600.0


class Freshness(enum.Enum):
    FRESH = "fresh"
    STALE = "stale"
    """Complete for what was shipped before it was written: ask ingesters for the rest, and warn."""
    EXPIRED = "expired"
    """Blocks that it names may have been deleted: it proves nothing."""


def freshness(index: BucketIndex, *, now_ms: int, stale_s: float, expired_s: float) -> Freshness:
    """stale_s: blocks-storage.bucket-store.bucket-index.max-stale-period. expired_s: deletion delay less a sync
    interval. An index of no tenant (never written) is fresh: it says that there is nothing."""
    age_s = now_ms / 1000 - index.updated_at_s
    if not index.updated_at_s or age_s <= min(stale_s, expired_s):
        return Freshness.FRESH
    return Freshness.STALE if age_s <= expired_s else Freshness.EXPIRED


class IndexReaderMetrics:
    """Those of all readers of the process, by component."""

    def __init__(self, metrics: Metrics) -> None:
        self.loads = metrics.counters("cortex_bucket_index_loads_total", "Loads of bucket indexes.", ("component",))
        self.failures = metrics.counters(
            "cortex_bucket_index_load_failures_total", "Loads of bucket indexes that failed.", ("component",)
        )
        self.durations = metrics.histograms(
            "cortex_bucket_index_load_duration_seconds", "How long bucket indexes took to load.", ("component",)
        )
        self.loaded = metrics.gauges("cortex_bucket_index_loaded", "Bucket indexes in memory.", ("component",))


@dataclass(slots=True)
class _Entry:
    index: BucketIndex | None = None
    failure: MimirError | None = None
    due_s: float = 0.0
    asked_s: float = 0.0
    loading: asyncio.Future[None] | None = field(default=None)


class BucketIndexReader:
    def __init__(
        self,
        *,
        bucket: Bucket,
        component: str,
        settings: IndexReaderSettings,
        clock: Clock,
        rng: Rng,
        metrics: IndexReaderMetrics,
    ) -> None:
        self._bucket = bucket
        self._component = component
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._entries: dict[str, _Entry] = {}

    async def get(self, tenant: str) -> BucketIndex:
        """The index, loaded if it is not there yet. Raises what the last load raised, until a next one is due."""
        entry = self._entries.setdefault(tenant, _Entry())
        entry.asked_s = now_s = self._clock.monotonic()
        if entry.index is None and (entry.failure is None or now_s >= entry.due_s):
            await self._load(tenant, entry)
        if entry.index is None:
            assert entry.failure is not None
            raise entry.failure.with_traceback(None)
        return entry.index

    async def reload(self, tenant: str) -> BucketIndex:
        """Load it now, whatever is known. Raises what the load raises."""
        entry = self._entries.setdefault(tenant, _Entry())
        entry.asked_s = self._clock.monotonic()
        if entry.loading is not None:
            await asyncio.wait((entry.loading,))  # begun before this was asked for
        await self._load(tenant, entry)
        if entry.failure is not None:
            raise entry.failure.with_traceback(None)
        assert entry.index is not None
        return entry.index

    async def at_least(self, tenant: str, version: int) -> BucketIndex:
        """The index, loaded anew when what is known was written before Unix time `version`; it may still be older
        then. 0: as `get`."""
        index = await self.get(tenant)
        return index if index.updated_at_s >= version else await self.reload(tenant)

    async def bring_to(self, tenant: str, version: int) -> None:
        """Have an index written at Unix time `version` or later, if any is in memory: one that is not is loaded when it
        is needed, and is new then. Raises what keeps it from that, Unavailable when there is only an older one."""
        entry = self._entries.get(tenant)
        if entry is None or entry.index is None:
            return
        if (await self.at_least(tenant, version)).updated_at_s < version:
            raise Unavailable(f"the bucket index of {tenant} is older than {version}")

    def loaded(self) -> dict[str, BucketIndex]:
        """All in memory, by tenant."""
        return {tenant: entry.index for tenant, entry in self._entries.items() if entry.index is not None}

    async def refresh(self) -> None:
        """Load what is due again, drop what nobody asked for; a failure is logged and tried again later. That a tenant
        has no index is not looked for again before somebody asks: there may be any number of such tenants."""
        now_s = self._clock.monotonic()
        for tenant, entry in list(self._entries.items()):
            absent = entry.index is not None and not entry.index.updated_at_s and now_s >= entry.due_s
            if (absent and entry.loading is None) or now_s - entry.asked_s > self._settings.idle_s:
                del self._entries[tenant]
        due = [item for item in self._entries.items() if now_s >= item[1].due_s and item[1].loading is None]
        await in_parallel(due, lambda item: self._load(*item), at_a_time=LOADS_AT_A_TIME)
        self._metrics.loaded.labels(self._component).set(len(self.loaded()))

    async def run(self) -> None:
        """For a service's own task: refresh for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.refresh()

    def start(self, tasks: TaskSupervisor) -> None:
        tasks.spawn(self.run(), name="bucket-index-refresh", traced=False)

    async def _load(self, tenant: str, entry: _Entry) -> None:
        """Load once for all who wait; the outcome is in the entry."""
        if entry.loading is not None:
            # The loader's cancellation leaves the entry as it was: whoever waited loads himself.
            await asyncio.wait((entry.loading,))
            if entry.index is not None or entry.failure is not None:
                return
            await self._load(tenant, entry)
            return
        done = entry.loading = asyncio.get_running_loop().create_future()
        try:
            await self._load_now(tenant, entry)
        finally:
            entry.loading = None
            done.set_result(None)

    async def _load_now(self, tenant: str, entry: _Entry) -> None:
        began_s = self._clock.monotonic()
        self._metrics.loads.labels(self._component).inc()
        key = bucket_index_key(tenant)
        wait_s = self._settings.refresh_s
        try:
            entry.index = BucketIndex.decode(await self._bucket.get(key, bytes_max=PACKED_BYTES_MAX), key)
            entry.failure = None
        except ObjectNotFound:
            # Nothing yet: look again soon, for the first blocks of a new tenant should not wait.
            entry.index, entry.failure, wait_s = BucketIndex(), None, self._settings.retry_s
        except MimirError as error:
            self._metrics.failures.labels(self._component).inc()
            _log.warning("bucket index not loaded", user=tenant, err=str(error))
            entry.failure, wait_s = error, self._settings.retry_s
        now_s = self._clock.monotonic()
        self._metrics.durations.labels(self._component).observe(now_s - began_s)
        # Spread, so that the tenants of a process, and its peers, do not come all at once.
        entry.due_s = now_s + wait_s * (0.9 + 0.1 * self._rng.random())
