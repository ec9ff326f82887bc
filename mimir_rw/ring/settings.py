"""What a reader of a ring must know about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RingSettings:
    replication_factor: int = 1
    zone_awareness: bool = False
    heartbeat_timeout_s: int = 60
    """0: heartbeats are not looked at."""
    excluded_zones: tuple[str, ...] = ()
    """Zones whose instances take part in nothing."""
    ignore_unhealthy: bool = False
    """One healthy replica is enough (store-gateways, compactors); otherwise a quorum must be healthy."""
    shards_cached_max: int = 4096
    """Tenants' shards remembered per topology."""
    shard_topologies_max: int = 256
    """Different sets of instances among them whose replica sets are kept. No setting: one that is not kept is made
    again when another tenant's shard is the same."""
