from __future__ import annotations

import pytest

from mimir_rw.components.ingester.local_limits import ShareHistory, local_limit, localised, share_of
from mimir_rw.config.limits import TenantLimits
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import RingView, ring_view

QUARTER = 1 << 30


def instance(id: str, *quarters: float, zone: str = "") -> InstanceDesc:
    """With tokens at these quarters of the ring."""
    tokens = tuple(int(q * QUARTER) for q in quarters)
    return InstanceDesc(id, zone=zone, tokens=tokens, versions={RPC_VERSION_KEY: 2})


def view(*instances: InstanceDesc, factor: int = 3, zones: bool = True) -> RingView:
    return ring_view(RingDesc(instances), RingSettings(replication_factor=factor, zone_awareness=zones))


THREE_ZONES = (
    instance("a-0", 0, 2, zone="a"),
    instance("a-1", 1, 3, zone="a"),
    instance("b-0", 0.1, zone="b"),
    instance("c-0", 0.2, 1.2, zone="c"),
    instance("c-1", 2.2, zone="c"),
)


@pytest.mark.parametrize(
    ("id", "share"),
    [("a-0", 0.5), ("b-0", 1.0), ("c-0", 0.75), ("c-1", 0.5), ("elsewhere", 1.0)],
    ids=["even", "alone in its zone", "most of the tokens", "fewer keys than the others", "not in the ring"],
)
def test_share_of_a_zone(id: str, share: float) -> None:
    assert share_of(view(*THREE_ZONES), id) == pytest.approx(share)


def test_who_owns_more_of_the_tokens_may_hold_more() -> None:
    ring = view(instance("a-0", 0, zone="a"), instance("a-1", 1, zone="a"), instance("b-0", 0.5, zone="b"), factor=2)
    assert share_of(ring, "a-0") == pytest.approx(0.75)
    assert share_of(ring, "a-1") == pytest.approx(0.5)


def test_without_zones_it_is_the_part_of_the_replicas() -> None:
    ring = view(*(instance(f"i-{n}", n) for n in range(4)), factor=3, zones=False)
    assert share_of(ring, "i-0") == pytest.approx(0.75)
    assert share_of(view(instance("i-0", 0), factor=3, zones=False), "i-0") == 1.0
    assert share_of(view(*(instance(f"i-{n}", n) for n in range(4)), factor=1, zones=False), "i-0") == 0.25


def test_a_share_that_falls_counts_for_a_while_longer() -> None:
    history = ShareHistory(1.0, keep_s=100)
    history.update(0.5, 10)
    history.update(0.25, 50)
    history.update(0.4, 60)
    assert [history.in_force(t) for t in (10, 109, 110, 149, 150, 160)] == [1.0, 1.0, 0.5, 0.5, 0.4, 0.4]


def test_a_share_that_rises_counts_at_once() -> None:
    history = ShareHistory(0.25, keep_s=100)
    history.update(0.5, 10)
    history.update(1.0, 10)
    assert history.in_force(10) == 1.0
    assert history.in_force(10_000) == 1.0


def test_local_limits() -> None:
    limits = TenantLimits(
        max_global_series_per_user=1001, max_global_series_per_metric=0, max_global_metadata_per_user=7
    )
    here = localised(limits, 0.5)
    assert here.max_global_series_per_user == 501
    assert here.max_global_series_per_metric == 0
    assert here.max_global_metadata_per_user == 7
    assert localised(limits, 1.0) is limits
    assert local_limit(1, 0.001) == 1
