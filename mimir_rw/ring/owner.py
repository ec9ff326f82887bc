"""Who owns a key of a ring without replicas, of those that are there: the compactors' ring."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.hashes import fnv1a
from mimir_rw.ring.operations import COMPACTOR
from mimir_rw.ring.view import RingView


def compactor_of(view: RingView, tenant: str, *, shard_size: int, now_s: int, key: str = "") -> InstanceDesc | None:
    """The compactor that a job with this key belongs to, or (without one) the tenant; None when there is none.

    shard_size: how many compactors work for the tenant, 0 for all. One that shows no life is passed over, so its work
    goes to others until it is back. Every process that sees the same ring and the same heartbeats finds the same.
    """
    shard = view.shuffle_shard(tenant, shard_size) if shard_size else view
    return owner(shard.healthy_instances(COMPACTOR, now_s=now_s), fnv1a((key or tenant).encode()))


def owner(instances: Sequence[InstanceDesc], token: int) -> InstanceDesc | None:
    """The instance with the first token after `token`, around the ring."""
    best: tuple[int, str, InstanceDesc] | None = None
    for instance in instances:
        tokens = instance.tokens
        if tokens:
            after = tokens[bisect_right(tokens, token) % len(tokens)]
            distance = (after - token - 1) % (1 << 32)
            if best is None or (distance, instance.id) < best[:2]:
                best = (distance, instance.id, instance)
    return None if best is None else best[2]
