import asyncio
import json
from urllib.parse import quote, urlencode

import pytest

from mimir_rw.model.errors import (
    BadRequest,
    DataDamaged,
    LimitExceeded,
    QueryFailed,
    QueryTimeout,
    RateLimited,
    Unavailable,
)
from mimir_rw.promql.ast import Span
from mimir_rw.promql.errors import ParseError
from mimir_rw.rpc.contracts.query import InstantQuery, RangeQuery
from tests.unit.api.harness import NOW_MS, build_site, parse_selector

P = "/prometheus/api/v1"


def error_of(reply):
    envelope = json.loads(reply.body)
    assert envelope["status"] == "error"
    return reply.status, envelope["errorType"], envelope["error"]


async def test_instant_query_by_get_and_post():
    site = build_site()
    await site.get(f"{P}/query?query=up&time=1.5&timeout=2s&limit=3&lookback_delta=1m&stats=all&explain=true")
    await site.request(
        "POST", f"{P}/query?query=down&limit=9", body=b"query=up%7Ba%3D%22b%22%7D&time=2015-07-01T20:10:51.781Z"
    )
    await site.get(f"{P}/query?query=1")
    assert site.queries.calls == [
        ("t1", InstantQuery("up", 1500, timeout_s=2.0, limit=3, lookback_ms=60_000, stats="all", explain=True)),
        ("t1", InstantQuery('up{a="b"}', 1435781451781, limit=9)),
        ("t1", InstantQuery("1", NOW_MS)),
    ]


async def test_range_query():
    site = build_site()
    reply = await site.get(f"{P}/query_range?query=up&start=0&end=10&step=1m")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert site.queries.calls == [("t1", RangeQuery("up", 0, 10_000, 60_000))]


POINTS = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
STEP = "zero or negative query resolution step widths are not accepted. Try a positive integer"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (
            "query?query=1&time=abc",
            'invalid parameter "time": invalid time value for \'time\': cannot parse "abc" to a valid timestamp',
        ),
        (
            "query?query=1&lookback_delta=x",
            'error parsing lookback delta duration: cannot parse "x" to a valid duration',
        ),
        ("query?query=1&timeout=x", 'invalid parameter "timeout": cannot parse "x" to a valid duration'),
        ("query?query=1&limit=-1", 'invalid parameter "limit": limit must be non-negative'),
        ("query_range?query=1", 'invalid parameter "start": cannot parse "" to a valid timestamp'),
        ("query_range?query=1&start=0", 'invalid parameter "end": cannot parse "" to a valid timestamp'),
        (
            "query_range?query=1&start=5&end=4&step=1",
            'invalid parameter "end": end timestamp must not be before start time',
        ),
        ("query_range?query=1&start=0&end=1", 'invalid parameter "step": cannot parse "" to a valid duration'),
        ("query_range?query=1&start=0&end=1&step=0", f'invalid parameter "step": {STEP}'),
        (
            "query_range?query=1&start=0&end=1&step=-1s",
            'invalid parameter "step": cannot parse "-1s" to a valid duration',
        ),
        ("query_range?query=1&start=0&end=11001&step=1", POINTS),
        ("series", "no match[] parameter provided"),
        ("series?match[]=a+b", 'invalid parameter "match[]": 1:1: parse error: unexpected character'),
        ("labels?match[]=up&match[]={}", "match[] must contain at least one non-empty matcher"),
        ("series?match[]={}", 'invalid parameter "match[]": match[] must contain at least one non-empty matcher'),
        (
            "labels?start=x",
            'invalid parameter "start": invalid time value for \'start\': cannot parse "x" to a valid timestamp',
        ),
        ("metadata?limit=x", "limit must be a number"),
        (
            "format_query?query=",
            'invalid parameter "query": unknown position: parse error: no expression found in input',
        ),
        ("query?query=1&explain=yes", 'invalid parameter "explain": "yes" is neither true nor false'),
        ("series?match[]=up&x=%FG", 'error parsing form values: invalid URL escape "%FG"'),
        ("query?query=1&limit=x&time=x", 'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax'),
        (
            "query?query=1&time=%FF",
            'invalid parameter "time": invalid time value for \'time\': cannot parse "\\xff" to a valid timestamp',
        ),
        (
            "query?query=1&limit=9999999999999999999",
            'invalid parameter "limit": strconv.Atoi: parsing "9999999999999999999": value out of range',
        ),
        ("label/%FF/values", 'invalid label name: "\\xff"'),
    ],
)
async def test_bad_parameters(target, text):
    assert error_of(await build_site().get(f"{P}/{target}")) == (400, "bad_data", text)


