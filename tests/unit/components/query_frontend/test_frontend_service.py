import asyncio
import json

import pytest

from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.tree import FrontendConfig
from mimir_rw.model.errors import BadRequest, LimitExceeded, QueryTimeout, RateLimited, Unavailable
from mimir_rw.model.exemplars import Exemplar, SeriesExemplars
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.promql.errors import InvalidQuery, ParseError
from mimir_rw.rpc.contracts.query import InstantQuery, RangeQuery
from tests.unit.components.query_path import (
    Directory,
    FakeIngester,
    Line,
    Parts,
    Unencoded,
    query_path,
    running,
)

UP = (
    b'{"status":"success","data":{"resultType":"vector","result":'
    b'[{"metric":{"__name__":"up","job":"a"},"value":[60,"1"]}]}}'
)


async def test_instant_query_is_a_finished_body():
    parts = Parts()
    async with query_path(FakeIngester('up{job="a"} 1 1', 'up{job="b"} 0 0'), parts) as frontend:
        assert await frontend.query("t", InstantQuery("up == 1", 60_000)) == UP
    text = parts.metrics.render().decode()
    assert 'cortex_query_fetched_series_total{user="t"} 2.0' in text
    assert 'cortex_query_fetched_chunk_bytes_total{user="t"} 100.0' in text
    assert 'cortex_query_samples_processed_total{user="t"} 4.0' in text
    assert "cortex_query_frontend_queries_in_progress 0.0" in text


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
    async with query_path(FakeIngester("a 1 2")) as frontend:
        data = json.loads(await frontend.query("t", InstantQuery(query, 60_000)))["data"]
    assert (data["resultType"], data["result"]) == (kind, result)


async def test_range_query_limit_and_stats():
    async with query_path(FakeIngester('a{x="1"} 1 2', 'a{x="2"} 3 4')) as frontend:
        body = await frontend.query_range("t", RangeQuery("a", 0, 60_000, 60_000, limit=1, stats="all"))
    answer = json.loads(body)
    assert answer["data"]["resultType"] == "matrix"
    assert [each["metric"]["x"] for each in answer["data"]["result"]] == ["1"]
    assert answer["data"]["result"][0]["values"] == [[0, "1"], [60, "2"]]
    assert answer["warnings"] == ["results truncated due to limit"]
    samples = answer["data"]["stats"]["samples"]
    assert (samples["totalQueryableSamples"], samples["samplesRead"]) == (4, 4)
    assert samples["totalQueryableSamplesPerStep"] == samples["samplesReadPerStep"] == [[0, 2], [60, 2]]


async def test_steps_are_counted_only_for_those_who_ask_for_all():
    async with query_path(FakeIngester("a 1 2")) as frontend:
        some = json.loads(await frontend.query("t", InstantQuery("a[2m]", 60_000, stats="true")))["data"]["stats"]
        assert "stats" not in json.loads(await frontend.query("t", InstantQuery("a[2m]", 60_000)))["data"]
    assert some["samples"].keys() == {"totalQueryableSamples", "samplesRead", "peakSamples"}
    assert some["samples"]["samplesRead"] == 2


@pytest.mark.parametrize("local", [True, False], ids=["one process", "across processes"])
async def test_explain_tells_what_each_operator_did(local):
    parts = Parts()
    scheduler = parts.scheduler()
    directory = Directory({"s": Line(scheduler)})
    frontend = parts.frontend(directory)
    querier = parts.querier(
        "q",
        FakeIngester('a{x="<"} 1 2', 'a{x="2"} 3 4'),
        directory,
        lambda: frontend if local else Unencoded(frontend),
        local=local,
    )
    async with running(scheduler, querier, frontend):
        body = await frontend.query_range("t", RangeQuery("sum(a) + 1", 0, 60_000, 60_000, explain=True))
        assert "explain" not in json.loads(await frontend.query("t", InstantQuery("a", 0)))["data"]
        ranged = json.loads(await frontend.query("t", InstantQuery("a[1m]", 60_000, explain=True)))["data"]
    assert b"<" not in body.replace(b"\\u003c", b"")
    explain = json.loads(body)["data"]["explain"]
    assert explain["selects"] == [
        {"matchers": '{__name__="a"}', "start": -299.999, "end": 60, "series": 2, "samples": 4}
    ]
    plan = explain["plan"]
    assert (plan["operator"], plan["expression"], plan["rowsIn"], plan["rowsOut"]) == ("+", "sum(a) + 1", 1, 1)
    assert [child["operator"] for child in plan["children"]] == ["sum", "number"]
    assert plan["seconds"] >= plan["ownSeconds"] >= 0
    assert plan["children"][0]["children"][0]["samples"] == 4
    assert ranged["explain"]["selects"][0]["series"] == 2


