"""Shippers, compaction's marks and the cleaner at once, over a bucket whose every operation may take hours, fail or
lose its answer: whatever the order, readers of the index meet whole blocks, each once, and nothing shipped is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from mimir_rw.bucket.blocks import mark_deleted
from mimir_rw.bucket.cleaner import Cleaner, CleanerSettings, TenantPolicy
from mimir_rw.bucket.cleaner_metrics import CleanerMetrics
from mimir_rw.bucket.shipper import Shipper, ShipperMetrics
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import Rng, seeded_rng
from mimir_rw.model.errors import MimirError
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.testing.clock import SimClock
from mimir_rw.testing.faulty_bucket import Crashed, Faults, FaultyBucket
from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.trace import Trace
from tests.unit.bucket.bucket_world import TENANT, World, local_block, ulid

HOUR_S = 3600.0
SHIPPERS, BLOCKS_EACH = 2, 3
POLICY = TenantPolicy(partial_delay_s=4 * 3600)


class Scenario(World):
    """Times are the loop's; two hours are the most that an operation takes, four make a partial block old."""

    def __init__(self, loop: SimLoop, place: Path, rng: Rng) -> None:
        super().__init__(place)
        self.clock = SimClock(loop=loop)
        self.bucket = MemoryBucket(clock=self.clock)
        self.rng = rng
        self.shipped: set[str] = set()
        self.marked: set[str] = set()
        self.over = False

    def faulty(self, *, crash_after: int | None = None) -> FaultyBucket:
        faults = Faults(fails=0.03, loses=0.05, slow=0.3, slow_s=2 * HOUR_S)
        return FaultyBucket(self.bucket, rng=self.rng, faults=faults, crash_after=crash_after)

    async def ship(self, number: int) -> None:
        """A process that ships and now and then dies in the middle of it, to come back days later."""
        directory = self.place / f"ingester-{number}"
        for block in range(BLOCKS_EACH):
            local_block(directory, number * BLOCKS_EACH + block, segments=3)
        while not self.over:
            crash_after = self.rng.randrange(12) if self.rng.random() < 0.5 else None
            shipper = Shipper(
                bucket=self.faulty(crash_after=crash_after), tenant=TENANT, directory=directory,
                offload=InlineOffload(), clock=self.clock, metrics=ShipperMetrics(Metrics()),
            )  # fmt: skip
            with contextlib.suppress(MimirError, Crashed):
                await shipper.ship()
            self.shipped |= set(await shipper.shipped())
            await asyncio.sleep(self.rng.random() * 10 * HOUR_S)

    async def compact(self) -> None:
        """Marks what has been shipped long ago, as what was merged into another one."""
        while not self.over:
            await asyncio.sleep(self.rng.random() * 20 * HOUR_S)
            waiting = sorted(self.shipped - self.marked)
            if len(waiting) > 2:
                going = waiting[self.rng.randrange(len(waiting))]
                self.marked.add(going)
                with contextlib.suppress(MimirError):
                    await mark_deleted(self.faulty(), TENANT, going, now_ms=self.clock.now_ms())

    async def clean(self, bucket: FaultyBucket | None = None) -> None:
        cleaner = Cleaner(
            bucket=bucket or self.bucket, clock=self.clock, settings=CleanerSettings(),
            metrics=CleanerMetrics(Metrics()),
        )  # fmt: skip
        await cleaner.clean(TENANT, POLICY)

    async def keep_clean(self) -> None:
        while not self.over:
            await asyncio.sleep(HOUR_S / 4)
            crash_after = self.rng.randrange(40) if self.rng.random() < 0.2 else None
            with contextlib.suppress(MimirError, Crashed):
                await self.clean(self.faulty(crash_after=crash_after))

    async def read(self) -> None:
        while not self.over:
            await asyncio.sleep(0.4 * HOUR_S)
            await self.readable()

    async def run(self) -> None:
        work = [self.ship(number) for number in range(SHIPPERS)]
        work += [self.compact(), self.keep_clean(), self.keep_clean(), self.read()]
        tasks = [asyncio.ensure_future(each) for each in work]
        for _ in range(1000):
            await asyncio.sleep(HOUR_S)
            if len(self.shipped) == SHIPPERS * BLOCKS_EACH:
                break
            for task in tasks:
                assert not task.done(), task.exception()
        self.over = True
        await asyncio.gather(*tasks)
        for _ in range(6):
            await asyncio.sleep(13 * HOUR_S)
            await self.clean()
        everything = {ulid(number) for number in range(SHIPPERS * BLOCKS_EACH)}
        assert self.shipped == everything
        assert await self.readable() >= everything - self.marked
        for name in everything - self.marked:
            await self.whole(name)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_order(seed: int, tmp_path: Path) -> None:
    loop = SimLoop(trace=Trace())
    try:
        loop.run_until_complete(Scenario(loop, tmp_path, seeded_rng(seed)).run())
    finally:
        loop.close()