async def test_eleven_thousand_points_are_allowed():
    site = build_site()
    assert (await site.get(f"{P}/query_range?query=1&start=0&end=11000&step=1")).status == 200


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BadRequest("x", error_id="query-blocked"), 400, "bad_data"),
        (QueryFailed("many-to-many"), 422, "execution"),
        (LimitExceeded("too many"), 422, "execution"),
        (RateLimited("queue full"), 429, "too_many_requests"),
        (QueryTimeout("query timed out in expression evaluation"), 503, "timeout"),
        (Unavailable("not there"), 503, "unavailable"),
        (DataDamaged("chunk"), 500, "internal"),
        (RuntimeError("secret"), 500, "internal"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_errors_of_the_engine(error, status, kind):
    site = build_site()
    site.queries.error = error
    got_status, got_kind, text = error_of(await site.get(f"{P}/query?query=1"))
    assert (got_status, got_kind) == (status, kind)
    assert text == str(error) or "secret" not in text


async def test_parse_errors_name_the_parameter_and_are_escaped():
    site = build_site()
    site.queries.error = ParseError("unexpected <op:<>", span=Span(4, 5), query="foo <")
    reply = await site.get(f"{P}/query?query=foo+%3C")
    assert error_of(reply)[2] == 'invalid parameter "query": 1:5: parse error: unexpected <op:<>'
    assert b"\\u003cop:\\u003c\\u003e" in reply.body


async def test_a_form_over_the_limit_is_413():
    site = build_site(form_bytes_max=100)
    reply = await site.request("POST", f"{P}/query", body=b"query=" + b"x" * 200)
    assert error_of(reply)[:2] == (413, "too_large_entry")


async def test_too_many_parameters():
    site = build_site(form_bytes_max=1 << 20)
    reply = await site.request("POST", f"{P}/series", body=b"&".join([b"match[]=a"] * 10_001))
    assert error_of(reply)[0] == 400
    reply = await site.request("POST", f"{P}/series", body=b"&".join([b"match[]=a"] * 1001))
    assert error_of(reply)[0] == 400


async def test_a_query_is_cancelled_when_its_client_leaves():
    site = build_site()
    site.queries.hang = True
    gone = asyncio.Event()
    asking = asyncio.ensure_future(site.get(f"{P}/query?query=1", disconnect=gone))
    while not site.queries.calls:  # noqa: ASYNC110
        await asyncio.sleep(0)
    gone.set()
    reply = await asking
    assert not reply.started
    assert site.queries.cancelled.is_set()


async def test_series():
    site = build_site()
    reply = await site.get(f"{P}/series?" + urlencode({"match[]": "up", "start": "1", "end": "2"}))
    assert reply.body == b'{"status":"success","data":[{"__name__":"a","x":"<1>"},{"__name__":"b"}]}'
    (tenant, matchers, mint, maxt) = site.queries.calls[0]
    assert (tenant, mint, maxt, matchers[0][0].value) == ("t1", 1000, 2000, "up")
    cut = json.loads((await site.get(f"{P}/series?match[]=up&limit=1")).body)
    assert len(cut["data"]) == 1
    assert cut["warnings"] == ["results truncated due to limit"]


async def test_label_names_and_values():
    site = build_site()
    assert json.loads((await site.request("POST", f"{P}/labels", body=b"match[]=up")).body)["data"] == ["__name__", "x"]
    reply = json.loads((await site.get(f"{P}/label/x/values?limit=2")).body)
    assert reply == {"status": "success", "data": ["a", "b"], "warnings": ["results truncated due to limit"]}


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        ("job", "job"),
        ("U__a_2e_b", "a.b"),
        ("U__a__b", "a_b"),
        ("U___1f600_", "😀"),
        ("U__a_zz_", "U__a_zz_"),
        ("U__a_d800_", "U__a_d800_"),
        (quote("a/b", safe=""), "a/b"),
        (quote("é"), "é"),
    ],
)
async def test_names_of_label_values(segment, name):
    site = build_site()
    assert (await site.get(f"{P}/label/{segment}/values")).status == 200
    assert site.queries.calls[0][1] == name


