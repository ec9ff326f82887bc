"""Members and values agree under faults; and a cluster that is broken on purpose does not get away with it."""

import pytest

from mimir_rw.kv.memberlist.core import Membership
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.store import Store
from mimir_rw.testing import gossip_scenario
from mimir_rw.testing.nemesis import Nemesis
from mimir_rw.testing.seeds import SCENARIOS, run_seed
from tests.sim.broken import seen

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("seed", [1, 10])
def test_members_and_values_agree(seed):
    assert run_seed(SCENARIOS["gossip"], seed).complaints == ()


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(gossip_scenario, "LASTS_S", 120.0)


def test_a_node_that_does_not_contradict_a_false_suspicion(short, monkeypatch):
    monkeypatch.setattr(Membership, "_refute", lambda self, accused: [])
    assert seen("gossip", "members differ")


def test_a_store_that_takes_no_news(short, monkeypatch):
    monkeypatch.setattr(Store, "receive", lambda self, data, now_ms: None)
    assert seen("gossip", "values differ")


def test_a_cluster_that_was_split_for_long_and_never_joins_again(short, monkeypatch):
    monkeypatch.setattr("mimir_rw.testing.nemesis.LASTS_S", (300.0, 300.0))

    async def cut(self, nodes):
        await Nemesis._cut(self, list(nodes))

    for kind in ("_kill", "_stop", "_freeze", "_slow", "_flaky", "_skew"):
        monkeypatch.setattr(Nemesis, kind, cut)
    whole = MemberlistSettings
    monkeypatch.setattr(
        gossip_scenario, "MemberlistSettings", lambda **given: whole(**{**given, "rejoin_interval_s": 0.0})
    )
    assert seen("gossip", "members differ")
