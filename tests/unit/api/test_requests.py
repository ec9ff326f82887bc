"""Tenants, methods, paths, admin pages: what holds for all routes."""

import asyncio
import gzip
import json

import pytest

from mimir_rw.api.routes import ROUTES, Prefixes, route_label
from mimir_rw.kit.service import Service, ServiceSet
from mimir_rw.model.errors import Conflict, Unavailable
from tests.unit.api.harness import Report, build_site


@pytest.mark.parametrize(
    ("tenant", "status", "text"),
    [
        (None, 401, "no org id"),
        ("", 401, "no org id"),
        ("a" * 150, 200, ""),
        ("a" * 151, 400, "too long"),
        ("..", 400, "'..'"),
        ("a/b", 400, "unsupported character"),
        ("a|b", 400, "several tenants"),
        ("a b", 400, "unsupported character"),
        ("team-1_(x)*'!.", 200, ""),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/push", "/prometheus/api/v1/query?query=1"])
async def test_tenant(tenant, status, text, path):
    site = build_site()
    reply = await site.request("POST", path, tenant=tenant, body=b"x=1")
    assert reply.status == status
    assert text in reply.body.decode()


async def test_without_multitenancy_all_is_one_tenant():
    site = build_site(multitenancy=False)
    await site.request("POST", "/api/v1/push", tenant=None, body=b"x")
    await site.request("POST", "/api/v1/push", tenant="other", body=b"y")
    assert site.distributor.pushed == [("anonymous", b"x"), ("anonymous", b"y")]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/v1/push", "POST"),
        ("DELETE", "/prometheus/api/v1/query", "GET, HEAD, POST"),
        ("POST", "/prometheus/api/v1/label/a/values", "GET, HEAD"),
        ("POST", "/ready", "GET, HEAD"),
    ],
)
async def test_wrong_method_is_405(method, path, allow):
    reply = await build_site().request(method, path)
    assert reply.status == 405
    assert reply.headers["allow"] == allow


@pytest.mark.parametrize(
    "path", ["/nowhere", "/api/v1/push/", "//api/v1/push", "/prometheus", "/api/v1/push%2F", "/%2e%2e/config"]
)
async def test_unknown_path_is_404(path):
    reply = await build_site().get(path)
    assert reply.status == 404
    assert b"page not found" in reply.body


async def test_an_encoded_slash_stays_in_its_segment():
    site = build_site()
    reply = await site.get("/ingester/tsdb/a%2Fb")
    assert reply.status == 200
    assert b"1970-01-01 00:00:01.500Z" in reply.body
    assert (await site.get("/ingester/tsdb/a/b")).status == 404
    assert (await site.get("/ingester/tsdb/%FF")).status == 400
    assert (await site.get("/ingester/tsdb/none")).status == 404


async def test_an_ingester_is_made_read_only_and_writable_again():
    site, path = build_site(), "/ingester/prepare-instance-ring-downscale"
    assert json.loads((await site.get(path)).body) == {"timestamp": 0}
    assert json.loads((await site.request("POST", path)).body) == {"timestamp": 1_700_000_000}
    assert json.loads((await site.get(path)).body) == {"timestamp": 1_700_000_000}
    assert json.loads((await site.request("DELETE", path)).body) == {"timestamp": 0}


async def test_no_page_of_another_site_makes_a_browser_do_it():
    site, path = build_site(), "/ingester/prepare-instance-ring-downscale"
    assert (await site.request("POST", path, headers={"Origin": "http://elsewhere"})).status == 403
    assert json.loads((await site.get(path)).body) == {"timestamp": 0}


async def test_an_ingester_is_told_to_leave_the_ring_when_it_stops():
    site, path = build_site(), "/ingester/unregister-on-shutdown"
    assert json.loads((await site.get(path)).body) == {"unregister": False}
    assert json.loads((await site.request("PUT", path, body=b'{"unregister": true}')).body) == {"unregister": True}
    assert json.loads((await site.request("DELETE", path)).body) == {"unregister": False}
    for body in (b"", b"true", b'{"unregister": 1}', b'{"register": true}', b"x" * 2000):
        assert (await site.request("PUT", path, body=body)).status in (400, 413)
    assert json.loads((await site.get(path)).body) == {"unregister": False}