async def test_metadata():
    site = build_site()
    reply = await site.get(f"{P}/metadata?limit_per_metric=1")
    assert json.loads(reply.body)["data"] == {
        "up": [{"type": "gauge", "help": "Is it <up>?", "unit": ""}],
        "down": [{"type": "gauge", "help": "", "unit": "s"}],
    }
    assert b"\\u003cup\\u003e" in reply.body
    assert list(json.loads((await site.get(f"{P}/metadata?limit=1")).body)["data"]) == ["up"]


async def test_parse_query():
    site = build_site()
    for reply in (
        await site.get(f"{P}/parse_query?query=a+%3C+b"),
        await site.request("POST", f"{P}/parse_query", body=b"query=a+%3C+b"),
    ):
        assert reply.status == 200
        assert json.loads(reply.body)["data"] == {"type": "stringLiteral", "val": "A < B"}
        assert b"\\u003c" in reply.body
    assert error_of(await site.get(f"{P}/parse_query"))[:2] == (400, "bad_data")


async def test_exemplars():
    site = build_site()
    reply = await site.get(f"{P}/query_exemplars?query=a%2B{{x}}%2B1&start=5&end=6.5")
    assert (
        reply.body
        == (
            '{"status":"success","data":[{"seriesLabels":{"__name__":"a","x":"é"},"exemplars":['
            '{"labels":{"trace_id":"<7>"},"value":"1.5","timestamp":1600000000.500},'
            '{"labels":{},"value":"1e-07","timestamp":-0.010}]}]}'
        ).encode()
    )
    assert site.queries.calls == [("t1", [parse_selector("a"), parse_selector("{x}")], 5000, 6500)]


async def test_exemplars_of_nothing():
    reply = await build_site().get(f"{P}/query_exemplars?query=1")
    assert (reply.status, reply.body) == (204, b"")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ("query=a&start=2&end=1", "end timestamp must not be before start timestamp"),
        (
            "query=a&end=x",
            'invalid parameter "end": invalid time value for \'end\': cannot parse "x" to a valid timestamp',
        ),
        ("query=(", "1:1: parse error: unexpected character"),
    ],
)
async def test_bad_requests_for_exemplars(parameters, text):
    assert error_of(await build_site().get(f"{P}/query_exemplars?{parameters}")) == (400, "bad_data", text)


async def test_format_query():
    reply = await build_site().get(f"{P}/format_query?query=a+%2B+b")
    assert json.loads(reply.body) == {"status": "success", "data": "A + B"}


async def test_a_query_waits_for_a_process_that_starts():
    site = build_site(start_seconds_max=60)
    site.traffic.open = False
    asked = asyncio.ensure_future(site.get(f"{P}/query?query=up"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asked.done()
    assert site.queries.calls == []
    await site.traffic.start_up()
    assert (await asked).status == 200
    await site.traffic.shut_down()
    assert error_of(await site.get(f"{P}/query?query=up"))[0] == 503


async def test_a_query_does_not_wait_for_ever_for_a_process_that_starts():
    site = build_site(start_seconds_max=0.01)
    site.traffic.open = False
    status, _, text = error_of(await site.get(f"{P}/labels"))
    assert status == 503
    assert "starting" in text
