"""The instances that serve one tenant: few, spread over zones, and stable (ring-and-gossip.md section 7.1). Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.go_rand import GoRand
from mimir_rw.ring.hashes import shard_seed
from mimir_rw.ring.topology import Topology


@dataclass(frozen=True, slots=True)
class Lookback:
    """until_s: instances that came, or became read-only, at or after it are joined by one more. None: no lookback."""

    until_s: int | None

    def admits(self, instance: InstanceDesc) -> bool:
        """The read-only test. One that only just became read-only still has what was written to it."""
        if not instance.read_only:
            return True
        return self.until_s is not None and not 0 < instance.read_only_updated_s < self.until_s

    def extends_on(self, instance: InstanceDesc) -> bool:
        if self.until_s is None:
            return False
        came = instance.registered_s >= self.until_s
        return came or instance.read_only or instance.read_only_updated_s >= self.until_s


def shard_members(topology: Topology, identifier: str, size: int, lookback: Lookback) -> frozenset[int]:
    """Numbers of the instances in the shard. size 0, or at least all of them: every one that is admitted."""
    if size == 0 or size >= len(topology.instances):
        return frozenset(n for n, instance in enumerate(topology.instances) if lookback.admits(instance))
    if lookback.until_s is not None and min(i.registered_s for i in topology.instances) >= lookback.until_s:
        return frozenset(range(len(topology.instances)))
    zones = topology.zones if topology.settings.zone_awareness else (None,)
    per_zone = -(-size // len(zones))
    members: set[int] = set()
    for zone in zones:
        members.update(_zone_members(topology, zone, identifier, per_zone, lookback))
    return frozenset(members)


def _zone_members(topology: Topology, zone: str | None, identifier: str, per_zone: int, lookback: Lookback) -> set[int]:
    """zone None: the whole ring as one."""
    within = [n for n, i in enumerate(topology.instances) if zone is None or i.zone == zone]
    if per_zone >= len(within):
        return {n for n in within if lookback.admits(topology.instances[n])}
    tokens, owners = topology.zone_tokens(zone)
    draws = GoRand(shard_seed(identifier, zone or ""))
    members: set[int] = set()
    for _ in range(per_zone):
        for number in _walk(tokens, owners, draws.uint32()):
            instance = topology.instances[number]
            if number in members or not lookback.admits(instance):
                continue
            members.add(number)
            if not lookback.extends_on(instance):
                break
        else:
            break  # the zone has no more
    return members


def _walk(tokens: list[int], owners: list[int], key: int) -> Iterator[int]:
    """Owners from the first token greater than the key on, once around."""
    start = bisect_right(tokens, key)
    yield from owners[start:]
    yield from owners[:start]