async def test_the_page_of_a_tenant_shows_its_blocks_and_what_is_damaged():
    page = (await build_site().get("/ingester/tsdb/a%2Fb")).body
    assert b"01EJ0000000000000000000001" in page
    assert b"&lt;bad checksum&gt;" in page
    assert b"1970-01-01 00:00:00.500Z" in page


async def test_a_flush_is_for_the_tenants_named_or_all_and_waits_if_asked_to():
    site = build_site()
    for method, query in (("GET", ""), ("POST", "?tenant=a&tenant=b&wait=true"), ("POST", "?wait=false")):
        assert (await site.request(method, "/ingester/flush" + query)).status == 204
    assert site.heads.flushed == [("soon", None), ("waited", ["a", "b"]), ("soon", None)]


async def test_an_ingester_is_prepared_for_its_last_stop():
    site, path = build_site(), "/ingester/prepare-shutdown"
    assert (await site.get(path)).body == b"unset\n"
    assert (await site.request("POST", path)).status == 204
    assert (await site.get(path)).body == b"set\n"
    assert (await site.request("DELETE", path)).status == 204
    assert (await site.get(path)).body == b"unset\n"


async def test_an_ingester_leaves_at_once_and_the_process_stays():
    site, path = build_site(), "/ingester/shutdown"
    assert (await site.get(path)).status == 405
    assert (await site.request("POST", path)).status == 204
    assert site.leaving.calls == ["leave"]


@pytest.mark.parametrize("error", [Conflict("the last of its zone"), Unavailable("stuck: querier read-1")])
async def test_an_ingester_that_may_not_leave_or_cannot_says_why(error):
    site = build_site()
    site.leaving.error = error
    answer = await site.request("POST", "/ingester/hand-over")
    assert answer.status == (409 if isinstance(error, Conflict) else 503)
    assert str(error).encode() in answer.body


async def test_a_hand_over_is_watched_and_ended():
    site, path = build_site(), "/ingester/hand-over"
    assert b"idle" in (await site.get(path)).body
    site.leaving.now = Report("running", 4, "asking <them>", 1500, (("querier <1>", "no answer"),), 2, 7, "w/1")
    page = (await site.get(path)).body
    assert b"asking &lt;them&gt; since 1970-01-01 00:00:01.500Z" in page or b"since 1970-01-01 00:00:01Z" in page
    assert b"querier &lt;1&gt;" in page
    assert b"7 blocks of 2 tenants" in page
    assert page.count(b"done") == 3
    assert json.loads((await site.get(path, headers={"Accept": "application/json"})).body) == {
        "status": "running",
        "step": 4,
        "doing": "asking <them>",
        "since_ms": 1500,
        "waiting": [{"who": "querier <1>", "why": "no answer"}],
        "tenants": 2,
        "blocks": 7,
        "record": "w/1",
    }
    assert (await site.request("DELETE", path)).status == 204
    assert site.leaving.calls == ["abort"]


@pytest.mark.parametrize(
    "path", ["/ingester/flush", "/ingester/prepare-shutdown", "/ingester/shutdown", "/ingester/hand-over"]
)
async def test_no_page_of_another_site_ends_an_ingester(path):
    site = build_site()
    assert (await site.request("POST", path, headers={"Origin": "http://elsewhere"})).status == 403
    assert (site.heads.flushed, site.heads.shutdown_prepared, site.leaving.calls) == ([], False, [])


