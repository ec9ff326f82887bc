"""Cleaning up by timer, and the index that somebody asks for."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from mimir_rw.bucket.cleaner import Cleaner, CleanerSettings
from mimir_rw.bucket.cleaner_metrics import CleanerMetrics
from mimir_rw.bucket.index_updater import read_index
from mimir_rw.bucket.layout import bucket_index_key, meta_key
from mimir_rw.components.compactor.cleaning import Cleaning, policy
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.formats.block_meta import BlockCompaction
from mimir_rw.formats.ulid import make_ulid
from mimir_rw.kit.metrics import Metrics
from mimir_rw.model.errors import NotFound, Unavailable
from tests.unit.components.compactor.bucket_states import HOUR_MS, ulid
from tests.unit.components.compactor.test_compaction import run
from tests.unit.components.compactor.world import TENANT, World, ramp


def cleaning(world: World, *, mine: bool = True, remove_empty: bool = False, **limits: object) -> Cleaning:
    metrics = Metrics()
    cleaner_metrics = CleanerMetrics(metrics)
    return Cleaning(
        bucket=world.bucket,
        cleaner=Cleaner(bucket=world.bucket, clock=world.clock, settings=CleanerSettings(), metrics=cleaner_metrics),
        cleaner_metrics=cleaner_metrics,
        owns_tenant=lambda tenant: mine,
        limits=Limits(defaults=TenantLimits(**limits)),  # type: ignore[arg-type]
        concurrency=2,
        remove_empty_index=remove_empty,
        clock=world.clock,
        metrics=metrics,
    )


async def indexed(world: World) -> list[str] | None:
    found = await read_index(world.bucket, TENANT)
    return None if found is None else [block.ulid for block in found.blocks]


def test_the_index_is_written_for_tenants_of_this_compactor_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 0, ramp(1, 0)))
    run(cleaning(world, mine=False).run())
    assert run(indexed(world)) is None
    run(cleaning(world).run())
    assert run(indexed(world)) == [ulid("a")]


def test_retention_comes_from_the_limits_of_the_tenant(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 0, ramp(1, 0)))
    run(world.block("b", 200, ramp(1, 200)))
    work = cleaning(world, compactor_blocks_retention_period=100 * HOUR_MS)
    run(work.run())
    run(work.run())
    assert world.marked() == {ulid("a")}


@pytest.mark.parametrize(("delay_ms", "seconds"), [(4 * HOUR_MS, 4 * 3600), (4 * HOUR_MS - 1, 0), (0, 0)])
def test_a_short_delay_of_partial_blocks_is_none(delay_ms: int, seconds: int) -> None:
    limits = Limits(defaults=TenantLimits(compactor_partial_block_deletion_delay=delay_ms))
    assert policy(limits, "t").partial_delay_s == seconds


def test_an_index_that_is_asked_for_is_newer_than_the_last(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 0, ramp(1, 0)))
    work = cleaning(world)

    async def ask() -> list[tuple[int, tuple[str, ...]]]:
        loop = asyncio.get_running_loop()
        begin, start_ms = loop.time(), world.clock.ms
        world.clock.now_ms = lambda: start_ms + int((loop.time() - begin) * 1000)  # type: ignore[method-assign]
        found = []
        for _ in range(3):
            written = await work.rewrite_index(TENANT, [ulid("a"), ulid("z")])
            found.append((written.version, written.missing))
        return found

    versions = run(ask())
    assert [missing for _, missing in versions] == [(ulid("z"),)] * 3
    assert versions[0][0] < versions[1][0] < versions[2][0]


def test_a_block_that_was_compacted_and_is_gone_is_not_missed(tmp_path: Path) -> None:
    world = World(tmp_path)
    meta = run(world.block("c", 0, ramp(1, 0)))
    a, b, other = (make_ulid(world.clock.ms - HOUR_MS, bytes([number] * 10)) for number in range(3))
    made = dataclasses.replace(meta, compaction=BlockCompaction(level=2, sources=(a, b)))
    run(world.memory.upload(meta_key(TENANT, meta.ulid), made.encode()))
    assert run(cleaning(world).rewrite_index(TENANT, [a, b, other])).missing == (other,)


def test_a_block_that_the_retention_took_is_not_missed(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 200, ramp(1, 200)))
    now, old = (make_ulid(world.clock.ms - hours * HOUR_MS, bytes(10)) for hours in (0, 101))
    work = cleaning(world, compactor_blocks_retention_period=100 * HOUR_MS)
    assert run(work.rewrite_index(TENANT, [now, old])).missing == (now,)


def test_an_index_far_in_the_future_is_not_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 0, ramp(1, 0)))
    run(cleaning(world).run())
    world.clock.ms -= HOUR_MS
    with pytest.raises(Unavailable, match="ahead of this process's clock"):
        run(cleaning(world).rewrite_index(TENANT, []))


def test_the_index_of_a_tenant_without_blocks_goes_if_that_is_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 0, ramp(1, 0)))
    work = cleaning(world, remove_empty=True)
    run(work.run())
    for key in [key for key in world.memory.objects if ulid("a") in key]:
        del world.memory.objects[key]
    run(work.run())
    assert bucket_index_key(TENANT) not in world.memory.objects


def test_a_tenant_that_is_deleted_has_no_index(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 0, ramp(1, 0)))
    work = cleaning(world)
    assert not run(work.is_empty(TENANT))
    run(work.mark_tenant_deleted(TENANT))
    run(work.run())
    assert run(work.is_empty(TENANT))
    with pytest.raises(NotFound, match="being deleted"):
        run(work.rewrite_index(TENANT, []))


def test_one_tenant_that_fails_does_not_keep_others_from_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    run(world.block("a", 0, ramp(1, 0)))
    run(world.memory.upload("broken/markers/tenant-deletion-mark.json", b"{"))
    run(cleaning(world).run())
    assert run(indexed(world)) == [ulid("a")]