async def test_exemplars_come_from_the_ingesters():
    ingester = FakeIngester()
    sets = [(Matcher(MatchType.EQUAL, "a", "b"),)]
    async with query_path(ingester) as frontend:
        assert await frontend.exemplars("t", sets, 5, 7) == []
        ingester.exemplar_sets = [SeriesExemplars((("a", "b"),), (Exemplar((), 1.0, 6),))]
        assert await frontend.exemplars("t", sets, 5, 7) == ingester.exemplar_sets
    assert [[tuple(each) for each in call[1]] for call in ingester.calls] == [sets, sets]
    assert ingester.calls[0][2:] == (5, 7)


async def test_what_a_client_did_wrong_is_said_before_anything_is_queued():
    hour = 3_600_000
    ingester = FakeIngester()
    limits = TenantLimits(max_query_expression_size_bytes=2500, max_total_query_length=hour)
    async with query_path(ingester, Parts(limits=limits)) as frontend:
        with pytest.raises(ParseError):
            await frontend.query("t", InstantQuery("(", 0))
        with pytest.raises(ParseError):
            await frontend.query("t", InstantQuery("(" + " " * 2400, 0))
        with pytest.raises(BadRequest, match="max-query-expression-size-bytes"):
            await frontend.query("t", InstantQuery("a" * 2501, 0))
        with pytest.raises(InvalidQuery, match="invalid expression type"):
            await frontend.query_range("t", RangeQuery("a[1m]", 0, 60_000, 60_000))
        with pytest.raises(BadRequest, match="max-total-query-length"):
            await frontend.query_range("t", RangeQuery("a", 0, 2 * hour, 60_000))
    assert ingester.calls == []


async def test_limits_of_the_querier_come_back_as_they_are():
    limits = TenantLimits(max_fetched_series_per_query=1, max_partial_query_length=1000)
    async with query_path(FakeIngester('a{x="1"} 1', 'a{x="2"} 1'), Parts(limits=limits)) as frontend:
        with pytest.raises(LimitExceeded, match="err-mimir-max-series-per-query"):
            await frontend.query("t", InstantQuery("a", 0))
        with pytest.raises(LimitExceeded, match="err-mimir-max-query-length"):
            await frontend.query_range("t", RangeQuery("a", 0, 2000, 1000))


async def test_a_query_that_takes_too_long_is_stopped_everywhere():
    ingester = FakeIngester()
    ingester.hang = True
    async with query_path(ingester, Parts(timeout_s=0.01)) as frontend:
        with pytest.raises(QueryTimeout):
            await frontend.query("t", InstantQuery("a", 0))
        await asyncio.wait_for(ingester.stopped.wait(), 5)


async def test_a_client_that_leaves_stops_its_query_everywhere():
    ingester = FakeIngester()
    ingester.hang = True
    async with query_path(ingester) as frontend:
        query = asyncio.ensure_future(frontend.query("t", InstantQuery("a", 0)))
        await ingester.hanging.wait()
        query.cancel()
        await asyncio.wait_for(ingester.stopped.wait(), 5)
        ingester.hang = False
        assert b"success" in await frontend.query("t", InstantQuery("a", 0))


async def test_a_tenant_with_too_many_waiting_queries_is_told():
    ingester = FakeIngester()
    ingester.hang = True
    async with query_path(ingester, Parts(slots=1, waiting_max=1)) as frontend:
        waiting = [asyncio.ensure_future(frontend.query("t", InstantQuery("a", 0))) for _ in range(2)]
        await ingester.hanging.wait()
        with pytest.raises(RateLimited, match="too many outstanding requests"):
            await frontend.query("t", InstantQuery("a", 0))
        assert len(ingester.calls) == 1
        for query in waiting:
            query.cancel()


async def test_metadata_requests():
    ingester = FakeIngester("a 1", "b 1", "c 1")
    async with query_path(ingester, Parts(limits=TenantLimits(max_series_query_limit=2))) as frontend:
        assert len(await frontend.series("t", [()], 0, 10)) == 2
        assert ingester.calls == [("t", 0, 10)]

        def matching(value):
            return (Matcher(MatchType.EQUAL, "x", value),)

        assert await frontend.label_names("t", [], 0, 1) == ["a", "b"]
        assert await frontend.label_names("t", [matching("x"), matching("y")], 0, 1) == ["a", "b", "c"]
        assert await frontend.label_values("t", "name", [], 0, 1) == ["name"]
        assert await frontend.metadata("t") == []


