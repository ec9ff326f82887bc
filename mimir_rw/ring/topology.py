"""All of a ring but its heartbeats: tokens, owners, and the replica set of each stretch between tokens. Pure.

A topology is made when an instance comes, goes, or changes anything but its heartbeat. What is asked of it for the
first time is computed then and kept: replica sets per operation, shuffle shards per tenant.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.operations import Operation
from mimir_rw.ring.placement import SetColumns
from mimir_rw.ring.settings import RingSettings

U32Column = NDArray[np.uint32]
I32Column = NDArray[np.int32]
_RING = 1 << 32
_HEALTH_STATES_KEPT = 16
_BUCKETS_PER_TOKEN = 16


@dataclass(frozen=True, slots=True, eq=False)
class SetTable:
    """Replica sets of an operation. members[i, s]: whether instance i is in set s. set_of_stretch[t]: the set of the
    keys from token t-1 up to, not including, token t; one more at the end for the keys from the last token on.

    Keys are looked up by their leading bits, where these decide (set_of_bucket is not negative)."""

    members: NDArray[np.bool_]
    set_of_stretch: I32Column
    set_of_bucket: I32Column
    tokens: U32Column

    def sets_of(self, keys: U32Column) -> I32Column:
        """The set of each key."""
        found: I32Column = self.set_of_bucket[keys >> np.uint32(32 - (len(self.set_of_bucket).bit_length() - 1))]
        open_rows = np.flatnonzero(found < 0)
        if len(open_rows):
            found[open_rows] = self.set_of_stretch[np.searchsorted(self.tokens, keys[open_rows], side="right")]
        return found


class Topology:
    """instances: any order; their numbers are those in the order of their ids."""

    def __init__(self, instances: Sequence[InstanceDesc], settings: RingSettings) -> None:
        self.settings = settings
        self.instances = tuple(sorted(instances, key=lambda instance: instance.id))
        self.ids = tuple(instance.id for instance in self.instances)
        self.number = {id: number for number, id in enumerate(self.ids)}
        self.zones = tuple(sorted({instance.zone for instance in self.instances}))
        zone_number = {zone: number for number, zone in enumerate(self.zones)}
        self.zone_of = np.array([zone_number[instance.zone] for instance in self.instances], dtype=np.int32)
        self.tokens, self.owners = _token_table(self.instances)
        self.edges = _edges(self.instances)
        self._tables: dict[Operation, SetTable] = {}
        self._healthy_states: dict[Operation, NDArray[np.bool_]] = {}
        self._columns: OrderedDict[tuple[Operation, bytes], SetColumns] = OrderedDict()
        self._subsets: OrderedDict[frozenset[int], Topology] = OrderedDict()
        self._shards: OrderedDict[Hashable, Topology] = OrderedDict()

    def zone_tokens(self, zone: str | None) -> tuple[list[int], list[int]]:
        """Tokens of a zone, ascending, and their owners' numbers; zone None: all."""
        if zone is None:
            return self.tokens.tolist(), self.owners.tolist()
        within = self.zone_of[self.owners] == self.zones.index(zone)
        return self.tokens[within].tolist(), self.owners[within].tolist()

    def sets(self, op: Operation) -> SetTable:
        table = self._tables.get(op)
        if table is None:
            table = self._tables[op] = _set_table(self, op)
        return table

    def columns(self, op: Operation, healthy: NDArray[np.bool_]) -> SetColumns:
        """The replica sets of op without their unhealthy instances. Those of a few states of health are kept."""
        key = (op, healthy.tobytes())
        kept = self._columns.get(key)
        if kept is None:
            kept = self._columns[key] = self._without_unhealthy(self.sets(op), healthy)
            if len(self._columns) > _HEALTH_STATES_KEPT:
                self._columns.popitem(last=False)
        return kept

    def healthy_states(self, op: Operation) -> NDArray[np.bool_]:
        """Whether each instance is in a state in which it may take part in op."""
        states = self._healthy_states.get(op)
        if states is None:
            states = np.array([op.healthy_in(i.state) for i in self.instances], dtype=np.bool_)
            self._healthy_states[op] = states
        return states

    def subset(self, numbers: frozenset[int]) -> Topology:
        """The ring of some of the instances. Tenants with the same shard share it."""
        if len(numbers) == len(self.instances):
            return self
        kept = self._subsets.get(numbers)
        if kept is None:
            kept = Topology([self.instances[number] for number in sorted(numbers)], self.settings)
            self._subsets[numbers] = kept
            if len(self._subsets) > self.settings.shard_topologies_max:
                self._subsets.popitem(last=False)
        return kept

    def differs_in_heartbeats(self, instances: Sequence[InstanceDesc]) -> bool:
        """Whether nothing else than heartbeats has changed. instances: in the order of their ids."""
        if len(instances) != len(self.instances):
            return False
        return all(
            replace(new, timestamp_s=old.timestamp_s) == old for new, old in zip(instances, self.instances, strict=True)
        )

    def shard(self, key: Hashable) -> Topology | None:
        """A shard kept earlier."""
        found = self._shards.get(key)
        if found is not None:
            self._shards.move_to_end(key)
        return found

    @property
    def shards_kept(self) -> int:
        return len(self._shards)

    def keep_shard(self, key: Hashable, shard: Topology) -> None:
        self._shards[key] = shard
        if len(self._shards) > self.settings.shards_cached_max:
            self._shards.popitem(last=False)

    def needed(self, sizes: I32Column) -> I32Column:
        """How many of each set must be healthy. sizes: of whole sets."""
        factor = self.settings.replication_factor
        quorum = np.maximum(sizes, factor) // 2 + 1
        return (np.ones_like(sizes) if self.settings.ignore_unhealthy else quorum).astype(np.int32)

    def _without_unhealthy(self, table: SetTable, healthy: NDArray[np.bool_]) -> SetColumns:
        alive = tuple(i for i, ok in zip(self.instances, healthy.tolist(), strict=True) if ok)
        members = table.members[healthy]
        sizes = members.sum(axis=0, dtype=np.int32)
        max_errors = sizes - self.needed(table.members.sum(axis=0, dtype=np.int32))
        return SetColumns(instances=alive, members=members, sizes=sizes, max_errors=max_errors)

    def ownership(self) -> NDArray[np.float64]:
        """Share of all keys that each instance owns as the first of its replicas."""
        owned = np.zeros(len(self.instances), dtype=np.float64)
        if len(self.tokens):
            # The distance of a token from itself, when it is the only one, is the whole ring.
            np.add.at(owned, self.owners, stretch_lengths(self.tokens))
        return owned / _RING


