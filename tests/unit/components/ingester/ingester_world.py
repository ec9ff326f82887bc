"""An ingester for tests, with real heads in a temporary directory and inline threads; what a test may turn of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from mimir_rw._native import LocalBlock, WriteBatch
from mimir_rw.components.ingester.service import IngesterService
from mimir_rw.components.ingester.tenant import BlockShipper
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import IngesterConfig, IngesterInstanceLimits
from mimir_rw.config.tsdb import TsdbConfig
from mimir_rw.kit.clock import Clock, SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import ServiceState
from mimir_rw.model.labels import Matcher
from mimir_rw.ring.desc import InstanceDesc, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import RingView, empty_view, ring_view
from mimir_rw.storage.contract import SelectHints
from tests.unit.tsdb.batches import KEY, START_MS, batch, up

ME = "ingester-a-1"
HINTS = SelectHints(mint=0, maxt=1 << 50)


class FakeRing:
    """A ring that a test changes."""

    def __init__(self) -> None:
        self._view = empty_view(RingSettings())
        self._watchers: list[Callable[[RingView], None]] = []

    def view(self) -> RingView:
        return self._view

    def watch(self, watcher: Callable[[RingView], None]) -> Callable[[], None]:
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def become(self, *instances: InstanceDesc) -> None:
        self._view = ring_view(RingDesc(instances), RingSettings(replication_factor=3, zone_awareness=True))
        for watcher in self._watchers:
            watcher(self._view)


class World:
    """What a test may turn."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.limits = Limits(defaults=TenantLimits(out_of_order_time_window=0))
        self.instance = IngesterInstanceLimits()
        self.metrics = Metrics()
        self.ring = FakeRing()
        self.key = KEY
        self.tsdb = TsdbConfig()
        self.clock: Clock = SystemClock()
        self.new_shipper: Callable[[str, Path], BlockShipper] | None = None

    def service(self) -> IngesterService:
        self.metrics = Metrics()
        return IngesterService(
            config=IngesterConfig(rate_update_period=10),
            tsdb=replace(self.tsdb, dir=str(self.directory)),
            limits=self.limits,
            instance_limits=lambda: self.instance,
            offload=InlineOffload(),
            clock=self.clock,
            metrics=self.metrics,
            discarded_samples=self.metrics.counters("cortex_discarded_samples_total", "", ("reason", "user")),
            discarded_exemplars=self.metrics.counters("cortex_discarded_exemplars_total", "", ("reason", "user")),
            series_key=lambda: self.key,
            ring=self.ring,
            instance_id=ME,
            rng=seeded_rng(1),
            open_block=LocalBlock,
            new_shipper=self.new_shipper,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[IngesterService]:
        service = self.service()
        life = asyncio.create_task(service.live())
        assert await service.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING, service.failure
        yield service
        service.request_stop()
        await life
        assert service.failure is None

    def metric(self, line: str) -> float:
        """Value of the exposition line that begins with `line`."""
        found = [text for text in self.metrics.render().decode().splitlines() if text.startswith(line + " ")]
        return float(found[0].rsplit(" ", 1)[1])


async def stored(service: IngesterService, tenant: str, *matchers: Matcher) -> dict[str, list[float]]:
    found = await service.select(tenant, matchers, HINTS)
    columns = found.decode(0, len(found.labels), HINTS.mint, HINTS.maxt)
    ends = columns.offsets.tolist()
    rows = found.labels.rows()
    return {row["instance"]: columns.values[ends[i] : ends[i + 1]].tolist() for i, row in enumerate(rows)}


def scrape(step: int, *instances: str) -> WriteBatch:
    return batch(*(up(i, (START_MS + step * 1000, float(step))) for i in instances))
