"""A tenant near its limits while ingesters and distributors come and go; and what is broken on purpose is seen."""

import pytest

from mimir_rw.components.distributor.traffic import RingPeers
from mimir_rw.components.ingester import ownership
from mimir_rw.testing.seeds import SCENARIOS, run_seed
from tests.sim.broken import seen

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("seed", [1])
def test_nothing_is_refused_while_the_cluster_grows_and_shrinks(seed):
    assert run_seed(SCENARIOS["growth"], seed).complaints == ()


def test_a_share_that_the_ring_took_away_and_that_is_taken_at_once(monkeypatch):
    monkeypatch.setattr(ownership, "share_of", lambda shard, instance_id: 1 / len(shard))
    assert seen("growth", "max-series-per-user")


def test_distributors_that_count_more_of_them_than_there_are(monkeypatch):
    count = RingPeers.count
    monkeypatch.setattr(RingPeers, "count", lambda self: 2 * count(self))
    assert seen("growth", "429")
