"""Processes die, stop, freeze and come back under load; nobody outside may notice.

50,000 series through the gateway, a query every 100 ms, every answer compared; at the end every series is read back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOMY, Cluster
from tests.e2e.network import network
from tests.e2e.steady_load import SteadyLoad

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ZONES = ("zone-a", "zone-b", "zone-c")


class Trial:
    """A cluster under load. Leaving it says what went wrong."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.load = SteadyLoad(cluster.url).start()

    def settle(self, steps: int = 2) -> None:
        """Let the load go on for some steps."""
        self.load.wait_steps(steps)

    def finish(self) -> None:
        self.settle()
        outcome = self.load.stop()
        print(
            f"\n{outcome.writes} writes (slowest {outcome.slowest_write_s:.2f} s), {outcome.queries} queries "
            f"(slowest {outcome.slowest_query_s:.2f} s), {self.load.complete + 1} steps"
        )
        complaint = outcome.complaint()
        assert not complaint, f"{complaint}\n{self.cluster.logs()}"
        assert outcome.queries > 10
        complaints = self.load.audit()
        assert not complaints, f"{len(complaints)} complaints, first: {complaints[:3]}\n{self.cluster.logs()}"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def trial(cluster: Cluster) -> Trial:
    return Trial(cluster)


def test_a_zone_is_killed_and_comes_back(trial: Trial) -> None:
    for zone in ZONES:
        names = trial.cluster.names("write", zone) + trial.cluster.names("backend", zone)
        trial.cluster.kill(*names)
        trial.settle(4)
        trial.cluster.restart(*names)
        trial.settle(3)
    trial.finish()


def test_each_process_is_killed_in_turn(trial: Trial) -> None:
    for name in trial.cluster.names():
        trial.cluster.kill(name)
        trial.settle(2)
        trial.cluster.restart(name)
        trial.settle(2)
    trial.finish()


def test_each_process_is_restarted_in_turn(trial: Trial) -> None:
    for name in trial.cluster.names():
        assert trial.cluster.terminate(name) == 0, trial.cluster.nodes[name].log_tail()
        trial.settle(1)
        trial.cluster.restart(name)
        trial.settle(1)
    trial.finish()


def test_an_ingester_is_frozen_for_a_minute(trial: Trial) -> None:
    name = trial.cluster.names("write", "zone-b")[0]
    trial.cluster.freeze(name)
    time.sleep(60)
    trial.cluster.thaw(name)
    trial.settle(4)
    trial.finish()


def test_everything_is_killed_at_once(trial: Trial) -> None:
    trial.settle(4)
    load, cluster = trial.load, trial.cluster
    # The load sees failures once everything is dead; what was acknowledged before must be there after.
    cluster.kill(*cluster.names())
    load.stop()
    assert not load.outcome.wrong_answers
    cluster.restart(*cluster.names())
    complaints = load.audit()
    assert not complaints, f"{len(complaints)} complaints, first: {complaints[:3]}\n{cluster.logs()}"


def test_rolling_restart_from_the_previous_protocol(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, flags=ROOMY)
    for name in cluster.names():
        cluster.reconfigure(name, "-server.rpc-protocol-max=1")
    try:
        trial = Trial(cluster.start())
        for name in cluster.names():
            assert cluster.terminate(name) == 0
            cluster.reconfigure(name)
            cluster.restart(name)
            trial.settle(1)
        trial.finish()
    finally:
        cluster.close()


def test_each_zone_is_cut_off_from_the_others_and_healed(tmp_path: Path) -> None:
    with network() as net:
        cluster = Cluster(tmp_path, network=net)
        try:
            trial = Trial(cluster.start())
            for zone in ZONES:
                net.cut((zone,), tuple(other for other in ZONES if other != zone))
                trial.settle(8)
                net.heal()
                trial.settle(4)
            trial.finish()
        finally:
            cluster.close()
