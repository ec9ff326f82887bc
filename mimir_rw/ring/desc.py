"""Who is in a ring: immutable values, and how two of them merge (ring-and-gossip.md sections 2 and 3). Pure.

The bytes are in `codec.py`. Tokens are sorted, without repetition. A LEFT instance is a tombstone: it owns nothing
and is dropped from what readers get. Times have whole seconds: of two updates within one second the first one stays.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mimir_rw.ring.instant import rfc3339

RPC_VERSION_KEY = 0x6D_72_77_01
"""Key in `InstanceDesc.versions` of the newest RPC protocol that the instance speaks; others are foreign."""

NO_VERSIONS: Mapping[int, int] = MappingProxyType({})


class InstanceState(enum.IntEnum):
    ACTIVE = 0
    LEAVING = 1
    PENDING = 2
    JOINING = 3
    LEFT = 4


@dataclass(frozen=True, slots=True)
class InstanceDesc:
    id: str
    addr: str = ""
    zone: str = ""
    state: InstanceState = InstanceState.ACTIVE
    timestamp_s: int = 0
    """Last heartbeat, by the instance's own clock."""
    registered_s: int = 0
    """0: unknown."""
    read_only: bool = False
    read_only_updated_s: int = 0
    tokens: tuple[int, ...] = ()
    versions: Mapping[int, int] = field(default_factory=lambda: NO_VERSIONS, hash=False)

    @property
    def foreign(self) -> bool:
        """Not one of us: it cannot be called."""
        return RPC_VERSION_KEY not in self.versions

    def heartbeat_ok(self, timeout_s: int, now_s: int) -> bool:
        """timeout_s 0: any heartbeat will do."""
        return timeout_s == 0 or now_s - self.timestamp_s <= timeout_s


class RingDesc(Mapping[str, InstanceDesc]):
    """Instances by id, in the order of their ids. Immutable."""

    __slots__ = ("_instances",)

    def __init__(self, instances: Iterable[InstanceDesc] = ()) -> None:
        """The last one of those with the same id counts."""
        by_id = {instance.id: instance for instance in instances}
        self._instances = {id: by_id[id] for id in sorted(by_id)}

    def __getitem__(self, id: str) -> InstanceDesc:
        return self._instances[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._instances)

    def __len__(self) -> int:
        return len(self._instances)

    def __repr__(self) -> str:
        return f"RingDesc({list(self._instances.values())!r})"

    def with_instance(self, instance: InstanceDesc) -> RingDesc:
        return RingDesc((*self._instances.values(), instance))

    def without(self, ids: Iterable[str]) -> RingDesc:
        dropped = frozenset(ids)
        return RingDesc(instance for instance in self._instances.values() if instance.id not in dropped)


EMPTY = RingDesc()


def normalised(incoming: RingDesc) -> RingDesc:
    """Tombstones own nothing; tokens are in order, each once."""
    return RingDesc(map(_normalised_instance, incoming.values()))


def merge(
    ours: RingDesc | None, incoming: RingDesc, *, local_cas: bool, now_s: int
) -> tuple[RingDesc, RingDesc | None]:
    """The merged ring, and what of it changed (None: nothing).

    The newer heartbeat wins, and at the same time a tombstone. local_cas: incoming was made from ours, so an instance
    that it lacks has left.
    """
    ours = ours if ours is not None else EMPTY
    changed: dict[str, InstanceDesc] = {}
    tokens_changed = False
    for instance in normalised(incoming).values():
        mine = ours.get(instance.id)
        if mine is None or _newer(instance, mine):
            changed[instance.id] = instance
            tokens_changed = tokens_changed or instance.tokens != (() if mine is None else mine.tokens)
    if local_cas:
        for mine in ours.values():
            if mine.id not in incoming and mine.state is not InstanceState.LEFT:
                changed[mine.id] = tombstone(mine, now_s)
    if not changed:
        return ours, None
    merged = {**dict(ours.items()), **changed}
    if tokens_changed:
        losers = _without_conflicts(merged)
        merged.update(losers)
        changed.update(losers)
    return RingDesc(merged.values()), RingDesc(changed.values())


def tombstone(instance: InstanceDesc, now_s: int) -> InstanceDesc:
    """Not older than the entry: one with a clock that runs ahead could otherwise never leave."""
    at = max(now_s, instance.timestamp_s)
    return dataclasses.replace(instance, state=InstanceState.LEFT, tokens=(), timestamp_s=at)


def without_tombstones(value: RingDesc, before_s: int | None) -> RingDesc:
    """Without the instances that left before before_s; None: without any that left."""
    gone = [
        instance.id
        for instance in value.values()
        if instance.state is InstanceState.LEFT and (before_s is None or instance.timestamp_s < before_s)
    ]
    return value.without(gone) if gone else value


def shown(value: RingDesc) -> dict[str, Any]:
    """For pages: JSON-ready."""
    return {
        instance.id: {
            "addr": instance.addr,
            "zone": instance.zone,
            "state": instance.state.name,
            "timestamp": rfc3339(instance.timestamp_s),
            "registered_timestamp": rfc3339(instance.registered_s) if instance.registered_s else "",
            "read_only": instance.read_only,
            "read_only_updated_timestamp": rfc3339(instance.read_only_updated_s)
            if instance.read_only_updated_s
            else "",
            "versions": {str(key): version for key, version in sorted(instance.versions.items())},
            "tokens": list(instance.tokens),
        }
        for instance in value.values()
    }


def _normalised_instance(instance: InstanceDesc) -> InstanceDesc:
    if instance.state is InstanceState.LEFT:
        return dataclasses.replace(instance, tokens=()) if instance.tokens else instance
    tokens = instance.tokens
    if all(a < b for a, b in itertools.pairwise(tokens)):
        return instance
    return dataclasses.replace(instance, tokens=tuple(sorted(set(tokens))))


def _newer(incoming: InstanceDesc, ours: InstanceDesc) -> bool:
    if incoming.timestamp_s != ours.timestamp_s:
        return incoming.timestamp_s > ours.timestamp_s
    return incoming.state is InstanceState.LEFT and ours.state is not InstanceState.LEFT


def _without_conflicts(instances: Mapping[str, InstanceDesc]) -> dict[str, InstanceDesc]:
    """Those that lose tokens which another one has as well, without them.

    One that is leaving loses to one that is not; otherwise the smaller id wins. That is a total order, so the outcome
    does not depend on who is compared first.
    """
    count = sum(len(instance.tokens) for instance in instances.values())
    taken: set[int] = set().union(*(instance.tokens for instance in instances.values()))
    if len(taken) == count:
        return {}
    taken = set()
    losers = {}
    for instance in sorted(instances.values(), key=lambda i: (i.state is InstanceState.LEAVING, i.id)):
        kept = tuple(token for token in instance.tokens if token not in taken)
        taken.update(kept)
        if len(kept) != len(instance.tokens):
            losers[instance.id] = dataclasses.replace(instance, tokens=kept)
    return losers
