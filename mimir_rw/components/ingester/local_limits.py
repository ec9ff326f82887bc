"""From a tenant's limit over the whole cluster to that of one ingester; pure.

The share of a zone's ingester is one by the number of ingesters in the zone, or, where chance gave it more of the
tokens than that, as much as it has of them. Each zone holds every series once. Without zones an ingester holds its
share of the replicas.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import numpy as np

from mimir_rw.config.limits import TenantLimits
from mimir_rw.ring.view import RingView

_RING = 1 << 32


def share_of(shard: RingView, instance_id: str) -> float:
    """Part of the series of a tenant that an ingester is to hold, above 0 and up to 1.

    shard: the tenant's. 1 for an instance that is not in it: nothing says yet what it will be asked to hold.
    """
    if instance_id not in shard:
        return 1.0
    settings = shard.settings
    zone = shard.desc[instance_id].zone
    holders = [instance for instance in shard.instances if instance.tokens]
    if settings.zone_awareness:
        peers = sum(instance.zone == zone for instance in holders)
        copies = min(1.0, settings.replication_factor / max(len(shard.zones), 1))
    else:
        peers = len(holders)
        copies = float(min(settings.replication_factor, max(peers, 1)))
    owned = shard.owned_ranges(instance_id).astype(np.int64)
    keys = int(np.sum((owned[:, 1] - owned[:, 0] - 1) % _RING + 1)) if len(owned) else 0
    return min(1.0, max(copies / max(peers, 1), keys / _RING))


class ShareHistory:
    """The largest share that held at any time within the last keep_s seconds, which is the one in force: what a change
    of the ring takes away is taken away only when the series from before it are gone from memory."""

    __slots__ = ("_ended", "_keep_s", "_now")

    def __init__(self, share: float, *, keep_s: float) -> None:
        self._keep_s = keep_s
        self._now = share
        self._ended: deque[tuple[float, float]] = deque()
        """(when it ended, share), by time; shares fall, since one that a later one is not below counts no more."""

    def update(self, share: float, now_s: float) -> None:
        if share == self._now:
            return
        while self._ended and self._ended[-1][1] <= self._now:
            self._ended.pop()
        self._ended.append((now_s, self._now))
        self._now = share

    def in_force(self, now_s: float) -> float:
        while self._ended and self._ended[0][0] <= now_s - self._keep_s:
            self._ended.popleft()
        return max(self._now, max((share for _, share in self._ended), default=0.0))


def localised(limits: TenantLimits, share: float) -> TenantLimits:
    """The limits with those on series and exemplars over the whole cluster brought down to one ingester's share.

    Those on metadata stay: the metadata of a push is stored together, so no ingester has a share of a tenant's."""
    if share >= 1:
        return limits
    return replace(
        limits,
        max_global_series_per_user=local_limit(limits.max_global_series_per_user, share),
        max_global_series_per_metric=local_limit(limits.max_global_series_per_metric, share),
        max_global_exemplars_per_user=local_limit(limits.max_global_exemplars_per_user, share),
    )


def local_limit(limit: int, share: float) -> int:
    """0, which has its own meaning, stays so; another one is at least 1."""
    return max(1, math.ceil(limit * share)) if limit else 0