async def test_queries_are_logged_with_what_they_took(capsys):
    async with query_path(FakeIngester("a 1"), Parts(config=FrontendConfig())) as frontend:
        await frontend.query("t", InstantQuery("a", 0))
        with pytest.raises(InvalidQuery):
            await frontend.query("t", InstantQuery("a[", 0))
    lines = [line for line in capsys.readouterr().out.splitlines() if "query stats" in line]
    assert len(lines) == 1
    assert "fetched_series_count" in lines[0]


class TestLosses:
    async def test_an_ingester_that_is_not_ready_is_asked_again(self):
        ingester = FakeIngester('up{job="a"} 1 1')
        ingester.fail = [Unavailable("starting"), Unavailable("starting")]
        parts = Parts()
        async with query_path(ingester, parts) as frontend:
            assert await frontend.query("t", InstantQuery("up", 60_000)) == UP
        assert len(ingester.calls) == 3
        assert "cortex_query_frontend_retries_sum 2.0" in parts.metrics.render().decode()

    @pytest.mark.parametrize("local", [True, False], ids=["in the process", "across processes"])
    async def test_a_querier_without_ingesters_does_not_swallow_a_query(self, local):
        parts = Parts(slots=20)
        scheduler = parts.scheduler()
        directory = Directory({"s": Line(scheduler)})
        frontend = parts.frontend(directory)
        side = frontend if local else Unencoded(frontend)
        cut_off, well = FakeIngester(), FakeIngester('up{job="a"} 1 1')
        cut_off.fail = [Unavailable("too many unhealthy instances in the ring")] * 100
        failing = parts.querier("cut-off", cut_off, directory, lambda: side, local=local)
        parts.slots = 1
        other = parts.querier("well", well, directory, lambda: side, local=local)
        async with running(scheduler, failing, other, frontend):
            for _ in range(10):
                assert await frontend.query("t", InstantQuery("up", 60_000)) == UP
        assert len(well.calls) == 10
        assert 0 < len(cut_off.calls) <= 10, "each query once at most"

    async def test_tries_end(self):
        ingester = FakeIngester()
        ingester.fail = [Unavailable("never")] * 9
        async with query_path(ingester, Parts(tries_max=2)) as frontend:
            with pytest.raises(Unavailable, match="never"):
                await frontend.query("t", InstantQuery("up", 0))
        assert len(ingester.calls) == 2

    async def test_what_the_client_did_is_not_tried_again(self):
        ingester = FakeIngester()
        ingester.fail = [BadRequest("wrong")]
        async with query_path(ingester) as frontend:
            with pytest.raises(BadRequest, match="wrong"):
                await frontend.query("t", InstantQuery("up", 0))
        assert len(ingester.calls) == 1

    async def test_a_querier_that_is_lost_with_the_query(self):
        parts = Parts()
        scheduler = parts.scheduler()
        dying, living = Line(scheduler), Line(scheduler)
        hung, well = FakeIngester(), FakeIngester('up{job="a"} 1 1')
        hung.hang = True
        frontend = parts.frontend(Directory({"s": Line(scheduler)}))
        first = parts.querier("first", hung, Directory({"s": dying}), lambda: frontend)
        second = parts.querier("second", well, Directory({"s": living}), lambda: frontend)
        async with running(scheduler, first, frontend):
            query = asyncio.ensure_future(frontend.query("t", InstantQuery("up", 60_000)))
            await hung.hanging.wait()
            async with running(second):
                dying.cut()
                assert await asyncio.wait_for(query, 5) == UP
            assert hung.stopped.is_set()

    async def test_a_scheduler_that_is_lost_with_the_query(self):
        parts = Parts()
        schedulers = [parts.scheduler(), parts.scheduler()]
        lines = {"a": Line(schedulers[0]), "b": Line(schedulers[1])}
        directory = Directory(lines)
        ingester = FakeIngester('up{job="a"} 1 1')
        ingester.hang = True
        frontend = parts.frontend(directory)
        querier = parts.querier("q", ingester, directory, lambda: frontend)
        async with running(*schedulers, querier, frontend):
            query = asyncio.ensure_future(frontend.query("t", InstantQuery("up", 60_000)))
            await ingester.hanging.wait()
            ingester.hang = False
            used = next(line for line in lines.values() if "enqueue" in line.calls)
            used.cut()
            assert await asyncio.wait_for(query, 5) == UP
            assert ingester.stopped.is_set()
            assert all("enqueue" in line.calls for line in lines.values())

    async def test_a_moment_without_any_scheduler_is_waited_out(self):
        parts = Parts()
        scheduler = parts.scheduler()
        line = Line(scheduler)
        line.cut()
        directory = Directory({"s": line})
        frontend = parts.frontend(directory)
        ingester = FakeIngester('up{job="a"} 1 1')
        querier = parts.querier("q", ingester, Directory({"s": Line(scheduler)}), lambda: frontend)
        async with running(scheduler, querier, frontend):
            assert "no query-scheduler" in frontend.readiness()
            query = asyncio.ensure_future(frontend.query("t", InstantQuery("up", 60_000)))
            await asyncio.sleep(0.01)
            line.mend()
            directory.replace({"s": line})
            assert await asyncio.wait_for(query, 5) == UP
            assert frontend.readiness() is None

    async def test_no_scheduler_at_all(self):
        frontend = Parts().frontend(Directory({}))
        async with running(frontend):
            with pytest.raises(Unavailable, match="no query-scheduler"):
                await frontend.query("t", InstantQuery("up", 60_000))

    async def test_a_stopping_querier_finishes_what_it_has(self):
        parts = Parts()
        scheduler = parts.scheduler()
        directory = Directory({"s": Line(scheduler)})
        frontend = parts.frontend(directory)
        ingester = FakeIngester('up{job="a"} 1 1')
        ingester.memory.select, plain = slowly(ingester), ingester.memory.select
        ingester.plain = plain
        querier = parts.querier("q", ingester, directory, lambda: frontend)
        async with running(scheduler, frontend):
            async with running(querier):
                query = asyncio.ensure_future(frontend.query("t", InstantQuery("up", 60_000)))
                await ingester.hanging.wait()
            assert await asyncio.wait_for(query, 5) == UP
            assert len(ingester.calls) == 1


