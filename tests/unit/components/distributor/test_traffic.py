from __future__ import annotations

from mimir_rw.components.distributor.core import TenantRates
from mimir_rw.components.distributor.traffic import QUIET_S, RingPeers, Traffic
from mimir_rw.config.limits import TenantLimits
from mimir_rw.ring.desc import InstanceState
from mimir_rw.ring.settings import RingSettings
from tests.unit.components.distributor.ingesters import FakeRing, instance


class FakeClock:
    seconds = 0

    def now_ms(self) -> int:
        return self.seconds * 1000

    def monotonic(self) -> float:
        return float(self.seconds)


def test_it_is_active_while_pushes_come() -> None:
    traffic = Traffic()
    assert traffic.state(0.0) is InstanceState.JOINING
    traffic.pushed(10.0)
    assert traffic.state(10.0) is InstanceState.ACTIVE
    assert traffic.state(10.0 + QUIET_S) is InstanceState.PENDING
    traffic.pushed(200.0)
    assert traffic.state(200.0) is InstanceState.ACTIVE


def test_bursts_outlast_the_time_until_idle_distributors_are_not_counted() -> None:
    limits = TenantLimits()
    rates, heard_s = TenantRates(limits, 6, 0.0), int(QUIET_S) + 4
    for second in range(1, 120):
        if second == heard_s:
            rates.follow(limits, 3, float(second))
        rates.take_items(float(second), int(limits.ingestion_rate * 0.95 / 3), 0, 0)


async def test_those_that_take_traffic_are_counted_and_the_one_that_asks() -> None:
    ring = FakeRing(
        RingSettings(heartbeat_timeout_s=60),
        [
            instance("d-0", state=InstanceState.JOINING),
            instance("d-1"),
            instance("d-2"),
            instance("d-3", state=InstanceState.PENDING),
            instance("d-4", timestamp_s=30),
        ],
    )
    announced: list[InstanceState] = []

    async def announce(state: InstanceState) -> None:
        announced.append(state)

    clock = FakeClock()
    peers = RingPeers(view=ring.view, instance_id="d-0", announce=announce, clock=clock)
    clock.seconds = 90
    assert peers.count() == 4
    clock.seconds = 91
    assert peers.count() == 3
    ring.become([])
    clock.seconds = 92
    assert peers.count() == 1
    await peers.announce(InstanceState.ACTIVE)
    assert announced == [InstanceState.ACTIVE]
