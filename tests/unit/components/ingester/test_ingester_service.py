"""The ingester with real heads in a temporary directory; threads are inline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mimir_rw._native import WriteBatch, decode_batch
from mimir_rw.components.ingester import ownership
from mimir_rw.components.ingester import service as module
from mimir_rw.components.ingester.service import IngesterService
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import IngesterInstanceLimits
from mimir_rw.kit.service import ServiceState
from mimir_rw.model.errors import BadRequest, Overloaded, Unavailable
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc
from mimir_rw.rpc.contracts.ingester import NO_ROWS, PushPart, PushResult
from tests.unit.components.ingester.ingester_world import HINTS, ME, World, scrape, stored
from tests.unit.tsdb.batches import KEY, START_MS, batch, up


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "tsdb")


async def test_pushes_are_stored_by_tenant_and_survive_a_restart(world: World) -> None:
    async with world.running() as service:
        results = await asyncio.gather(*(service.push("t1", scrape(step, "a", "b")) for step in range(5)))
        assert [r.samples_stored for r in results] == [2] * 5
        await service.push("t2", scrape(0, "z"))
        assert await stored(service, "t1", Matcher(MatchType.EQUAL, "instance", "b")) == {"b": [0, 1, 2, 3, 4]}
        assert world.metric("cortex_ingester_memory_series") == 3
        assert world.metric("cortex_ingester_memory_users") == 2
        assert world.metric('cortex_ingester_ingested_samples_total{user="t1"}') == 10
    async with world.running() as service:
        assert await stored(service, "t1") == {"a": [0, 1, 2, 3, 4], "b": [0, 1, 2, 3, 4]}
        assert await stored(service, "t2") == {"z": [0]}
        assert await stored(service, "nobody") == {}
        assert [(s.tenant, s.series) for s in await service.all_user_stats()] == [("t1", 2), ("t2", 1)]
        assert [(h.tenant, h.max_time_ms) for h in service.heads()] == [("t1", START_MS + 4000), ("t2", START_MS)]
        assert await service.label_values("t1", "instance", [], 0, 1 << 50) == ["a", "b"]
        assert await service.label_names("t2", [], 0, 1 << 50) == ["__name__", "instance"]
        assert len(await service.series("t1", [[Matcher(MatchType.EQUAL, "instance", "a")]], 0, 1 << 50)) == 1


async def test_refusals_carry_id_count_and_text(world: World) -> None:
    world.limits = Limits(defaults=TenantLimits(max_global_series_per_user=2, out_of_order_time_window=0))
    async with world.running() as service:
        await service.push("t", scrape(1, "a"))
        result = await service.push("t", scrape(0, "a", "b", "c"))
        assert result.samples_stored == 1
        order, limit = result.rejections
        assert (order.error_id, order.count) == ("sample-out-of-order", 1)
        assert order.first.endswith('it is at 2023-11-14T22:13:20Z in series up{instance="a"}')
        assert (limit.error_id, limit.count) == ("max-series-per-user", 1)
        assert 'keeps up{instance="c"} out' in limit.first
        assert "-ingester.max-global-series-per-user" in limit.first
        assert world.metric('cortex_discarded_samples_total{reason="per_user_series_limit",user="t"}') == 1
        assert world.metric('cortex_ingester_ingested_samples_failures_total{user="t"}') == 2


async def test_limits_follow_a_reload(world: World) -> None:
    async with world.running() as service:
        world.limits.replace_overrides({"t": TenantLimits(out_of_order_time_window=60_000)})
        await service.push("t", scrape(10, "a"))
        assert (await service.push("t", scrape(5, "a"))).samples_stored == 1
        world.limits.replace_overrides({"t": TenantLimits(out_of_order_time_window=0)})
        assert (await service.push("t", scrape(4, "a"))).rejections[0].error_id == "sample-out-of-order"
        assert await stored(service, "t") == {"a": [5, 10]}


async def test_metadata_is_kept_beside_samples(world: World) -> None:
    async with world.running() as service:
        entries = batch(up("a", (START_MS, 1.0)), metadata=[(2, "up", "Whether it is up.", "")])
        await service.push("t", entries)
        await service.push("only-metadata", batch(metadata=[(1, "x_total", "h", "")]))
        (entry,) = await service.metadata("t", "up")
        assert (entry.metric, entry.type, entry.help) == ("up", "gauge", "Whether it is up.")
        assert await service.metadata("t", "none") == []
        assert len(await service.metadata("only-metadata")) == 1
        assert await service.metadata("nobody") == []


@pytest.mark.parametrize(
    ("bound", "error_id"),
    [
        ({"max_tenants": 1}, "ingester-max-tenants"),
        ({"max_series": 1}, "ingester-max-series"),
        ({"max_inflight_push_requests": 1}, "ingester-max-inflight-push-requests"),
        ({"max_inflight_push_requests_bytes": 2}, "ingester-max-inflight-push-requests-bytes"),
    ],
)
async def test_limits_of_the_process(world: World, bound: dict[str, int], error_id: str) -> None:
    async with world.running() as service:
        await service.push("t1", scrape(0, "a"))
        world.instance = replace(world.instance, **bound)
        if "inflight" in error_id:
            first = asyncio.create_task(service.push("t1", scrape(1, "a")))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match=rf"{error_id}\)"):
                await service.push("t1", scrape(2, "a"))
            await first
            return
        with pytest.raises(Overloaded, match=rf"{error_id}\)"):
            await service.push("t2", scrape(0, "a"))


async def test_the_series_limit_of_the_process_holds_inside_a_tenant(world: World) -> None:
    world.instance = IngesterInstanceLimits(max_series=2)
    async with world.running() as service:
        await service.push("t1", scrape(0, "a"))
        with pytest.raises(Overloaded, match="max-series"):
            await service.push("t1", scrape(1, "a", "b", "c"))
        assert await stored(service, "t1") == {"a": [0, 1], "b": [1]}


async def test_a_second_process_cannot_open_the_directory(world: World) -> None:
    async with world.running():
        second = world.service()
        await second.live()
        assert second.state is ServiceState.FAILED
        assert "in use by another process" in str(second.failure)


async def test_a_bad_matcher_is_the_callers_fault(world: World) -> None:
    async with world.running() as service:
        await service.push("t", scrape(0, "a"))
        with pytest.raises(BadRequest):
            await service.select("t", [Matcher(MatchType.REGEX, "a", "(")], HINTS)


async def test_a_damaged_tenant_is_unavailable_and_the_others_are_served(world: World) -> None:
    async with world.running() as service:
        await service.push("good", scrape(0, "a"))
    checkpoint = world.directory / "bad" / "wal" / "checkpoint.00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "00000000").write_bytes(b"\x55" * 100)
    async with world.running() as service:
        assert await stored(service, "good") == {"a": [0]}
        with pytest.raises(Unavailable, match="bad"):
            await service.push("bad", scrape(0, "a"))
        with pytest.raises(Unavailable, match="bad"):
            await service.select("bad", [], HINTS)
        assert service.readiness() is None
        ((name, reason),) = service.broken()
        assert name == "bad"
        assert "checkpoint.00000003" in reason
        assert world.metric("mimir_rw_ingester_broken_tenants") == 1


async def test_damage_and_torn_tails_are_counted(world: World) -> None:
    async with world.running() as service:
        await service.push("torn", scrape(0, "a"))
        await service.push("hurt", scrape(0, "a"))
        await service.push("hurt", scrape(1, "a"))
    for tenant, change in (("torn", lambda raw: raw[:-3]), ("hurt", lambda raw: raw[:-3] + b"xyz")):
        segment = world.directory / tenant / "wal" / "00000000"
        segment.write_bytes(change(segment.read_bytes()))
    async with world.running() as service:
        assert await stored(service, "hurt") == {"a": [0]}
        assert world.metric("cortex_ingester_tsdb_wal_corruptions_total") == 1
        assert world.metric("mimir_rw_ingester_wal_torn_records_total") == 1


async def test_a_blocked_log_refuses_and_recovers(world: World) -> None:
    async with world.running() as service:
        (world.directory / "t").write_text("in the way")
        await assert_refuses_then_recovers(service, (world.directory / "t").unlink)


async def assert_refuses_then_recovers(service: IngesterService, repair: Callable[[], None]) -> None:
    with pytest.raises(Unavailable, match="cannot be"):
        await service.push("t", scrape(0, "a"))
    assert await service.push("other", scrape(0, "a"))
    repair()
    assert (await service.push("t", scrape(1, "a"))).samples_stored == 1
    assert await stored(service, "t") == {"a": [1]}


async def test_readiness_comes_back_with_a_probe(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SYNC_S", 0.0)
    async with world.running() as service:
        service._failing = "the disk is full: tenant t: no space"
        assert service.readiness() == "the disk is full: tenant t: no space"
        for _ in range(100):
            await asyncio.sleep(0)
        assert service.readiness() is None


async def test_nothing_is_served_before_and_after(world: World) -> None:
    service = world.service()
    with pytest.raises(Unavailable):
        await service.push("t", scrape(0, "a"))
    async with world.running() as running:
        pass
    with pytest.raises(Unavailable):
        await running.push("t", scrape(0, "a"))


def reference(what: WriteBatch) -> WriteBatch:
    """The same rows without their labels."""
    return decode_batch(what.encode(labelled=NO_ROWS), tenant="t", key=KEY)


def names(rows: NDArray[np.uint32]) -> list[int]:
    return list(rows.tolist())


async def test_a_group_has_an_outcome_for_each_part_and_one_log_write_for_each_tenant(world: World) -> None:
    async with world.running() as service:
        await service.push("t", batch(up("a", (START_MS, 1.0))))
        writes = world.metric("cortex_ingester_tsdb_wal_written_bytes_total")
        outcomes = await service.push_group(
            [
                PushPart("t", batch(up("a", (START_MS + 1, 1.0)))),
                PushPart("t", batch(up("b", (START_MS, 1.0)), up("a", (START_MS, 2.0)))),
                PushPart("u", batch(up("a", (START_MS, 1.0)), tenant="u")),
                PushPart("../x", batch(up("a", (START_MS, 1.0)))),
                PushPart("t", batch(metadata=[(1, "up", "help", "")])),
            ]
        )
        assert [type(o) for o in outcomes] == [PushResult, PushResult, PushResult, BadRequest, PushResult]
        assert [o.samples_stored for o in outcomes if isinstance(o, PushResult)] == [1, 1, 1, 0]
        second = outcomes[1]
        assert isinstance(second, PushResult)
        assert [(r.error_id, names(r.rows)) for r in second.rejections] == [("sample-out-of-order", [1])]
        assert world.metric("cortex_ingester_tsdb_wal_written_bytes_total") > writes
        assert world.metric("cortex_ingester_inflight_push_requests") == 0
        assert world.metric("cortex_ingester_inflight_push_requests_bytes") == 0


async def test_an_ingester_that_does_not_run_says_so_of_each_part(world: World) -> None:
    """An answer, so that no distributor opens its breaker because of one that is only starting."""
    async with world.running() as service:
        pass
    outcomes = await service.push_group([PushPart("t", batch(up(name, (START_MS, 1.0)))) for name in "ab"])
    assert [(type(o), str(o)) for o in outcomes] == [(Unavailable, "the ingester is not running")] * 2


async def test_a_part_over_the_bound_of_work_is_refused_alone(world: World) -> None:
    world.instance = IngesterInstanceLimits(max_inflight_push_requests=2)
    async with world.running() as service:
        parts = [PushPart("t", batch(up(name, (START_MS, 1.0)))) for name in "abc"]
        outcomes = await service.push_group(parts)
        assert [type(o) for o in outcomes] == [PushResult, PushResult, Overloaded]


async def test_rows_without_labels_are_stored_where_the_series_is_known(world: World) -> None:
    async with world.running() as service:
        await service.push("t", batch(up("a", (START_MS, 1.0))))
        result = await service.push("t", reference(batch(up("b", (START_MS, 5.0)), up("a", (START_MS + 1, 2.0)))))
        assert (result.samples_stored, names(result.unresolved)) == (1, [0])
        assert await stored(service, "t") == {"a": [1.0, 2.0]}


async def test_another_key_from_the_next_push_on(world: World) -> None:
    async with world.running() as service:
        await service.push("t", batch(up("a", (START_MS, 1.0))))
        world.key = bytes(reversed(KEY))
        service.rekey(world.key)
        await asyncio.sleep(0)
        result = await service.push("t", reference(batch(up("a", (START_MS + 1, 2.0)))))
        assert names(result.unresolved) == [0]
        result = await service.push("t", batch(up("a", (START_MS + 2, 3.0))))
        assert result.samples_stored == 1
        encoded = batch(up("a", (START_MS + 3, 4.0)), key=world.key).encode(labelled=NO_ROWS)
        result = await service.push("t", decode_batch(encoded, tenant="t", key=world.key))
        assert result.samples_stored == 1
        await service.push("u", batch(up("a", (START_MS, 1.0)), tenant="u", key=world.key))
        assert await stored(service, "t") == {"a": [1.0, 3.0, 4.0]}


def zone(*ids: str) -> list[InstanceDesc]:
    """Ingesters of zone a, and one of each other zone, with 64 tokens each by their names."""
    made = []
    for id in (*ids, "ingester-b-1", "ingester-c-1"):
        tokens = np.random.default_rng(list(id.encode())).integers(0, 1 << 32, 64, dtype=np.uint32)
        made.append(InstanceDesc(id, zone=id[9], tokens=tuple(sorted(tokens.tolist())), versions={RPC_VERSION_KEY: 2}))
    return made


async def test_limits_follow_the_share_of_the_ring_and_count_owned_series(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "LIMIT_KEPT_S", 0.0)
    world.limits = Limits(defaults=TenantLimits(max_global_series_per_user=100, out_of_order_time_window=0))
    world.ring.become(*zone(ME))
    async with world.running() as service:
        result = await service.push("t", batch(*(up(str(n), (START_MS, 1.0)) for n in range(101))))
        assert [r.count for r in result.rejections] == [1]
        assert "limit of 100 series per tenant" in result.rejections[0].first
        assert "-ingester.max-global-series-per-user" in result.rejections[0].first
        world.ring.become(*zone(ME, "ingester-a-2"))
        await asyncio.sleep(0.05)
        [facts] = service.heads()
        assert facts.series == 100
        assert 30 < facts.owned_series < 70
        new = batch(*(up(f"new-{n}", (START_MS, 1.0)) for n in range(200)))
        result = await service.push("t", new)
        [facts] = service.heads()
        assert result.rejections
        assert 50 <= facts.owned_series < 70
        assert facts.series > 150, "what is another ingester's is not counted"
        world.ring.become(*zone(ME))
        await asyncio.sleep(0.05)
        [facts] = service.heads()
        assert facts.owned_series == facts.series


async def test_a_limit_that_the_ring_lowers_is_lowered_one_block_range_later(world: World) -> None:
    world.limits = Limits(defaults=TenantLimits(max_global_series_per_user=100))
    world.ring.become(*zone(ME))
    async with world.running() as service:
        await service.push("t", batch(*(up(str(n), (START_MS, 1.0)) for n in range(95))))
        world.ring.become(*zone(ME, "ingester-a-2"))
        await asyncio.sleep(0.05)
        owned = service.heads()[0].owned_series
        more = [up(f"new-{n}", (START_MS, 1.0)) for n in range(100 - owned)]
        assert not (await service.push("t", batch(*more))).rejections


async def test_a_new_tenants_first_push_is_already_held_to_its_share(world: World) -> None:
    world.limits = Limits(defaults=TenantLimits(max_global_series_per_user=100))
    world.ring.become(*zone(ME, "ingester-a-2"))
    async with world.running() as service:
        result = await service.push("t", batch(*(up(str(n), (START_MS, 1.0)) for n in range(200))))
        assert result.rejections
        assert 50 <= service.heads()[0].owned_series < 70
