"""One suite over a store-gateway in this process and over one that is reached across the wire; and what queriers get
from it against what an ingester that holds the same answers."""

import contextlib
import random
from contextlib import asynccontextmanager

import pytest

from mimir_rw._native import BlockBuilder, LocalBlock, decode_series_set
from mimir_rw.components.querier.both_sources import BothSources
from mimir_rw.components.querier.ring_stores import RingStores, StoreReadSettings
from mimir_rw.components.querier.sources import SourceSettings
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import BadRequest, LimitExceeded
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.rpc.contracts.store_gateway import BlockEnd, BlockPart
from mimir_rw.rpc.stubs.fields import closing
from mimir_rw.rpc.stubs.store_gateway import StoreGatewayClients, register_store_gateway
from mimir_rw.storage.contract import SelectHints
from tests.store_gateway import (
    HOUR,
    MINUTE,
    TENANT,
    Gateway,
    columns_of,
    decoded,
    flip,
    gateways_ring,
    matcher,
    put_block,
    put_index,
    ulid,
)
from tests.unit.rpc.harness import Ends

ALL = (-(1 << 60), 1 << 60)
PAST = (-(1 << 60), 1 << 40)


@asynccontextmanager
async def in_process(gateway):
    async with gateway as service:
        yield service


@asynccontextmanager
async def across(gateway):
    ends, offload = Ends(), InlineOffload()
    async with gateway as service:
        start = ends.server(lambda server: register_store_gateway(server, service, offload=offload))
        async with start as server, ends.pool() as pool:
            yield StoreGatewayClients(pool, offload=offload, timeout_s=10).peer(f"127.0.0.1:{server.port}")


@pytest.fixture(params=[in_process, across], ids=["in process", "across the wire"])
def opened(request):
    return request.param


@pytest.fixture
def bucket():
    return MemoryBucket(clock=SystemClock())


def rows(count=30, *, start=0, samples=200):
    return {
        f'up{{instance="{n:03}", job="{"abc"[n % 3]}"}}': [(start + t * MINUTE, float(n + t)) for t in range(samples)]
        for n in range(count)
    }


async def items_of(gateway, blocks, *matchers, mint=ALL[0], maxt=ALL[1]):
    found = gateway.select(TENANT, blocks, [matcher(each) for each in matchers], mint, maxt)
    return [item async for item in found]


async def test_a_select(opened, bucket, tmp_path):
    data = rows()
    await put_block(bucket, 1, data)
    async with opened(Gateway(bucket, tmp_path)) as gateway:
        items = await items_of(gateway, [ulid(1), ulid(2)], "__name__=up")
        parts = [item for item in items if isinstance(item, BlockPart)]
        assert sum(part.series for part in parts) == len(data)
        assert decoded(decode_series_set([part.data for part in parts])) == data
        ends = {item.block: item for item in items if isinstance(item, BlockEnd)}
        assert ends[ulid(1)] == BlockEnd(ulid(1), served=True)
        assert not ends[ulid(2)].served
        assert "does not exist" in ends[ulid(2)].reason


async def test_names_values_and_series(opened, bucket, tmp_path):
    await put_block(bucket, 1, rows(3, samples=2))
    blocks = [ulid(1), ulid(2)]
    async with opened(Gateway(bucket, tmp_path)) as gateway:
        names = await gateway.label_names(TENANT, blocks, [], *ALL)
        assert (names.names, names.blocks) == (["__name__", "instance", "job"], (ulid(1),))
        values = await gateway.label_values(TENANT, "job", blocks, [matcher("instance!=000")], *ALL)
        assert (values.names, values.blocks) == (["b", "c"], (ulid(1),))
        series = await gateway.series(TENANT, blocks, [[matcher("job=a")], [matcher("job=b")]], *ALL)
        assert [row["job"] for row in series.labels.rows()] == ["a", "b"]
        assert series.blocks == (ulid(1),)


async def test_what_it_serves(opened, bucket, tmp_path):
    block = await put_block(bucket, 1, rows(1, samples=1))
    await put_index(bucket, block, updated_at_s=100)
    async with opened(Gateway(bucket, tmp_path)) as gateway:
        assert (await gateway.served(TENANT)).blocks == (ulid(1),)
        await put_index(bucket, block, await put_block(bucket, 2, rows(1, samples=1)), updated_at_s=200)
        assert (await gateway.served(TENANT)).index_updated_at_s == 100
        found = await gateway.served(TENANT, index_at_least_s=150)
        assert (found.index_updated_at_s, found.blocks) == (200, (ulid(1), ulid(2)))
        assert await gateway.served("nobody") == type(found)(0, ())


async def test_errors_cross_as_they_are(opened, bucket, tmp_path):
    await put_block(bucket, 1, rows())
    limits = TenantLimits(max_fetched_series_per_query=5)
    async with opened(Gateway(bucket, tmp_path, limits=limits)) as gateway:
        with pytest.raises(LimitExceeded) as raised:
            await items_of(gateway, [ulid(1)], "__name__=up")
        assert raised.value.error_id == "max-series-per-query"
        with pytest.raises(BadRequest):
            await items_of(gateway, [ulid(1)], "job=~[")
        with pytest.raises(BadRequest):
            await gateway.label_names(TENANT, ["no block"], [], *ALL)


