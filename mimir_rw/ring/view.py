"""A ring as it is now: who holds what, who is alive. Immutable; what it is asked for is computed once per topology.

Keys are 32-bit tokens. An instance's token T owns the keys from the token before it up to T - 1. Foreign instances
(`InstanceDesc.foreign`) are known by name only and take part in nothing.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.desc import EMPTY, InstanceDesc, RingDesc
from mimir_rw.ring.operations import WRITE_NO_EXTEND, Operation
from mimir_rw.ring.placement import Placement, ReplicationSet
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.shuffle_shard import Lookback, shard_members
from mimir_rw.ring.topology import Topology, U32Column

EMPTY_RING = "empty ring"
TOO_MANY_UNHEALTHY = "too many unhealthy instances in the ring"


class RingView:
    """Made by `ring_view`, and of a tenant's shard by `shuffle_shard`. Each is a ring of its own."""

    __slots__ = ("_heartbeats", "desc", "topology")

    def __init__(self, desc: RingDesc, topology: Topology) -> None:
        self.desc = desc
        """All that is in the ring, foreign ones too; of a shard: all that is in the ring it is made of."""
        self.topology = topology
        self._heartbeats = np.array([desc[id].timestamp_s for id in topology.ids], dtype=np.int64)

    @property
    def settings(self) -> RingSettings:
        return self.topology.settings

    @property
    def instances(self) -> tuple[InstanceDesc, ...]:
        """In the order of their ids, with their latest heartbeats."""
        return tuple(self.desc[id] for id in self.topology.ids)

    @property
    def zones(self) -> tuple[str, ...]:
        """Of all instances, sorted."""
        return self.topology.zones

    @property
    def foreign(self) -> tuple[InstanceDesc, ...]:
        return tuple(instance for instance in self.desc.values() if instance.foreign)

    def __len__(self) -> int:
        return len(self.topology.instances)

    def __contains__(self, id: str) -> bool:
        return id in self.topology.number

    def healthy(self, id: str, op: Operation, *, now_s: int) -> bool:
        """Whether an instance may take part in op. False for one that is not in the ring."""
        if id not in self:
            return False
        instance = self.desc[id]
        return op.healthy_in(instance.state) and instance.heartbeat_ok(self.settings.heartbeat_timeout_s, now_s)

    def healthy_instances(self, op: Operation, *, now_s: int) -> tuple[InstanceDesc, ...]:
        healthy = self._healthy(op, now_s)
        return tuple(instance for instance, ok in zip(self.instances, healthy.tolist(), strict=True) if ok)

    def replication_sets(self, tokens: U32Column, op: Operation, *, now_s: int) -> Placement:
        """The replica sets of all rows of a batch. tokens: one per row, any order.

        Raises Unavailable when the ring is empty or one of the rows has too few healthy replicas.
        """
        self._refuse_empty()
        columns = self.topology.columns(op, self._healthy(op, now_s))
        set_of_row = self.topology.sets(op).sets_of(tokens)
        if (columns.max_errors < 0).any() and len(lacking := np.flatnonzero(columns.max_errors[set_of_row] < 0)):
            raise self._too_few(op, int(set_of_row[lacking[0]]), now_s)
        return Placement(columns, set_of_row)

    def replication_set(self, token: int, op: Operation, *, now_s: int) -> ReplicationSet:
        """Of one key. Raises Unavailable as `replication_sets` does."""
        placement = self.replication_sets(np.array([token], dtype=np.uint32), op, now_s=now_s)
        return placement.columns.replication_set(int(placement.set_of_row[0]))

    def query_set(self, op: Operation, *, now_s: int) -> ReplicationSet:
        """Instances that together hold everything, and how many of them, or of their zones, may fail.

        Raises Unavailable when the ring is empty or too much of it is unhealthy.
        """
        if not len(self):
            raise Unavailable(EMPTY_RING)
        healthy = self._healthy(op, now_s)
        if self.settings.zone_awareness:
            return self._query_zones(healthy)
        alive = tuple(i for i, ok in zip(self.topology.instances, healthy.tolist(), strict=True) if ok)
        factor = self.settings.replication_factor
        required = max(len(self), factor) - factor // 2
        if len(alive) < required:
            raise Unavailable(TOO_MANY_UNHEALTHY)
        return ReplicationSet(alive, max_errors=len(alive) - required)

    def shuffle_shard(self, identifier: str, size: int, *, lookback_s: int = 0, now_s: int = 0) -> RingView:
        """The ring of one tenant. size 0: all of it, but for read-only instances.

        lookback_s 0: for writes. Otherwise with those that were in the shard at any time since now_s - lookback_s.
        """
        if not len(self):
            return self
        lookback = Lookback(now_s - lookback_s if lookback_s > 0 else None)
        shard = self._shard(identifier, max(size, 0), lookback)
        return self if shard is self.topology else RingView(self.desc, shard)

    def owned_ranges(self, id: str) -> U32Column:
        """The keys that an instance must hold as one of their replicas: shape (k, 2), from (inclusive) and to
        (exclusive); a `to` of 0 is 2^32, and a range whose `from` is greater than its `to` wraps."""
        none = np.zeros((0, 2), dtype=np.uint32)
        tokens, number = self.topology.tokens, self.topology.number.get(id)
        if number is None or not len(tokens):
            return none
        table = self.topology.sets(WRITE_NO_EXTEND)
        holds = table.members[number][table.set_of_stretch[:-1]]
        if holds.all():
            return np.zeros((1, 2), dtype=np.uint32)
        first = np.flatnonzero(holds & ~np.roll(holds, 1))
        last = np.flatnonzero(holds & ~np.roll(holds, -1))
        if len(first) and last[0] < first[0]:
            last = np.roll(last, -1)
        return np.column_stack((tokens[first - 1], tokens[last])) if len(first) else none

    def ownership(self) -> dict[str, float]:
        """Share of all keys that each instance owns as the first of their replicas: 0 to 1 by id."""
        return dict(zip(self.topology.ids, self.topology.ownership().tolist(), strict=True))

    def _refuse_empty(self) -> None:
        if not len(self.topology.tokens):
            raise Unavailable(EMPTY_RING)

    def _healthy(self, op: Operation, now_s: int) -> NDArray[np.bool_]:
        states = self.topology.healthy_states(op)
        timeout = self.settings.heartbeat_timeout_s
        return states & (self._heartbeats >= now_s - timeout) if timeout else states

    def _too_few(self, op: Operation, number: int, now_s: int) -> Unavailable:
        healthy = self._healthy(op, now_s)
        members = self.topology.sets(op).members[:, number]
        needed = int(self.topology.needed(np.array([members.sum()], dtype=np.int32))[0])
        dead = ",".join(self.topology.instances[n].addr for n in np.flatnonzero(members & ~healthy).tolist())
        text = f"at least {needed} live replicas required, could only find {int((members & healthy).sum())}"
        return Unavailable(f"{text} - unhealthy instances: {dead}" if dead else text)

    def _query_zones(self, healthy: NDArray[np.bool_]) -> ReplicationSet:
        """A zone that should be there but has nobody in the ring counts as failed: what was written while it was there
        may be missing in one of the others. dskit forgets such a zone and then lets one more fail."""
        topology, factor = self.topology, self.settings.replication_factor
        absent = max(0, factor - len(topology.zones))
        failed = np.bincount(topology.zone_of[~healthy], minlength=len(topology.zones)) > 0
        spare = factor // 2 - absent - int(failed.sum())
        if spare < 0:
            raise Unavailable(TOO_MANY_UNHEALTHY)
        in_failed = failed[topology.zone_of].tolist()
        alive = tuple(i for i, out in zip(topology.instances, in_failed, strict=True) if not out)
        return ReplicationSet(alive, max_unavailable_zones=spare, zone_aware=True)

    def _shard(self, identifier: str, size: int, lookback: Lookback) -> Topology:
        """Kept by how many of the times that matter the lookback has passed."""
        topology = self.topology
        passed = -1 if lookback.until_s is None else int(np.searchsorted(topology.edges, lookback.until_s))
        whole = size == 0 or size >= len(self)
        key: Hashable = (passed,) if whole else (passed, size, identifier)
        shard = topology.shard(key)
        if shard is None:
            members = shard_members(topology, identifier, size, lookback)
            shard = topology.subset(members)
            topology.keep_shard(key, shard)
        return shard


def ring_view(desc: RingDesc, settings: RingSettings, previous: RingView | None = None) -> RingView:
    """previous: a view of the same ring, whose topology is taken over when only heartbeats are newer."""
    ours = [i for i in desc.values() if not i.foreign and i.zone not in settings.excluded_zones]
    if previous is not None and previous.settings == settings and previous.topology.differs_in_heartbeats(ours):
        return RingView(desc, previous.topology)
    return RingView(desc, Topology(ours, settings))


def empty_view(settings: RingSettings) -> RingView:
    return ring_view(EMPTY, settings)
