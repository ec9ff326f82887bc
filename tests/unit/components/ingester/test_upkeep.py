"""What an ingester does by timer and when asked: cut, upload, forget, close, leave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mimir_rw.components.ingester.upkeep import Idleness, Reason, reason_to_cut
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.model.errors import Unavailable
from mimir_rw.tsdb.directory import SHUTDOWN_NAME
from tests.unit.components.ingester.ingester_world import World, scrape, stored
from tests.unit.tsdb.batches import START_MS

HOUR_MS = 3_600_000


class Clock:
    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class Shipper:
    """Copies names."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._shipped: dict[str, int] = {}
        self.failing = False

    async def ship(self) -> int:
        if self.failing:
            raise Unavailable("the bucket does not answer")
        new = [p.name for p in self._directory.iterdir() if is_ulid(p.name) and p.name not in self._shipped]
        self._shipped |= dict.fromkeys(new, self._clock.now_ms())
        return len(new)

    async def shipped(self) -> Mapping[str, int]:
        return self._shipped


class ShippingWorld(World):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.own_clock = self.clock = Clock()
        self.shippers: dict[str, Shipper] = {}
        self.new_shipper = self._make

    def _make(self, tenant: str, directory: Path) -> Shipper:
        return self.shippers.setdefault(tenant, Shipper(directory, self.own_clock))

    def blocks(self, tenant: str) -> list[BlockMeta]:
        found = (p for p in sorted((self.directory / tenant).iterdir()) if is_ulid(p.name))
        return [BlockMeta.decode((path / "meta.json").read_bytes()) for path in found]


@pytest.fixture
def world(tmp_path: Path) -> ShippingWorld:
    return ShippingWorld(tmp_path / "tsdb")


def test_why_a_head_is_cut() -> None:
    def reason(*, due: bool = False, idle_s: float = 0, empty: bool = False, timeout_s: float = 100) -> Reason | None:
        return reason_to_cut(due, Idleness(idle_s, empty), idle_timeout_s=timeout_s, jitter=0.4)

    assert reason() is None
    assert reason(due=True, idle_s=1000) is Reason.REGULAR
    assert reason(idle_s=109) is None
    assert reason(idle_s=111) is Reason.IDLE
    assert reason(idle_s=111, empty=True) is None
    assert reason(idle_s=111, timeout_s=0) is None


async def test_heads_that_are_due_are_cut_and_queries_see_no_difference(world: ShippingWorld) -> None:
    async with world.running() as service:
        steps = range(0, 4 * 3600, 600)
        for step in steps:
            await service.push("t", scrape(step, "a", "b"))
        await service.push("young", scrape(0, "z"))
        want = await stored(service, "t")
        await service.upkeep.cut_due()
        (meta,) = world.blocks("t")
        assert meta.max_time % (2 * HOUR_MS) == 0
        assert world.blocks("young") == []
        assert await stored(service, "t") == want == {"a": list(map(float, steps)), "b": list(map(float, steps))}
        assert await service.label_values("t", "instance", [], 0, 1 << 50) == ["a", "b"]
        assert world.metric("cortex_ingester_tsdb_compactions_total") == 1
        assert world.metric("cortex_ingester_tsdb_blocks_loaded") == 1
        facts = service.heads()[0]
        assert [block.shipped for block in facts.blocks] == [False]
        assert facts.oldest_only_here_ms == START_MS
        await service.upkeep.ship()
        assert [block.shipped for block in service.heads()[0].blocks] == [True]
        assert service.heads()[0].oldest_only_here_ms == meta.max_time + (START_MS - meta.max_time) % 600_000
    async with world.running() as service:
        assert await stored(service, "t") == want


