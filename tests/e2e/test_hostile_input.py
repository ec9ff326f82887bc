"""Bad input from outside: 100,000 mutated pushes, 100,000 mutated queries, bombs. Only 4xx (or a success where the
mutation left something valid), no crash, bounded memory, the event loop never held for long."""

from __future__ import annotations

import http.client
import random
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cramjam
import pytest

from mimir_rw.testing.remote_write import compress, field, label, sample
from tests.e2e.processes import Process, metric, metrics, mimir_rw, request
from tests.e2e.remote_write import HEADERS, body

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]

PUSHES = 100_000
QUERIES = 100_000
RSS_GROWTH_MAX = 400 << 20
LOOP_LAG_SECONDS_MAX = "0.1"
STALL_SECONDS = 0.06

CORPUS = [
    'sum by (job) (rate(http_requests_total{code=~"5.."}[5m]))',
    "histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))",
    'a{b="c"} * on (b) group_left (d) e offset 5m',
    "max_over_time(rate(x[1m])[10m:30s]) @ 1700000000",
    'label_replace(up, "a", "$1", "b", "(.*)") > bool 1',
    "topk(5, -x ^ 2) unless y and z or w",
    '{__name__=~"a.*|b.+", "utf.8"="x"}',
    "quantile_over_time(0.5, x[1h]) / ignoring (a) y",
    "absent(x{a='b'}) + vector(time()) % 7",
]
TOKENS = ["(", ")", "{", "}", "[", "]", "5m", "0x1F", '"', "'", "`", "\\", "by", "on", "offset", "@", "-", "^", "rate",
          "sum", "=~", "!~", "\x00", "\u00e9", "\U0001f600", "1e999", "inf", "nan", ",", ":", "#", "bool"]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("hostile")
    process = mimir_rw(directory, "-log.level=error", "-distributor.ingestion-rate-limit=100000000",
                       "-distributor.ingestion-burst-size=1000000000")  # fmt: skip
    process.start()
    deadline = time.monotonic() + 10
    while metric(metrics(process.url), "cortex_event_loop_lag_seconds_count") == 0:
        assert time.monotonic() < deadline, "the loop's lag is not measured"
    yield process
    process.kill()


def held(server: Process) -> float:
    """How often the event loop has been held for longer than the bound so far."""
    scrape = metrics(server.url)
    samples = metric(scrape, "cortex_event_loop_lag_seconds_count")
    return samples - metric(scrape, "cortex_event_loop_lag_seconds_bucket", le=LOOP_LAG_SECONDS_MAX)


PULSE = f"""
import select, sys, time
missed, began = 0, time.monotonic()
while not select.select([sys.stdin], [], [], 0.01)[0]:
    now = time.monotonic()
    missed += now - began > {STALL_SECONDS}
    began = now
print(missed)
"""


