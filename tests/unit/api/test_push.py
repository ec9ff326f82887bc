import asyncio

import pytest

from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.model.errors import BadRequest, Internal, RateLimited, Unavailable
from mimir_rw.rpc.contracts.distributor import PartlyStored, Written
from tests.unit.api.harness import build_site


async def test_a_push_reaches_the_distributor_whole():
    site = build_site()
    reply = await site.request("POST", "/api/v1/push", chunks=[b"ab", b"", b"cd"])
    assert (reply.status, reply.body) == (200, b"")
    assert site.distributor.pushed == [("t1", b"abcd")]


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (BadRequest("bad", error_id="label-invalid"), 400, None),
        (RateLimited("slow", error_id="tenant-max-ingestion-rate"), 429, "6"),
        (Unavailable("full disk"), 503, "6"),
        (Internal("oh"), 500, "6"),
    ],
    ids=["bad request", "rate limited", "unavailable", "internal"],
)
async def test_refusals_are_plain_text_with_retry_after_where_it_helps(error, status, retry_after):
    site = build_site()
    site.distributor.error = error
    reply = await site.request("POST", "/api/v1/push", body=b"x")
    assert reply.status == status
    assert reply.body.decode() == f"{error}\n"
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.headers.get("retry-after") == retry_after


async def test_retry_after_grows_with_the_attempt():
    site = build_site()
    site.distributor.error = Unavailable("x")
    reply = await site.request("POST", "/api/v1/push", body=b"x", headers={"Retry-Attempt": "3"})
    assert reply.headers["retry-after"] == "48"


async def test_a_tenant_may_get_529_for_rate_limits():
    limits = Limits(defaults=TenantLimits(service_overload_status_code_on_rate_limit_enabled=True))
    site = build_site(limits=limits)
    site.distributor.error = RateLimited("slow")
    assert (await site.request("POST", "/api/v1/push", body=b"x")).status == 529