async def test_idle_heads_are_cut_blocks_forgotten_and_the_tenant_closed_last(world: ShippingWorld) -> None:
    async with world.running() as service:
        for step in range(3):
            await service.push("t", scrape(step, "a"))
        world.own_clock.ms += 2 * HOUR_MS
        await service.upkeep.cut_due()
        assert service.heads()[0].series == 0
        assert await stored(service, "t") == {"a": [0, 1, 2]}
        world.shippers["t"].failing = True
        assert not await service.upkeep.ship()
        world.own_clock.ms += 12 * HOUR_MS
        await service.upkeep.close_idle()
        assert world.metric('cortex_ingester_idle_tsdb_checks_total{result="not_shipped"}') == 1
        world.shippers["t"].failing = False
        assert await service.upkeep.ship()
        world.own_clock.ms += HOUR_MS // 2
        await service.push("t", scrape(9000, "b"))  # it is not idle any more
        await service.upkeep.close_idle()
        world.own_clock.ms += 14 * HOUR_MS
        await service.upkeep.close_idle()
        assert world.metric('cortex_ingester_idle_tsdb_checks_total{result="not_compacted"}') == 1
        await service.upkeep.cut_due()
        await service.upkeep.ship()
        assert [meta.stats.samples for meta in world.blocks("t")] == [1], "the older block is past its retention"
        await service.upkeep.close_idle()
        assert not (world.directory / "t").exists()
        assert await stored(service, "t") == {}
        await service.push("t", scrape(20_000, "a"))
        assert await stored(service, "t") == {"a": [20_000]}


async def test_many_ended_series_are_cut_early(world: ShippingWorld) -> None:
    world.tsdb = replace(world.tsdb, early_head_compaction_min_in_memory_series=10)
    async with world.running() as service:
        await service.push("t", scrape(0, *(f"pod-{i}" for i in range(9))))
        await service.push("t", scrape(1300, "a"))
        world.own_clock.ms += 1_300_000
        await service.upkeep.cut_due()
        assert [meta.stats.series for meta in world.blocks("t")] == [9]
        assert service.heads()[0].series == 1
        assert len(await stored(service, "t")) == 10
        late = await service.push("t", scrape(50, "late"))
        assert late.rejections[0].error_id in ("sample-timestamp-too-old", "sample-out-of-order")


async def test_a_flush_brings_the_tenants_asked_for_to_the_bucket(world: ShippingWorld) -> None:
    async with world.running() as service:
        await asyncio.gather(*(service.push(tenant, scrape(0, "a")) for tenant in ("t1", "t2", "t3")))
        assert await service.flush(["t1", "nobody"])
        assert [len(world.blocks(tenant)) for tenant in ("t1", "t2", "t3")] == [1, 0, 0]
        assert await service.flush(None)
        assert [len(await world.shippers[t].shipped()) for t in ("t1", "t2", "t3")] == [1, 1, 1]
        assert [head.oldest_only_here_ms for head in service.heads()] == [None] * 3
        await service.push("t1", scrape(1, "a"))
        world.shippers["t1"].failing = True
        assert not await service.flush(None)


@pytest.mark.parametrize("prepared", [True, False])
async def test_who_leaves_takes_nothing_more_and_uploads_all_if_wished(world: ShippingWorld, prepared: bool) -> None:
    async with world.running() as service:
        await service.push("t", scrape(0, "a"))
        assert not service.shutdown_prepared
        await service.prepare_shutdown(True)
        await service.prepare_shutdown(prepared)
    async with world.running() as service:
        assert service.shutdown_prepared == prepared == (world.directory / SHUTDOWN_NAME).exists()
        await service.flush_at_stop()
        if not prepared:
            assert world.blocks("t") == []
            return
        with pytest.raises(Unavailable, match="leaving"):
            await service.push("t", scrape(1, "a"))
        assert len(await world.shippers["t"].shipped()) == 1
        assert await stored(service, "t") == {"a": [0]}
    async with world.running() as service:
        world.shippers["t"].failing = True
        await service.push("t", scrape(2, "a"))
        with pytest.raises(Unavailable, match="still here"):
            await service.flush_at_stop()
        await service.prepare_shutdown(False)


async def test_a_block_that_turns_out_damaged_is_set_aside_and_named(world: ShippingWorld) -> None:
    async with world.running() as service:
        await service.push("t", scrape(0, *(f"i{i}" for i in range(50))))
        await service.flush(None)
        await service.push("t", scrape(8000, "a"))
        await service.flush(None)
        (first,) = (meta for meta in world.blocks("t") if meta.stats.series == 50)
        chunks = world.directory / "t" / first.ulid / "chunks" / "000001"
        data = bytearray(chunks.read_bytes())
        data[len(data) // 2] ^= 1
        chunks.write_bytes(data)
        assert await stored(service, "t") == {"a": [8000]}
        ((ulid, reason),) = service.heads()[0].quarantined
        assert ulid == first.ulid
        assert "000001" in reason
        assert world.metric("mimir_rw_ingester_blocks_quarantined_total") == 1
