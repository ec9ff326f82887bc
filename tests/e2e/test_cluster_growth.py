"""More than one ingester a zone: the write group grows and shrinks under a tenant close to its limits, and some of its
ingesters restart or die. Every answer is compared; nobody outside may notice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOMY, Cluster
from tests.e2e.processes import metric, metrics, request
from tests.e2e.steady_load import SteadyLoad

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FIRST = ("write-a-1", "write-b-1", "write-c-1")
SECOND = ("write-a-2", "write-b-2", "write-c-2")
OTHERS = ("backend-a-1", "backend-b-1", "backend-c-1", "read-1", "read-2")

SERIES = 8_500
INTERVAL_S = 2.0
NEWCOMERS = 10
STEPS_MAX = 100
SERIES_MAX = 10_000
"""The load has 85 % of it at first and grows to 95 % by its last step."""
RATE_MAX = SERIES_MAX / INTERVAL_S
CLOSE_LIMITS = (
    f"-ingester.max-global-series-per-user={SERIES_MAX}",
    f"-distributor.ingestion-rate-limit={RATE_MAX}",
    f"-distributor.ingestion-burst-size={4 * int(RATE_MAX)}",
)
"""The burst is four seconds of the rate, as by default."""


def load_of(cluster: Cluster, newcomers: int = NEWCOMERS) -> SteadyLoad:
    return SteadyLoad(
        cluster.url, series=SERIES, per_request=500, interval_s=INTERVAL_S, newcomers=newcomers, writers=3
    ).start()


def finish(cluster: Cluster, load: SteadyLoad) -> None:
    load.wait_steps(2)
    outcome = load.stop()
    print(
        f"\n{outcome.writes} writes (slowest {outcome.slowest_write_s:.2f} s), {outcome.queries} queries (slowest "
        f"{outcome.slowest_query_s:.2f} s), {load.complete + 1} steps"
    )
    assert load.complete < STEPS_MAX, "the limits were not those of the load any more"
    assert not outcome.complaint(), f"{outcome.complaint()}\n{cluster.logs()}"
    assert outcome.queries > 10
    complaints = load.audit()
    assert not complaints, f"{len(complaints)} complaints, first: {complaints[:3]}\n{cluster.logs()}"


@pytest.fixture
def close_to_limits(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, per_zone=2, flags=(*CLOSE_LIMITS, "-log.level=info"))
    try:
        yield cluster.start(*FIRST, *OTHERS)
    finally:
        cluster.close()


def switch(cluster: Cluster, name: str, path: str, method: str, body: bytes | None = None) -> dict[str, int]:
    answer = request(cluster.nodes[name].url + path, method=method, data=body)
    assert answer.status == 200, answer.body
    found: dict[str, int] = json.loads(answer.body)
    return found


def test_a_tenant_close_to_its_limits_notices_nothing_of_growth(close_to_limits: Cluster) -> None:
    cluster = close_to_limits
    load = load_of(cluster)
    load.wait_steps(4)

    # All three at once, one in each zone.
    cluster.restart(*SECOND)
    cluster.route(*FIRST, *SECOND, *OTHERS)
    load.wait_steps(8)
    assert all(metric(metrics(cluster.nodes[name].url), "cortex_ingester_memory_series") for name in SECOND)

    # They take no more writes, one zone after another, and go on answering queries.
    for name in SECOND:
        assert switch(cluster, name, "/ingester/prepare-instance-ring-downscale", "POST")["timestamp"] > 0
        load.wait_steps(2)
    cluster.route(*FIRST, *OTHERS)
    load.wait_steps(20)  # longer than bursts would hide rates that are divided by too many

    # The two other zones have all that the first one loses.
    leave(cluster, SECOND[0])
    load.wait_steps(4)

    # What was written while there were six is not whole in two zones from here on.
    load.oldest = load.complete + 1
    for name in SECOND[1:]:
        leave(cluster, name)
        load.wait_steps(2)
    finish(cluster, load)


def leave(cluster: Cluster, name: str) -> None:
    assert switch(cluster, name, "/ingester/unregister-on-shutdown", "PUT", b'{"unregister": true}') == {
        "unregister": True
    }
    assert cluster.terminate(name) == 0, cluster.nodes[name].log_tail()


def test_ingesters_of_six_restart_and_die(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, per_zone=2, flags=ROOMY)
    try:
        cluster.start(*FIRST, *SECOND, *OTHERS)
        load = load_of(cluster)
        load.wait_steps(3)

        assert cluster.terminate("write-a-2") == 0
        load.wait_steps(2)
        cluster.restart("write-a-2")
        load.wait_steps(2)

        cluster.kill("write-b-1")
        load.wait_steps(3)
        cluster.restart("write-b-1")
        load.wait_steps(2)

        zone = cluster.names("write", "zone-c")
        cluster.kill(*zone)
        load.wait_steps(3)
        cluster.restart(*zone)
        load.wait_steps(2)

        for name in cluster.names("write", "zone-a"):
            assert cluster.terminate(name) == 0
        load.wait_steps(2)
        cluster.restart(*cluster.names("write", "zone-a"))
        finish(cluster, load)
    finally:
        cluster.close()
