"""The ingester with real heads in a temporary directory; threads are inline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mimir_rw._native import WriteBatch
from mimir_rw.components.ingester import service as module
from mimir_rw.components.ingester.service import IngesterService
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import IngesterConfig, IngesterInstanceLimits, TsdbConfig
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.service import ServiceState
from mimir_rw.model.errors import BadRequest, Overloaded, Unavailable
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.storage.contract import SelectHints
from tests.unit.tsdb.batches import KEY, START_MS, batch, up

HINTS = SelectHints(mint=0, maxt=1 << 50)


class World:
    """What a test may turn."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.limits = Limits(defaults=TenantLimits(out_of_order_time_window=0))
        self.instance = IngesterInstanceLimits()
        self.metrics = Metrics()

    def service(self) -> IngesterService:
        self.metrics = Metrics()
        return IngesterService(
            config=IngesterConfig(rate_update_period=10),
            tsdb=replace(TsdbConfig(), dir=str(self.directory)),
            limits=self.limits,
            instance_limits=lambda: self.instance,
            offload=InlineOffload(),
            clock=SystemClock(),
            metrics=self.metrics,
            discarded_samples=self.metrics.counters("cortex_discarded_samples_total", "", ("reason", "user")),
            series_key=KEY,
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


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "tsdb")


async def stored(service: IngesterService, tenant: str, *matchers: Matcher) -> dict[str, list[float]]:
    found = await service.select(tenant, matchers, HINTS)
    columns = found.decode(0, len(found.labels), HINTS.mint, HINTS.maxt)
    ends = columns.offsets.tolist()
    rows = found.labels.rows()
    return {row["instance"]: columns.values[ends[i] : ends[i + 1]].tolist() for i, row in enumerate(rows)}


def scrape(step: int, *instances: str) -> WriteBatch:
    return batch(*(up(i, (START_MS + step * 1000, float(step))) for i in instances))


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
