import asyncio
import json

import pytest

from mimir_rw.components.querier.service import QuerierService
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import FrontendConfig, QuerierConfig
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import BadRequest, QueryTimeout
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.promql.engine import Engine
from mimir_rw.promql.errors import ParseError
from mimir_rw.rpc.contracts.query import InstantQuery, RangeQuery
from tests.unit.promql.memory_storage import MemoryQueryable, series


class FakeIngester:
    def __init__(self, *lines):
        self.memory = MemoryQueryable([series(line) for line in lines])
        self.calls = []
        self.hang = False
        self.stopped = asyncio.Event()

    async def select(self, tenant, matchers, hints):
        self.calls.append(tenant)
        if self.hang:
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()
        return await self.memory.select(matchers, hints)

    async def series(self, tenant, matcher_sets, mint, maxt):
        self.calls.append((tenant, mint, maxt))
        return (await self.memory.select((), None)).labels

    async def label_names(self, tenant, matchers, mint, maxt):
        return {(): ["a", "b"], "x": ["b", "c"], "y": ["a"]}[matchers and matchers[0].value]


def build(ingester, *, limits=None, config=None):
    metrics = Metrics()
    offload, clock = InlineOffload(), SystemClock()
    service = QuerierService(
        config=config or QuerierConfig(),
        frontend=FrontendConfig(query_stats_enabled=False),
        limits=Limits(defaults=limits or TenantLimits()),
        ingester=ingester,
        engine=Engine(clock=clock, offload=offload),
        offload=offload,
        clock=clock,
        metrics=metrics,
    )
    return service, metrics


async def test_instant_query_is_a_finished_body():
    ingester = FakeIngester('up{job="a"} 1 1', 'up{job="b"} 0 0')
    service, metrics = build(ingester)
    body = await service.query("t", InstantQuery("up == 1", 60_000))
    assert body == (
        b'{"status":"success","data":{"resultType":"vector","result":'
        b'[{"metric":{"__name__":"up","job":"a"},"value":[60,"1"]}]}}'
    )
    text = metrics.render().decode()
    assert 'cortex_query_fetched_series_total{user="t"} 2.0' in text
    assert 'cortex_query_samples_processed_total{user="t"}' in text
    assert "cortex_querier_running_queries 0.0" in text


@pytest.mark.parametrize(
    ("query", "kind", "result"),
    [
        ("1 + 1", "scalar", [60, "2"]),
        ('"text"', "string", [60, "text"]),
        ("a[2m]", "matrix", [{"metric": {"__name__": "a"}, "values": [[0, "1"], [60, "2"]]}]),
        ("nothing", "vector", []),
    ],
)
async def test_types_of_results(query, kind, result):
    service, _ = build(FakeIngester("a 1 2"))
    data = json.loads(await service.query("t", InstantQuery(query, 60_000)))["data"]
    assert (data["resultType"], data["result"]) == (kind, result)


async def test_range_query_limit_and_stats():
    service, _ = build(FakeIngester('a{x="1"} 1 2', 'a{x="2"} 3 4'))
    body = await service.query_range("t", RangeQuery("a", 0, 60_000, 60_000, limit=1, stats="all"))
    answer = json.loads(body)
    assert answer["data"]["resultType"] == "matrix"
    assert [each["metric"]["x"] for each in answer["data"]["result"]] == ["1"]
    assert answer["data"]["result"][0]["values"] == [[0, "1"], [60, "2"]]
    assert answer["warnings"] == ["results truncated due to limit"]
    assert answer["data"]["stats"]["samples"]["samplesRead"] > 0


async def test_errors_pass():
    service, _ = build(FakeIngester(), limits=TenantLimits(max_query_expression_size_bytes=10))
    with pytest.raises(ParseError):
        await service.query("t", InstantQuery("(", 0))
    with pytest.raises(BadRequest, match="max-query-expression-size-bytes"):
        await service.query("t", InstantQuery("a" * 11, 0))


async def test_a_query_that_takes_too_long_is_stopped():
    ingester = FakeIngester()
    ingester.hang = True
    service, _ = build(ingester, config=QuerierConfig(timeout=10))
    with pytest.raises(QueryTimeout):
        await service.query("t", InstantQuery("a", 0))
    assert ingester.stopped.is_set()


async def test_a_query_that_waits_too_long_for_a_slot_is_stopped_too():
    ingester = FakeIngester()
    ingester.hang = True
    service, _ = build(ingester, config=QuerierConfig(timeout=50, max_concurrent=1))
    both = [service.query("t", InstantQuery("a", 0)) for _ in range(2)]
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [QueryTimeout, QueryTimeout]
    assert len(ingester.calls) == 1


async def test_metadata_requests():
    ingester = FakeIngester("a 1", "b 1", "c 1")
    service, _ = build(ingester, limits=TenantLimits(max_series_query_limit=2))
    assert len(await service.series("t", [()], 0, 10)) == 2
    assert ingester.calls == [("t", 0, 10)]

    def matching(value):
        return (Matcher(MatchType.EQUAL, "x", value),)

    assert await service.label_names("t", [], 0, 1) == ["a", "b"]
    assert await service.label_names("t", [matching("x"), matching("y")], 0, 1) == ["a", "b", "c"]