async def test_prefixes():
    site = build_site(prefixes=Prefixes(root="/mimir", prometheus="/p"))
    assert (await site.get("/mimir/p/api/v1/query?query=1")).status == 200
    assert (await site.request("POST", "/mimir/api/v1/push", body=b"x")).status == 200
    assert (await site.get("/prometheus/api/v1/query?query=1")).status == 404
    assert b'href="/mimir/static/admin.css"' in (await site.get("/mimir/services")).body


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/", "root"),
        ("/api/v1/push", "api_v1_push"),
        ("/prometheus/api/v1/query_range", "prometheus_api_v1_query_range"),
        ("/prometheus/api/v1/label/{name}/values", "prometheus_api_v1_label_name_values"),
    ],
)
def test_route_labels(path, label):
    assert route_label(path) == label


def test_routes_are_distinct():
    pairs = [(route.path, method) for route in ROUTES for method in route.methods]
    assert len(pairs) == len(set(pairs))


async def test_a_large_unread_body_does_not_hold_the_answer_back():
    """Hypercorn's queue for the application is bounded: an application that leaves a body unread would hang."""
    site = build_site()
    reply = await site.request("POST", "/nowhere", chunks=[b"x" * 65536] * 40)
    assert reply.status == 404
    assert "connection" not in reply.headers


async def test_a_body_beyond_all_bounds_closes_the_connection():
    site = build_site()
    gone = asyncio.Event()
    gone.set()
    reply = await site.request("POST", "/nowhere", chunks=[b"x" * (1 << 20)] * 34, disconnect=gone)
    assert reply.status == 404
    assert reply.headers["connection"] == "close"


async def test_ready_names_what_is_missing():
    class Slow(Service):
        def readiness(self):
            return "replaying, 40 %"

    site = build_site(services=ServiceSet([Slow("ingester")], {}))
    reply = await site.get("/ready", tenant=None)
    assert reply.status == 503
    assert reply.body == b"not ready: ingester: New (replaying, 40 %)\n"
    assert (await build_site().get("/ready", tenant=None)).body == b"ready\n"


async def test_pages_escape_and_carry_a_policy():
    site = build_site()
    for path in ("/", "/services", "/ingester/tenants", "/distributor/all_user_stats"):
        reply = await site.get(path, tenant=None)
        assert reply.status == 200
        assert b"<script" not in reply.body
        assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert b"&lt;script&gt;" in (await site.get("/ingester/tenants")).body
    assert b"&lt;hurt&gt;" in (await site.get("/ingester/tenants")).body


async def test_user_stats_as_json():
    reply = await build_site().get("/distributor/all_user_stats", headers={"Accept": "application/json"})
    stats = json.loads(reply.body)
    assert [each["userID"] for each in stats] == ["a", "b<"]
    assert stats[0]["numSeries"] == 2000


async def test_config_modes():
    site = build_site()
    assert (await site.get("/config")).body == b"mode: \n"
    assert (await site.get("/config?mode=diff")).body == b"mode: diff\n"
    assert (await site.get("/config?mode=x")).status == 400
    assert (await site.get("/runtime_config")).status == 404


async def test_buildinfo_looks_like_mimir_to_grafana():
    site = build_site()
    for path in ("/api/v1/status/buildinfo", "/prometheus/api/v1/status/buildinfo"):
        data = json.loads((await site.get(path, tenant=None)).body)["data"]
        assert data["application"] == "Grafana Mimir"
        assert all(isinstance(value, str) for value in data["features"].values())


async def test_user_limits_are_those_of_the_tenant():
    site = build_site()
    assert json.loads((await site.get("/api/v1/user_limits")).body)["tenant"] == "t1"
    assert (await site.get("/api/v1/user_limits", tenant=None)).status == 401


async def test_large_answers_are_compressed_when_asked_for():
    site = build_site()
    site.queries.answer = b'{"status":"success"}' + b" " * 5000
    target = "/prometheus/api/v1/query?query=1"
    plain = await site.get(target)
    assert "content-encoding" not in plain.headers
    packed = await site.get(target, headers={"Accept-Encoding": "deflate, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == site.queries.answer
    site.queries.answer = b"{}"
    assert "content-encoding" not in (await site.get(target, headers={"Accept-Encoding": "gzip"})).headers
