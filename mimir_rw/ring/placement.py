"""Replica sets: which instances must hold, or may answer for, something. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mimir_rw.ring.desc import InstanceDesc

U32Column = NDArray[np.uint32]
I32Column = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ReplicationSet:
    """Healthy instances, in the order of their ids, and how many of them may fail.

    max_unavailable_zones counts where zone_aware: a zone fails when any instance in it does. Otherwise max_errors
    instances may fail. Heartbeat times in `instances` are those of when the topology was last seen to change.
    """

    instances: tuple[InstanceDesc, ...]
    max_errors: int = 0
    max_unavailable_zones: int = 0
    zone_aware: bool = False
    ids: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(instance.id for instance in self.instances))

    def zones(self) -> tuple[str, ...]:
        return tuple(sorted({instance.zone for instance in self.instances}))


@dataclass(frozen=True, slots=True)
class InstanceRows:
    """What one instance must hold of a batch. rows: ascending; None: all of them. Instances that must hold the same
    rows share one array."""

    instance: InstanceDesc
    rows: U32Column | None


@dataclass(frozen=True, slots=True, eq=False)
class SetColumns:
    """Replica sets as columns. members[i, s]: whether healthy instance i is in set s. max_errors[s]: how many of the
    set may fail; less than 0: too few of it are healthy."""

    instances: tuple[InstanceDesc, ...]
    members: NDArray[np.bool_]
    sizes: I32Column
    max_errors: I32Column

    def replication_set(self, number: int) -> ReplicationSet:
        within = np.flatnonzero(self.members[:, number]).tolist()
        return ReplicationSet(tuple(self.instances[i] for i in within), max_errors=int(self.max_errors[number]))


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Replica sets of the rows of a batch: row i belongs to set set_of_row[i]. A set need not have rows."""

    columns: SetColumns
    set_of_row: I32Column

    @property
    def sets(self) -> tuple[ReplicationSet, ...]:
        """Every set as a value: for few sets and for tests."""
        return tuple(self.columns.replication_set(number) for number in range(len(self.columns.sizes)))

    def by_instance(self) -> tuple[InstanceRows, ...]:
        """Those that must hold any row, in the order of their ids."""
        shares: dict[bytes, U32Column] = {}
        held = []
        for instance, member_of in zip(self.columns.instances, self.columns.members, strict=True):
            key = member_of.tobytes()
            rows = shares.get(key)
            if rows is None:
                rows = shares[key] = np.flatnonzero(member_of[self.set_of_row]).astype(np.uint32)
            if len(rows):
                held.append(InstanceRows(instance, None if len(rows) == len(self.set_of_row) else rows))
        return tuple(held)
