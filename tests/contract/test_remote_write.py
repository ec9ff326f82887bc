"""What remote write's receivers are held to (remote-write.md sections 1, 3.1, 5 and 10), from the HTTP request down to
a head on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mimir_rw.components.distributor.replication import RingStore
from mimir_rw.components.distributor.sender import Sender
from mimir_rw.components.distributor.senders import Senders
from mimir_rw.components.ingester.service import IngesterService
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.testing import remote_write as v1
from tests import remote_write_v2 as v2
from tests.remote_write_v2 import Histogram, Request
from tests.unit.api.harness import Reply, Site, build_site
from tests.unit.components.distributor.ingesters import FakeRing, instance
from tests.unit.components.distributor.test_service import NOW_MS, FakeClock, bed
from tests.unit.components.ingester.ingester_world import World
from tests.unit.tsdb.batches import KEY

NAMES = ("samples", "histograms", "exemplars")
V1 = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
V2 = {
    "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "2.0.0",
}
NONE = (0, 0, 0)
LIMITS = TenantLimits(out_of_order_time_window=0, max_global_exemplars_per_user=1000, name_validation_scheme="utf8")


class Receiver:
    """One process, without its sockets."""

    def __init__(self, site: Site, ingester: IngesterService) -> None:
        self._site = site
        self._ingester = ingester

    async def push(self, body: bytes, headers: dict[str, str] | None = None) -> Reply:
        reply: Reply = await self._site.request("POST", "/api/v1/push", body=body, headers=headers or V2, tenant="t")
        return reply

    async def series(self) -> int:
        everything = [[Matcher(MatchType.NOT_EQUAL, "__name__", "")]]
        return len(await self._ingester.series("t", everything, 0, 1 << 50))


def counts(reply: Reply) -> tuple[int, ...] | None:
    """Samples, histograms, exemplars; None where the answer tells none."""
    told = [reply.headers.get(f"x-prometheus-remote-write-{name}-written") for name in NAMES]
    assert len({text is None for text in told}) == 1
    return None if told[0] is None else tuple(int(text) for text in told if text is not None)


@asynccontextmanager
async def receiver(directory: Path) -> AsyncIterator[Receiver]:
    world = World(directory)
    world.limits = Limits(defaults=LIMITS)
    async with world.running() as ingester:
        alone = instance("a-0", "a")

        def no_sender(to: InstanceDesc) -> Sender:
            raise AssertionError("the only ingester is here")

        store = RingStore(
            ring=FakeRing(RingSettings(replication_factor=1), [alone]),
            senders=lambda tasks: Senders(make=no_sender),
            local=(alone.id, ingester),
            clock=FakeClock(),
            timeout_s=5,
        )
        async with bed(LIMITS, store=store, series_key=lambda: KEY) as b:
            site = build_site(body_bytes_max=1 << 20, distributor=b.service)
            yield Receiver(site, ingester)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with receiver(tmp_path / "tsdb") as made:
        yield made


def request(*fields: bytes, labels: dict[str, str] | None = None) -> bytes:
    """A 2.0 request of one series."""
    made = Request()
    made.series({"__name__": "up"} if labels is None else labels, *fields)
    return made.body()


def exemplars(*texts: str) -> bytes:
    """A series with one sample and an exemplar for each label value."""
    made = Request()
    fields = [made.exemplar({"trace_id": text}, NOW_MS - 10 + i, 0.5) for i, text in enumerate(texts)]
    made.series({"__name__": "up"}, v2.sample(NOW_MS, 1.0), *fields)
    return made.body()


SAMPLE = v2.sample(NOW_MS, 1.0)
UP = request(SAMPLE)
UP_V1 = v1.body(v1.series({"__name__": "up"}, [(NOW_MS, 1.0)]))
EXPONENTIAL = Histogram(positive=([(0, 2), (1, 1)], [1, 2, 3]), zero_count=1, zero_threshold=1e-3, sum=9)
CUSTOM = Histogram(positive=([(0, 3)], [1, 2, 3]), schema=v2.CUSTOM_BUCKETS, custom=(0.5, 1.0), sum=9)


@dataclass(frozen=True)
class Case:
    name: str
    body: bytes
    status: int
    written: tuple[int, int, int]
    series: int = 1
    """That are stored then."""
    said: bytes = b""


def with_metadata(kind: int) -> bytes:
    made = Request()
    made.series({"__name__": "up"}, SAMPLE, made.metadata(kind, "Is it up?", "seconds"))
    return made.body()


def several(*series: tuple[dict[str, str], tuple[bytes, ...]]) -> bytes:
    made = Request()
    for labels, fields in series:
        made.series(labels, *fields)
    return made.body()


def raw(message: bytes, *good: bytes) -> bytes:
    """A series that is as given, before one that is fine."""
    made = Request()
    made.raw(message + SAMPLE)
    if good:
        made.series({"__name__": "up"}, *good)
    return made.body()


def kinds() -> list[Case]:
    floats = Histogram(positive=([(0, 1)], [1.5]), negative=([(0, 1)], [0.5]), sum=1, floats=True)
    histograms = {
        "exponential": EXPONENTIAL,
        "custom buckets": CUSTOM,
        "negative only": Histogram(negative=([(0, 2)], [3, 1]), sum=-4),
        "zero only": Histogram(zero_count=5, zero_threshold=1e-6),
        "empty": Histogram(),
        "floats": floats,
        "gauge": Histogram(positive=([(0, 1)], [2]), hint=3),
        "finer than is stored": Histogram(positive=([(0, 3)], [1, 2, 3]), schema=12),
    }
    cases = [
        Case(f"histogram, {name}", request(v2.histogram(NOW_MS, of)), 204, (0, 1, 0)) for name, of in histograms.items()
    ]
    cases += [Case(f"metadata of type {kind}", with_metadata(kind), 204, (1, 0, 0)) for kind in range(8)]
    return cases


BAD_COUNT = Histogram(positive=([(0, 2)], [1, 2]), count=9)
OLD = v2.sample(NOW_MS - 1, 1.0)
CASES = [
    *kinds(),
    Case("a sample", UP, 204, (1, 0, 0)),
    Case("a start timestamp", request(v2.sample(NOW_MS, 1.0, NOW_MS - 5000)), 204, (1, 0, 0)),
    Case("a start after its sample", request(v2.sample(NOW_MS, 1.0, NOW_MS + 5000)), 204, (1, 0, 0)),
    Case("the same sample twice", request(SAMPLE, SAMPLE), 204, (2, 0, 0)),
    Case("one series twice", several(({"__name__": "up"}, (OLD,)), ({"__name__": "up"}, (SAMPLE,))), 204, (2, 0, 0)),
    Case("labels with unicode", request(SAMPLE, labels={"__name__": "ü p", "ключ": "値"}), 204, (1, 0, 0)),
    Case("exemplars with unicode", exemplars("a", "ü値"), 204, (1, 0, 2)),
    Case("an exemplar without a value", exemplars("a", ""), 204, (1, 0, 1)),
    Case("no series", v1.compress(v1.field(4, b"")), 204, NONE, series=0),
    Case("wrong count of a histogram", request(v2.histogram(NOW_MS, BAD_COUNT)), 400, NONE, series=0),
    Case("unknown schema", request(v2.histogram(NOW_MS, Histogram(schema=-9))), 400, NONE, series=0),
    Case("no samples", request(), 400, NONE, series=0, said=b"no samples"),
    Case("no samples in one of two", several(({"__name__": "a"}, ()), ({"__name__": "b"}, (SAMPLE,))), 400, (1, 0, 0)),
    Case("no name", request(SAMPLE, labels={"job": "a"}), 400, NONE, series=0, said=b"missing-metric-name"),
    Case("an empty name", request(SAMPLE, labels={"__name__": ""}), 400, NONE, series=0),
    Case("no labels", request(SAMPLE, labels={}), 400, NONE, series=0),
    Case("an odd number of references", raw(v1.field(1, b"\x01"), SAMPLE), 400, (1, 0, 0)),
    Case("references to no symbol", raw(v1.field(1, b"\x01\x63"), SAMPLE), 400, (1, 0, 0)),
    Case("two values for a label", raw(v1.field(1, b"\x01\x02\x01\x02"), SAMPLE), 400, (1, 0, 0)),
    Case("far in the future", request(SAMPLE, v2.sample(NOW_MS + 3_600_000, 1.0)), 400, (1, 0, 0)),
    Case("out of order", request(SAMPLE, OLD), 400, (1, 0, 0), said=b"sample-out-of-order"),
    Case("another value", request(SAMPLE, v2.sample(NOW_MS, 2.0)), 400, (1, 0, 0), said=b"sample-duplicate-timestamp"),
    Case("two reasons", request(SAMPLE, OLD, v2.sample(NOW_MS, 2.0)), 400, (1, 0, 0), said=b"out-of-order"),
    Case(
        "an old histogram",
        request(v2.histogram(NOW_MS, EXPONENTIAL), v2.histogram(NOW_MS - 1, EXPONENTIAL)),
        400,
        (0, 1, 0),
    ),
    Case("not protobuf", v1.compress(b"\xff\xff"), 400, NONE, series=0),
    Case("a 1.0 message", UP_V1, 400, NONE, series=0),
    Case("not snappy", b"\xff\xff\xff", 400, NONE, series=0),
    Case("framed snappy", b"\xff\x06\x00\x00sNaPpY", 400, NONE, series=0),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_is_said_of_a_request_is_what_is_stored(process: Receiver, case: Case) -> None:
    reply = await process.push(case.body)
    assert (reply.status, counts(reply)) == (case.status, case.written), reply.body
    assert case.said in reply.body
    assert (reply.body == b"") == (case.status == 204)
    assert "retry-after" not in reply.headers
    assert await process.series() == case.series


@pytest.mark.parametrize("body", [UP, request(v2.histogram(NOW_MS, EXPONENTIAL)), exemplars("a")])
async def test_what_comes_again_counts_again(process: Receiver, body: bytes) -> None:
    first, second = [await process.push(body) for _ in range(2)]
    assert (first.status, second.status) == (204, 204)
    assert counts(first) == counts(second)
    assert counts(first) != NONE


HEADERS: dict[str, tuple[dict[str, str | None], bytes, int, tuple[int, int, int] | None]] = {
    "no content type is 1.0": ({"Content-Type": None}, UP_V1, 200, None),
    "no message is 1.0": ({"Content-Type": "application/x-protobuf"}, UP_V1, 200, None),
    "the 1.0 message": ({"Content-Type": "application/x-protobuf;proto=prometheus.WriteRequest"}, UP_V1, 200, None),
    "the version header decides nothing": ({"X-Prometheus-Remote-Write-Version": "0.1.0"}, UP, 204, (1, 0, 0)),
    "spaces and case": (
        {"Content-Type": "Application/X-Protobuf ; Proto=io.prometheus.write.v2.Request"}, UP, 204, (1, 0, 0)
    ),
    "no encoding is snappy": ({"Content-Encoding": None}, UP, 204, (1, 0, 0)),
    "json": ({"Content-Type": "application/json"}, UP, 415, None),
    "an image": ({"Content-Type": "image/png"}, UP, 415, None),
    "another message": ({"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, UP, 415, None),
    "gzip": ({"Content-Encoding": "gzip"}, UP, 415, None),
    "deflate": ({"Content-Encoding": "deflate"}, UP, 415, None),
    "a 2.0 message as 1.0": ({"Content-Type": V1["Content-Type"]}, UP, 400, None),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
async def test_the_content_type_says_which_message_it_is(process: Receiver, name: str) -> None:
    changes, body, status, written = HEADERS[name]
    headers = {key: text for key, text in {**V2, **changes}.items() if text is not None}
    reply = await process.push(body, headers)
    assert (reply.status, await process.series()) == (status, int(status < 300)), reply.body
    if status != 415:
        assert counts(reply) == written
    else:
        assert counts(reply) in (None, NONE)


@pytest.mark.parametrize(
    "message", [UP_V1, v1.compress(b"\xff\xff"), v1.body(v1.series({"job": "a"}, [(NOW_MS, 1.0)]))]
)
async def test_no_answer_to_one_has_counts(process: Receiver, message: bytes) -> None:
    assert counts(await process.push(message, V1)) is None