def stretch_lengths(tokens: U32Column) -> NDArray[np.int64]:
    """Keys from the token before, in ring order, up to each token."""
    wide = tokens.astype(np.int64)
    lengths = np.diff(wide, prepend=wide[-1])
    lengths[lengths <= 0] += _RING
    return lengths


def _token_table(instances: Sequence[InstanceDesc]) -> tuple[U32Column, I32Column]:
    """All tokens, ascending, and the number of the owner of each. Of two owners of a token, which there may be until
    rings have merged, the first one counts."""
    tokens = np.concatenate([np.zeros(0, np.uint32), *(np.array(i.tokens, dtype=np.uint32) for i in instances)])
    owners = np.repeat(np.arange(len(instances), dtype=np.int32), [len(i.tokens) for i in instances])
    order = np.argsort(tokens, kind="stable")
    tokens, owners = tokens[order], owners[order]
    first = np.ones(len(tokens), dtype=np.bool_)
    first[1:] = tokens[1:] != tokens[:-1]
    return tokens[first], owners[first]


def _edges(instances: Sequence[InstanceDesc]) -> NDArray[np.int64]:
    """Times at which an instance came or became read-only, ascending: a shard with a lookback is another one only when
    the lookback passes one of them."""
    return np.unique(np.array([s for i in instances for s in (i.registered_s, i.read_only_updated_s)], dtype=np.int64))