@contextmanager
def pulse() -> Iterator[list[int]]:
    """Counts how often this machine did not run a process that only wanted to sleep: a virtual machine may be stopped
    for a while by its host, and then every process on it is late. The list holds the count in the end."""
    process = subprocess.Popen([sys.executable, "-c", PULSE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    missed: list[int] = []
    yield missed
    out, _ = process.communicate(timeout=30)
    missed.append(int(out))


@pytest.fixture(autouse=True)
def unharmed(server: Process) -> Iterator[None]:
    """After each test: still alive and ready, memory bounded, the loop was never held (but by the machine itself)."""
    before, held_before = server.rss(), held(server)
    with pulse() as missed:
        yield
    assert server.popen is not None
    assert server.popen.poll() is None, server.log_tail()
    assert request(server.url + "/ready").status == 200
    growth = server.rss() - before
    assert growth < RSS_GROWTH_MAX, f"RSS grew by {growth >> 20} MiB"
    times = held(server) - held_before
    stalls = missed[0]
    assert times <= stalls, f"the event loop was held for over {LOOP_LAG_SECONDS_MAX} s {times:.0f} times ({stalls=})"


def valid_body(rng: random.Random) -> bytes:
    now = int(time.time() * 1000)
    rows = [
        ({"__name__": f"m{rng.randrange(20)}", "a": "x" * rng.randrange(9), "b": str(n)}, now - n, rng.random())
        for n in range(rng.randrange(1, 12))
    ]
    return bytes(cramjam.snappy.decompress_raw(body(rows)))


def mutate(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(6):
            case 0 if out:
                out[at % len(out)] ^= 1 << rng.randrange(8)
            case 1:
                del out[at:]
            case 2:
                out[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 3 if out:
                del out[at % len(out) : at % len(out) + rng.randrange(1, 9)]
            case 4:
                out[at:at] = out[: rng.randrange(64)]
            case _:
                out[at:at] = b"\xff\xff\xff\xff\x0f"
    return bytes(out)


def test_mutated_pushes(server: Process) -> None:
    rng = random.Random(1)
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    seen: dict[int, int] = {}
    seeds = [valid_body(rng) for _ in range(50)]
    for n in range(PUSHES):
        raw = rng.choice(seeds)
        # Two in three damaged under the compression, the others in it.
        payload = compress(mutate(raw, rng)) if n % 3 else mutate(compress(raw), rng)
        client.request("POST", "/api/v1/push", payload, HEADERS)
        answer = client.getresponse()
        text = answer.read()
        seen[answer.status] = seen.get(answer.status, 0) + 1
        assert answer.status in (200, 204, 400, 413, 429), (n, answer.status, text)
    assert seen.get(400, 0) > PUSHES // 10, seen


def mutated_query(rng: random.Random) -> str:
    text = rng.choice(CORPUS)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                text = text[:at] + rng.choice(TOKENS) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randrange(1, 6) :]
            case 2:
                text = text[:at] + rng.choice(CORPUS)[: rng.randrange(30)] + text[at:]
            case _:
                text = text[:at] + chr(rng.randrange(1, 0x2FF)) + text[at:]
    return text


def test_mutated_queries(server: Process) -> None:
    rng = random.Random(2)
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    seen: dict[int, int] = {}
    for n in range(QUERIES):
        text = mutated_query(rng)
        form = urllib.parse.urlencode({"query": text, "time": "1700000000"})
        client.request("POST", "/prometheus/api/v1/query", form, headers)
        answer = client.getresponse()
        got = answer.read()
        seen[answer.status] = seen.get(answer.status, 0) + 1
        assert answer.status in (200, 400, 422), (n, text, answer.status, got)
    assert seen.get(400, 0) > QUERIES // 10, seen


def series(labels: bytes) -> bytes:
    return field(1, labels + sample(int(time.time() * 1000), 0.0))


BOMBS: dict[str, Callable[[], bytes]] = {
    "declares 4 GiB": lambda: b"\xff\xff\xff\xff\x0f\x00\x00",
    "declares 4 GiB, has junk": lambda: b"\xff\xff\xff\xff\x0f" + bytes(1 << 20),
    "10 MB label value": lambda: compress(series(label(b"__name__", b"a") + label(b"b", b"x" * 10_000_000))),
    "10 MB label name": lambda: compress(series(label(b"__name__", b"a") + label(b"x" * 10_000_000, b"b"))),
    "1M labels": lambda: compress(
        series(label(b"__name__", b"a") + b"".join(label(b"l%07d" % n, b"v") for n in range(1_000_000)))
    ),
    "1M empty series": lambda: compress(field(1, b"") * 1_000_000),
    "200 MB of zeros": lambda: compress(bytes(200_000_000)),
    "nested messages": lambda: compress(field(1, field(1, field(1, field(1, b"\x0a" * 100_000))))),
}


# Series without a sample mean nothing and are passed over.
HARMLESS = {"1M empty series", "nested messages"}


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda name: name.replace(" ", "-"))
def test_push_bombs(server: Process, bomb: str) -> None:
    answer = request(server.url + "/api/v1/push", data=BOMBS[bomb](), headers=HEADERS)
    if bomb in HARMLESS:
        assert answer.status == 200, (answer.status, answer.body[:300])
    else:
        assert answer.status in (400, 413), (answer.status, answer.body[:300])
    assert len(answer.body) < 10_000


QUERY_BOMBS = {
    "deep parentheses": "(" * 100_000 + "1" + ")" * 100_000,
    "deep unary": "-" * 100_000 + "1",
    "deep calls": "abs(" * 50_000 + "x" + ")" * 50_000,
    "deep power": "1" + "^1" * 100_000,
    "long sum": "+".join(["x"] * 50_000),
    "deep subqueries": "x" + "[5m:1m]" * 5_000,
    "catastrophic regex": '{a=~"' + "(a+)+" * 20 + '$"}',
    "huge repeat": '{a=~"((a{1,1000}){1,1000}){1,1000}"}',
    "deep regex": '{a=~"' + "(" * 5_000 + "a" + ")" * 5_000 + '"}',
    "1 MB string": '{a="' + "x" * 1_000_000 + '"}',
    "unclosed": '{a="' + "x" * 1_000_000,
    "wide range": "rate(x[1000y])",
}


@pytest.mark.parametrize("bomb", QUERY_BOMBS, ids=lambda name: name.replace(" ", "-"))
def test_query_bombs(server: Process, bomb: str) -> None:
    form = urllib.parse.urlencode({"query": QUERY_BOMBS[bomb], "time": "1700000000"}).encode()
    answer = request(server.url + "/prometheus/api/v1/query", data=form, timeout=60)
    assert answer.status in (200, 400, 413, 422), (answer.status, answer.body[:300])
    assert len(answer.body) < 3_000_000


@pytest.mark.parametrize(
    "query",
    ["start=0&end=1e15&step=1", "start=0&end=100000&step=0.000001", "start=nan&end=inf&step=1", "start=5&end=1&step=1",
     "start=0&end=100&step=-1", "start=1e400&end=2&step=3"],
)  # fmt: skip
def test_range_bombs(server: Process, query: str) -> None:
    answer = request(f"{server.url}/prometheus/api/v1/query_range?query=x&{query}")
    assert answer.status == 400, (answer.status, answer.body[:300])


@pytest.mark.parametrize("tenant", ["..", ".", "a/b", "a" * 151, "../../etc", "a\\b", "a b", "%2e%2e", "a|b"])
def test_tenant_tricks(tmp_path: Path, server: Process, tenant: str) -> None:
    directory = tmp_path / "multi"
    directory.mkdir()
    process = mimir_rw(directory, "-log.level=error", "-auth.multitenancy-enabled=true")
    process.start()
    try:
        headers = HEADERS | {"X-Scope-OrgID": tenant}
        now = int(time.time() * 1000)
        answer = request(process.url + "/api/v1/push", data=body([({"__name__": "a"}, now, 1.0)]), headers=headers)
        assert answer.status in (400, 401, 422), (answer.status, answer.body[:300])
        assert sorted(p.name for p in directory.iterdir()) == ["mimir-rw.log", "tsdb"]
    finally:
        process.kill()
