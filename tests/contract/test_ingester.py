"""One suite over an ingester in this process and over one that is reached across the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mimir_rw._native import WriteBatch, decode_batch
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import BadRequest, LimitExceeded, MimirError, Overloaded, Unavailable
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.rpc.contracts.ingester import NO_ROWS, Charge, EncodedPart, Ingester, PushPart, PushResult
from mimir_rw.rpc.handshake import Identity
from mimir_rw.rpc.stubs.ingester import IngesterClient, IngesterClients, register_ingester
from mimir_rw.storage.contract import SelectHints
from tests.unit.components.ingester.ingester_world import World, scrape
from tests.unit.rpc.harness import SERVER_ID, Ends
from tests.unit.tsdb.batches import KEY, START_MS, batch, up

ALL_TIME = (0, 1 << 50)
Opener = Callable[[World], AbstractAsyncContextManager[Ingester]]


@asynccontextmanager
async def in_process(world: World) -> AsyncIterator[Ingester]:
    async with world.running() as service:
        yield service


@asynccontextmanager
async def across(world: World, *, identity: Identity = SERVER_ID) -> AsyncIterator[IngesterClient]:
    ends, offload = Ends(), InlineOffload()
    async with world.running() as service:
        start = ends.server(
            lambda server: register_ingester(server, service, offload=offload, key=lambda: KEY), identity=identity
        )
        async with start as server, ends.pool() as pool:
            clients = IngesterClients(pool, offload=offload, timeout_s=10)
            client = clients.peer(f"127.0.0.1:{server.port}")
            assert clients.peer(f"127.0.0.1:{server.port}") is client
            await pool.peer(f"127.0.0.1:{server.port}").connect()
            yield client


@pytest.fixture(params=[in_process, across], ids=["in process", "across the wire"])
def opened(request: pytest.FixtureRequest) -> Opener:
    opener: Opener = request.param
    return opener


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "tsdb")


async def test_pushes_are_stored_and_found(opened: Opener, world: World) -> None:
    async with opened(world) as ingester:
        assert await ingester.push("t", scrape(0, "a", "b")) == PushResult(2)
        assert await ingester.label_names("t", [], *ALL_TIME) == ["__name__", "instance"]
        assert await ingester.label_values("t", "instance", [], *ALL_TIME) == ["a", "b"]
        only_b = [Matcher(MatchType.NOT_EQUAL, "instance", "a")]
        assert await ingester.label_values("t", "instance", only_b, *ALL_TIME) == ["b"]
        assert await ingester.label_values("nobody", "instance", [], *ALL_TIME) == []
        stats = await ingester.all_user_stats()
        assert [(s.tenant, s.series) for s in stats] == [("t", 2)]
        assert await ingester.only_here() == {"t": START_MS}


async def test_metadata(opened: Opener, world: World) -> None:
    async with opened(world) as ingester:
        await ingester.push("t", batch(up("a", (START_MS, 1.0)), metadata=[(2, "up", "Whether it is up.", "unit")]))
        (entry,) = await ingester.metadata("t")
        assert (entry.metric, entry.type, entry.help, entry.unit) == ("up", "gauge", "Whether it is up.", "unit")
        assert await ingester.metadata("t", "up") == [entry]
        assert await ingester.metadata("t", "down") == []


async def test_rejections_keep_everything(opened: Opener, world: World) -> None:
    world.limits = Limits(defaults=TenantLimits(max_global_series_per_user=2, out_of_order_time_window=0))
    async with opened(world) as ingester:
        await ingester.push("t", scrape(1, "a"))
        result = await ingester.push("t", scrape(0, "a", "b", "c"))
        assert result.samples_stored == 1
        order, limit = result.rejections
        assert (order.error_id, order.count, limit.error_id) == ("sample-out-of-order", 1, "max-series-per-user")
        assert order.first.endswith('it is at 2023-11-14T22:13:20Z in series up{instance="a"}')


async def test_a_group_has_an_outcome_for_each_part(opened: Opener, world: World) -> None:
    world.instance = replace(world.instance, max_tenants=1)
    async with opened(world) as ingester:
        parts = [("t", scrape(0, "a")), ("u", scrape(0, "a")), ("t", scrape(1, "a", "b"))]
        outcomes = await ingester.push_group([PushPart(tenant, rows) for tenant, rows in parts])
        assert [type(outcome) for outcome in outcomes] == [PushResult, Overloaded, PushResult]
        assert isinstance(outcomes[2], PushResult)
        assert outcomes[2].samples_stored == 2
        assert isinstance(outcomes[1], MimirError)
        assert outcomes[1].error_id == "ingester-max-tenants"
        assert str(outcomes[1]).count("err-mimir-") == 1
        with pytest.raises(Overloaded):
            await ingester.push("u", scrape(0, "a"))
        assert await ingester.push_group([]) == []


async def selected(
    ingester: Ingester, tenant: str, *matchers: Matcher, charge: Charge | None = None
) -> dict[str, list[tuple[int, float]]]:
    """Samples by instance."""
    found = await ingester.select(tenant, matchers, SelectHints(*ALL_TIME, range_ms=5, grouping=("a",)), charge)
    columns = found.decode(0, len(found.labels), *ALL_TIME)
    ends, ts, values = columns.offsets.tolist(), columns.ts.tolist(), columns.values.tolist()
    assert found.sample_count_max(0, len(found.labels)) >= len(ts)
    names = [row["instance"] for row in found.labels.rows()]
    assert names == sorted(names)
    return {
        name: list(zip(ts[a:b], values[a:b], strict=True)) for name, a, b in zip(names, ends, ends[1:], strict=False)
    }


async def test_a_select_gives_series_in_order(opened: Opener, world: World) -> None:
    async with opened(world) as ingester:
        for step in range(3):
            await ingester.push("t", scrape(step, "b", "a"))
        times = [START_MS, START_MS + 1000, START_MS + 2000]
        both = {name: list(zip(times, [0.0, 1.0, 2.0], strict=True)) for name in ("a", "b")}
        assert await selected(ingester, "t") == both
        assert await selected(ingester, "t", Matcher(MatchType.REGEX, "instance", "b|c")) == {"b": both["b"]}
        assert await selected(ingester, "t", Matcher(MatchType.EQUAL, "instance", "c")) == {}
        assert await selected(ingester, "nobody") == {}
        with pytest.raises(BadRequest):
            await selected(ingester, "t", Matcher(MatchType.REGEX, "instance", "("))


async def test_a_large_select_is_whole_and_charged(opened: Opener, world: World) -> None:
    async with opened(world) as ingester:
        names = [f"{i:06d}" for i in range(20_000)]
        await ingester.push("t", scrape(0, *names))
        charged: list[tuple[int, int]] = []
        found = await selected(ingester, "t", charge=lambda *amounts: charged.append(amounts))
        assert list(found) == names
        assert sum(series for series, _ in charged) == 20_000
        assert sum(size for _, size in charged) > 20_000

        def refuse(series: int, size: int) -> None:
            raise LimitExceeded("too much")

        with pytest.raises(LimitExceeded):
            await selected(ingester, "t", charge=refuse)
        assert len(await selected(ingester, "t", Matcher(MatchType.EQUAL, "instance", "000007"))) == 1


async def test_series(opened: Opener, world: World) -> None:
    async with opened(world) as ingester:
        await ingester.push("t", scrape(0, "b", "a", "c"))
        sets = [[Matcher(MatchType.EQUAL, "instance", name)] for name in ("c", "a", "d")]
        frame = await ingester.series("t", sets, *ALL_TIME)
        assert frame.rows() == [{"__name__": "up", "instance": name} for name in ("a", "c")]
        assert len(await ingester.series("nobody", sets, *ALL_TIME)) == 0


def references(rows: WriteBatch) -> WriteBatch:
    """The same rows without their labels."""
    return decode_batch(rows.encode(labelled=NO_ROWS), tenant="t", key=KEY)


async def test_rows_without_labels_are_resolved_or_named(opened: Opener, world: World) -> None:
    async with opened(world) as ingester:
        await ingester.push("t", scrape(0, "a", "c"))
        outcomes = await ingester.push_group(
            [PushPart("t", references(scrape(1, "a", "b", "c", "d"))), PushPart("u", references(scrape(1, "a")))]
        )
        assert [o.samples_stored for o in outcomes if isinstance(o, PushResult)] == [2, 0]
        assert [o.unresolved.tolist() for o in outcomes if isinstance(o, PushResult)] == [[1, 3], [0]]
        assert list(await selected(ingester, "t")) == ["a", "c"]


async def test_rejections_name_their_rows(opened: Opener, world: World) -> None:
    world.limits = Limits(defaults=TenantLimits(max_global_series_per_user=2, out_of_order_time_window=0))
    async with opened(world) as ingester:
        await ingester.push("t", scrape(1, "a"))
        mixed = WriteBatch.concat([references(scrape(2, "x")), scrape(0, "a", "b", "c")])
        result = await ingester.push("t", mixed)
        assert (result.samples_stored, result.unresolved.tolist()) == (1, [0])
        assert [r.rows.tolist() for r in result.rejections] == [[1], [3]]


# -- across the wire only -------------------------------------------------------------------------------------------


async def test_encoded_parts_are_stored(world: World) -> None:
    async with across(world) as client:
        assert client.references
        assert client.healthy
        assert client.epoch == SERVER_ID.epoch
        rows = scrape(0, "a", "b").encode(metadata=True)
        outcomes = await client.push_encoded([EncodedPart("t", rows), EncodedPart("u", rows)], timeout_s=5)
        assert outcomes == [PushResult(2), PushResult(2)]


async def test_parts_that_do_not_decode_fail_alone(world: World) -> None:
    async with across(world) as client:
        good = scrape(0, "a").encode()
        parts = [EncodedPart("t", good), EncodedPart("t", b"\xff" * 40), EncodedPart("../t", good)]
        outcomes = await client.push_encoded(parts, timeout_s=5)
        assert [type(outcome).__name__ for outcome in outcomes] == ["PushResult", "Internal", "BadRequest"]


async def test_references_are_not_sent_to_a_peer_of_the_previous_version(world: World) -> None:
    async with across(world, identity=replace(SERVER_ID, protocol_max=1)) as client:
        assert not client.references
        rows = scrape(0, "a")
        with pytest.raises(Unavailable, match="version 1"):
            await client.push_encoded([EncodedPart("t", rows.encode(), references=True)], timeout_s=5)
        assert await client.push("t", rows) == PushResult(1)


async def test_extended_parts_are_not_sent_to_a_peer_of_the_previous_version(world: World) -> None:
    async with across(world) as client:
        assert client.extended
    async with across(world, identity=replace(SERVER_ID, protocol_max=2)) as client:
        assert not client.extended
        with pytest.raises(Unavailable, match="version 2"):
            await client.push_encoded([EncodedPart("t", scrape(0, "a").encode(), extended=True)], timeout_s=5)