async def test_slots_are_spread_anew_while_queries_run():
    parts = Parts()
    schedulers = [parts.scheduler(), parts.scheduler()]
    lines = {"a": Line(schedulers[0]), "b": Line(schedulers[1])}
    directory = Directory({"a": lines["a"]})
    ingester = FakeIngester('up{job="a"} 1 1')
    ingester.memory.select, ingester.plain = slowly(ingester), ingester.memory.select
    frontend = parts.frontend(Directory({"a": lines["a"]}))
    querier = parts.querier("q", ingester, directory, lambda: frontend)
    async with running(*schedulers, frontend, querier):
        query = asyncio.ensure_future(frontend.query("t", InstantQuery("up", 60_000)))
        await ingester.hanging.wait()
        directory.replace(lines)
        assert await asyncio.wait_for(query, 5) == UP
        assert await asyncio.wait_for(frontend.query("t", InstantQuery("up", 60_000)), 5) == UP
        assert len(ingester.calls) == 2, "no query was lost"
        assert [scheduler._core.connections for scheduler in schedulers] == [1, 1]
        directory.replace({"b": lines["b"]})
        assert await asyncio.wait_for(frontend.query("t", InstantQuery("up", 60_000)), 5) == UP


def slowly(ingester):
    async def select(matchers, hints):
        ingester.hanging.set()
        await asyncio.sleep(0.02)
        return await ingester.plain(matchers, hints)

    return select


class TestAcrossProcesses:
    async def test_answers_are_encoded(self):
        parts = Parts()
        scheduler = parts.scheduler()
        directory = Directory({"s": Line(scheduler)})
        frontend = parts.frontend(directory)
        remote = Unencoded(frontend)
        querier = parts.querier("q", FakeIngester('up{job="a"} 1 1'), directory, lambda: remote, local=False)
        async with running(scheduler, querier, frontend):
            assert await frontend.query("t", InstantQuery("up", 60_000)) == UP
            assert await frontend.label_values("t", "name", [], 0, 1) == ["name"]
        assert [message.header["is"] for message in remote.delivered] == ["result", "strings"]

    async def test_an_answer_that_does_not_arrive_is_asked_for_again(self):
        parts = Parts()
        scheduler = parts.scheduler()
        directory = Directory({"s": Line(scheduler)})
        frontend = parts.frontend(directory)
        remote = Unencoded(frontend)
        remote.alive = False
        ingester = FakeIngester('up{job="a"} 1 1')
        querier = parts.querier("q", ingester, directory, lambda: remote, local=False)
        async with running(scheduler, querier, frontend):
            query = asyncio.ensure_future(frontend.query("t", InstantQuery("up", 60_000)))
            await remote.refused.wait()
            remote.alive = True
            assert await asyncio.wait_for(query, 5) == UP
        assert len(ingester.calls) >= 1