def _set_table(topology: Topology, op: Operation) -> SetTable:
    """Walk the ring from all its tokens at once."""
    walk = _Walk(topology, op)
    count = len(topology.tokens)
    for step in range(count):
        if not len(walk.active):
            break
        walk.step(topology.owners[(walk.active + step) % count])
    distinct, set_of = np.unique(np.sort(walk.members, axis=1), axis=0, return_inverse=True)
    members = np.zeros((walk.nobody + 1, len(distinct)), dtype=np.bool_)
    members[distinct, np.arange(len(distinct))[:, None]] = True
    set_of = set_of.reshape(-1).astype(np.int32)
    set_of_stretch = np.concatenate([set_of, set_of[:1]])
    return SetTable(members[:-1], set_of_stretch, _buckets(topology.tokens, set_of_stretch), topology.tokens)


def _buckets(tokens: U32Column, set_of_stretch: I32Column) -> I32Column:
    """The set of all keys that begin with the same bits, or -1 where a token lies among them and parts two sets."""
    bits = min(16, max(4, (_BUCKETS_PER_TOKEN * len(tokens)).bit_length()))
    starts = np.arange(1 << bits, dtype=np.int64) << (32 - bits)
    lowest = np.searchsorted(tokens, starts, side="right")
    highest = np.searchsorted(tokens, starts + ((1 << (32 - bits)) - 1), side="right")
    sets = set_of_stretch[lowest]
    sets[lowest != highest] = -1
    return sets


class _Walk:
    """State of the walks of ring-and-gossip.md section 4.1, a row for each token it may start from."""

    def __init__(self, topology: Topology, op: Operation) -> None:
        settings, count = topology.settings, len(topology.tokens)
        self._zone_of = topology.zone_of
        self._zoned = np.array([settings.zone_awareness and zone != "" for zone in topology.zones], dtype=np.bool_)
        self._extends = np.array([op.extends_on(i.state) for i in topology.instances], dtype=np.bool_)
        self.nobody = len(topology.instances)
        self.active = np.arange(count)
        """Tokens whose walk goes on."""
        self.members = np.full((count, settings.replication_factor), self.nobody, dtype=np.int32)
        self._found = np.zeros(count, dtype=np.int32)
        self._wanted = np.full(count, settings.replication_factor, dtype=np.int32)
        self._zone_done = np.zeros((count, len(topology.zones)), dtype=np.bool_)
        self._unseen = np.tile(_holders(topology), (count, 1))

    def step(self, owner: I32Column) -> None:
        """owner[i]: the instance that walk active[i] meets."""
        zone = self._zone_of[owner]
        known = (self.members[self.active] == owner[:, None]).any(axis=1)
        taken = ~known & ~self._zone_done[self.active, zone]
        rows, owner, zone = self.active[taken], owner[taken], zone[taken]
        if len(rows):
            self._take(rows, owner, zone)
            self.active = self.active[~self._ended(self.active)]

    def _take(self, rows: NDArray[np.intp], owner: I32Column, zone: I32Column) -> None:
        if self._found[rows].max() == self.members.shape[1]:
            more = np.full((len(self.members), 1), self.nobody, dtype=np.int32)
            self.members = np.hstack((self.members, more))
        self.members[rows, self._found[rows]] = owner
        self._found[rows] += 1
        self._unseen[rows, zone] -= 1
        extends = self._extends[owner]
        self._wanted[rows[extends]] += 1
        self._zone_done[rows, zone] |= ~extends & self._zoned[zone]

    def _ended(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        exhausted = self._zone_done[rows] | (self._unseen[rows] == 0)
        ended: NDArray[np.bool_] = (self._found[rows] >= self._wanted[rows]) | exhausted.all(axis=1)
        return ended


def _holders(topology: Topology) -> I32Column:
    """Instances with tokens in each zone."""
    holds = np.array([bool(i.tokens) for i in topology.instances], dtype=np.bool_)
    return np.bincount(topology.zone_of[holds], minlength=len(topology.zones)).astype(np.int32)
