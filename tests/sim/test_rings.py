"""Processes without work find each other again after every disturbance."""

import pytest

from mimir_rw.ring import membership
from mimir_rw.testing import ring_scenario
from mimir_rw.testing.seeds import SCENARIOS, run_seed
from tests.sim.broken import seen

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("seed", [1])
def test_rings_agree(seed, monkeypatch):
    monkeypatch.setattr(ring_scenario, "LASTS_S", 200.0)
    assert run_seed(SCENARIOS["rings"], seed).complaints == ()


def test_an_instance_that_does_not_say_that_it_is_back(monkeypatch):
    monkeypatch.setattr(ring_scenario, "LASTS_S", 30.0)
    monkeypatch.setattr(membership, "heartbeat", lambda ring, own, now_s: (own, None))
    assert seen("rings", "not whole")