async def test_damage_is_said_of_the_block(opened, bucket, tmp_path):
    await put_block(bucket, 1, rows(1))
    flip(bucket, f"{TENANT}/{ulid(1)}/index", 20)
    async with opened(Gateway(bucket, tmp_path)) as gateway:
        (end,) = await items_of(gateway, [ulid(1)], "__name__=up")
        assert not end.served
        assert ulid(1) in end.reason
        assert (await gateway.served(TENANT)).set_aside[0][0] == ulid(1)


async def test_leaving_a_stream_ends_it(opened, bucket, tmp_path):
    await put_block(bucket, 1, rows(300))
    made = Gateway(bucket, tmp_path)
    async with opened(made) as gateway:
        for _ in range(8):  # the gate lets in four at once
            found = closing(gateway.select(TENANT, [ulid(1)], [matcher("__name__=up")], *ALL))
            async with contextlib.aclosing(found) as items:
                assert isinstance(await anext(items), BlockPart)
        assert len(await items_of(gateway, [ulid(1)], "__name__=up")) > 1


# -- against an ingester ----------------------------------------------------------------------------------------------


class Nobody:
    """Ingesters that must not be asked."""


def querier(gateway, view, indexes, ingesters, *, settings=None, limits=None, now_ms=None, unshipped_from_ms=None):
    class Clock(SystemClock):
        def now_ms(self):
            return now_ms if now_ms is not None else super().now_ms()

    metrics, offload = Metrics(), InlineOffload()
    limits = Limits(defaults=limits or TenantLimits(query_ingesters_within=HOUR))
    stores = RingStores(
        view=lambda: view,
        client=lambda instance: gateway if not isinstance(gateway, dict) else gateway[instance.id],
        settings=StoreReadSettings(zone=""),
        limits=limits,
        offload=offload,
        clock=Clock(),
        metrics=metrics,
    )
    return BothSources(
        ingesters=ingesters,
        stores=stores,
        indexes=indexes,
        settings=settings or SourceSettings(0, 3 * HOUR, 10**15, 10**15, HOUR),
        handed_over=lambda tenant: (),
        unshipped_from_ms=lambda tenant: unshipped_from_ms,
        limits=limits,
        offload=offload,
        clock=Clock(),
        metrics=metrics,
    )


def random_matchers(draw):
    choices = [
        "__name__=up", "job=a", "job!=a", "job=~a|b", "job!~b.*", "job=", "instance=~0[01].", "instance!=003",
        "none=", "none!=x", "none=~.+", "none=~.*", "instance=~.*[5-9]", "__name__=~up|down",
    ]  # fmt: skip
    return [matcher(each) for each in draw.sample(choices, draw.randint(1, 3))]


def with_samples(rows):
    """Chunks reach beyond a range, and so do the series that are found for it."""
    return {series: samples for series, samples in rows.items() if samples}


@pytest.mark.parametrize("seed", range(5))
async def test_blocks_answer_as_a_head_that_holds_the_same(opened, bucket, tmp_path, seed):
    """Series overlap between blocks, and samples between replicas."""
    draw = random.Random(seed)
    everything = {}
    blocks = []
    for number in range(4):
        data = {
            f'up{{instance="{n:03}", job="{"abc"[n % 3]}"}}': [
                (t * MINUTE, float(n * 1000 + t)) for t in range(number * 100, number * 100 + draw.randint(1, 250))
            ]
            for n in draw.sample(range(20), 12)
        }
        for series, samples in data.items():
            everything.setdefault(series, {}).update(samples)
        blocks.append(await put_block(bucket, number, data))
    await put_index(bucket, *blocks)
    whole = {series: sorted(samples.items()) for series, samples in sorted(everything.items())}
    builder = BlockBuilder()
    builder.add(*columns_of(whole))
    (tmp_path / "whole").mkdir()
    builder.write(str(tmp_path / "whole"))
    reference = LocalBlock(str(tmp_path / "whole"))
    made = Gateway(bucket, tmp_path / "sync")
    view = gateways_ring("a", factor=1)
    async with opened(made) as gateway:
        reads = querier(gateway, view, made.indexes, Nobody())
        for _ in range(12):
            matchers = random_matchers(draw)
            mint = draw.randint(0, 500) * MINUTE
            maxt = mint + draw.randint(0, 200) * MINUTE
            tuples = [each.as_tuple() for each in matchers]
            found = await reads.select(TENANT, matchers, SelectHints(mint, maxt))
            wanted = decoded(reference.select(tuples, mint, maxt), mint, maxt)
            assert with_samples(decoded(found, mint, maxt)) == with_samples(wanted)
            assert (await reads.label_names(TENANT, matchers, *PAST)) == reference.label_names(tuples, *PAST)
            assert (await reads.label_values(TENANT, "job", matchers, *PAST)) == reference.label_values(
                "job", tuples, *PAST
            )
            assert (await reads.series(TENANT, [matchers], *PAST)).rows() == reference.series([tuples], *PAST).rows()
