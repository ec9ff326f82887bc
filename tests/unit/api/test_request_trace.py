"""Where the id of a request comes from, and that it is the one in the log."""

import pytest

from mimir_rw.api.trace import trace_of
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.trace import current_trace
from mimir_rw.model.errors import Unavailable
from tests.unit.api.harness import build_site

W3C = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"00-" + W3C + b"-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ([(b"traceparent", PARENT)], W3C),
        ([(b"traceparent", b"cc-" + PARENT[3:] + b"-more")], W3C),
        ([(b"x-request-id", b"req-7"), (b"traceparent", PARENT)], W3C),
        ([(b"x-request-id", b"req-7")], b"req-7"),
        ([(b"x-request-id", b"req-7"), (b"traceparent", b"00-" + b"0" * 32 + PARENT[35:])], b"req-7"),
        ([(b"x-request-id", b"req-7"), (b"traceparent", PARENT[:-1])], b"req-7"),
        ([(b"x-request-id", b"req-7"), (b"traceparent", PARENT.upper())], b"req-7"),
    ],
    ids=["w3c", "later version", "w3c first", "request id", "zero trace", "cut off", "capitals"],
)
def test_what_the_client_says(headers, trace):
    assert trace_of({"headers": headers}, seeded_rng(1)) == trace.decode()


@pytest.mark.parametrize("given", [b"", b"a b", b"x\x1b[1m", b"\xff", b"x" * 129], ids=repr)
def test_otherwise_a_new_one(given):
    found = trace_of({"headers": [(b"x-request-id", given)]}, seeded_rng(1))
    assert len(found) == 32
    assert found == trace_of({"headers": []}, seeded_rng(1))


async def test_a_handler_works_under_it():
    site = build_site()
    seen = []

    async def push(tenant, body, *, version):
        seen.append(current_trace())
        raise Unavailable("no quorum")

    site.distributor.push_remote_write = push
    for headers in ({"traceparent": PARENT.decode()}, {}, {}):
        await site.request("POST", "/api/v1/push", body=b"x", headers=headers)
    assert seen[0] == W3C.decode()
    assert len(set(seen)) == 3
    assert current_trace() == ""