@pytest.mark.parametrize("declared", [{"Content-Length": "1001"}, {}], ids=["declared", "found while reading"])
async def test_a_body_over_the_limit_is_413(declared):
    site = build_site(body_bytes_max=1000)
    reply = await site.request("POST", "/api/v1/push", chunks=[b"x" * 600, b"y" * 401], headers=declared)
    assert reply.status == 413
    assert b"err-mimir-distributor-max-write-message-size" in reply.body
    assert site.distributor.pushed == []


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, b"io.prometheus.write.v2"),
        ({"Content-Type": 'application/x-protobuf; PROTO="prometheus.Unknown"'}, b"prometheus.Unknown"),
        ({"Content-Type": "application/json"}, b"application/json"),
        ({"Content-Type": "image/png"}, b"use application/x-protobuf"),
        ({"Content-Encoding": "zstd"}, b"zstd"),
        ({"Content-Encoding": "gzip"}, b"use snappy"),
    ],
)
async def test_other_messages_and_compressions_are_415(headers, said):
    site = build_site()
    reply = await site.request("POST", "/api/v1/push", body=b"x", headers=headers)
    assert reply.status == 415
    assert said in reply.body
    assert "retry-after" not in reply.headers
    assert site.distributor.pushed == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
        {"Content-Type": "application/x-protobuf;proto=prometheus.WriteRequest", "Content-Encoding": "Snappy"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
async def test_whatever_may_be_remote_write_one_is_taken(headers):
    site = build_site()
    assert (await site.request("POST", "/api/v1/push", body=b"x", headers=headers)).status == 200


V2 = {"Content-Type": 'application/x-protobuf; PROTO="io.prometheus.write.v2.Request"'}


def counts(reply):
    return {name: reply.headers.get(f"x-prometheus-remote-write-{name}-written") for name in NAMES}


NAMES = ("samples", "histograms", "exemplars")


async def test_every_answer_to_two_says_what_is_stored():
    site = build_site()
    reply = await site.request("POST", "/api/v1/push", body=b"x", headers=V2)
    assert (reply.status, reply.body, site.distributor.versions) == (204, b"", [2])
    assert counts(reply) == {"samples": "3", "histograms": "2", "exemplars": "1"}
    site.distributor.error = PartlyStored("some", error_id="label-invalid", written=Written(1, 0, 0))
    reply = await site.request("POST", "/api/v1/push", body=b"x", headers=V2)
    assert (reply.status, reply.body.strip()) == (400, b"some (err-mimir-label-invalid)")
    assert counts(reply) == {"samples": "1", "histograms": "0", "exemplars": "0"}
    for error, status in ((Unavailable("no quorum"), 503), (BadRequest("no"), 400)):
        site.distributor.error = error
        reply = await site.request("POST", "/api/v1/push", body=b"x", headers=V2)
        assert (reply.status, set(counts(reply).values())) == (status, {"0"})


async def test_no_answer_to_one_does():
    site = build_site()
    reply = await site.request("POST", "/api/v1/push", body=b"x")
    assert (reply.status, site.distributor.versions) == (200, [1])
    assert set(counts(reply).values()) == {None}


async def test_bodies_that_do_not_fit_together_get_503_and_leave_their_room():
    site = build_site(bodies_bytes_max=1000)
    release = asyncio.Event()
    site.distributor.gate = release
    first = asyncio.create_task(site.request("POST", "/api/v1/push", body=b"x" * 700))
    await asyncio.sleep(0)
    second = await site.request("POST", "/api/v1/push", chunks=[b"y" * 200, b"z" * 200])
    assert second.status == 503
    assert b"-distributor.max-receiving-bytes" in second.body
    assert second.headers["retry-after"] == "6"
    assert (await site.request("POST", "/api/v1/push", body=b"w" * 1001)).status == 413
    release.set()
    assert (await first).status == 200
    assert (await site.request("POST", "/api/v1/push", body=b"v" * 1000)).status == 200


async def test_a_body_at_the_limit_passes():
    site = build_site(body_bytes_max=1000)
    reply = await site.request("POST", "/api/v1/push", chunks=[b"x" * 600, b"y" * 400])
    assert reply.status == 200


async def test_an_unexpected_failure_tells_nothing_of_the_inside():
    site = build_site()
    site.distributor.error = KeyError("secret detail")
    reply = await site.request("POST", "/api/v1/push", body=b"x")
    assert reply.status == 500
    assert b"secret" not in reply.body


async def test_a_sender_that_goes_away_stores_nothing():
    site = build_site()
    out = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        out.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "raw_path": b"/api/v1/push",
        "query_string": b"",
        "headers": [(b"x-scope-orgid", b"t")],
    }
    await site.application(scope, receive, send)
    assert site.distributor.pushed == []
    assert out == []
    assert 'status_code="499"' in site.metrics.render().decode()


async def test_before_the_start_and_after_the_stop_pushes_get_503():
    site = build_site()
    site.traffic.open = False
    reply = await site.request("POST", "/api/v1/push", body=b"x")
    assert reply.status == 503
    assert b"starting" in reply.body
    assert (await site.get("/ready")).status == 200


async def test_stopping_waits_for_what_is_in_flight_and_closes_connections():
    site = build_site()
    site.distributor.gate = asyncio.Event()
    push = asyncio.ensure_future(site.request("POST", "/api/v1/push", body=b"x"))
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(site.traffic.shut_down())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not stopping.done()
    site.distributor.gate.set()
    reply = await push
    await stopping
    assert reply.status == 200
    assert reply.headers["connection"] == "close"
    assert not site.traffic.open
    late = await site.request("POST", "/api/v1/push", body=b"x")
    assert late.status == 503
    assert b"stopping" in late.body


async def test_requests_are_counted_under_mimirs_names():
    site = build_site()
    await site.request("POST", "/api/v1/push", body=b"abc")
    await site.get("/nowhere")
    text = site.metrics.render().decode()
    labels = 'method="POST",route="api_v1_push",status_code="200",ws="false"'
    assert f"cortex_request_duration_seconds_count{{{labels}}} 1.0" in text
    assert 'cortex_request_message_bytes_sum{method="POST",route="api_v1_push"} 3.0' in text
    assert 'cortex_inflight_requests{method="POST",route="api_v1_push"} 0.0' in text
    assert 'route="other",status_code="404"' in text
