"""When enough replicas have answered (ring-and-gossip.md sections 4.2 and 4.3). Pure: told of answers, they decide.

`BatchTracker` is for writes: each row of a batch needs a quorum of its own. `ReadTracker` is for reads, where instances
or whole zones stand in for each other. Both are told of each instance once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mimir_rw.kit.rng import Rng
from mimir_rw.model.errors import MimirError
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.placement import Placement, ReplicationSet, U32Column

R = TypeVar("R")
"""Why rows were refused by an instance that took the others."""


@dataclass(frozen=True, slots=True)
class Refused(Generic[R]):
    """Rows, ascending, that too many replicas refused for their own fault, and what the last of these said."""

    rows: U32Column
    cause: R | MimirError


@dataclass(frozen=True, slots=True)
class BatchOutcome(Generic[R]):
    """error: some row is not on a quorum through no fault of its own; the batch may be sent again. Without one, every
    row is either on a quorum or among the refused. others: what else failed by then, since it takes several failures
    to lose a quorum and the error is the last."""

    error: MimirError | None = None
    others: tuple[MimirError, ...] = ()
    refused: tuple[Refused[R], ...] = ()


@dataclass(slots=True)
class _Counts:
    """Answers for a number of sets or rows. `last` numbers the latest cause of a refusal or failure, `last_refusal`
    that of a refusal; -1: none."""

    stored: NDArray[np.int32]
    refused: NDArray[np.int32]
    failed: NDArray[np.int32]
    awaited: NDArray[np.int32]
    last: NDArray[np.int32]
    last_refusal: NDArray[np.int32]
    max_errors: NDArray[np.int32]
    needed: NDArray[np.int32]

    def of_rows(self, sets: NDArray[np.int32], refusals: NDArray[np.int32], last: NDArray[np.int32]) -> _Counts:
        """Those of rows in these sets, which some instances refused although they took others of the set."""
        return _Counts(
            stored=self.stored[sets] - refusals,
            refused=self.refused[sets] + refusals,
            failed=self.failed[sets],
            awaited=self.awaited[sets],
            last=np.maximum(self.last[sets], last),
            last_refusal=np.maximum(self.last_refusal[sets], last),
            max_errors=self.max_errors[sets],
            needed=self.needed[sets],
        )


class BatchTracker(Generic[R]):
    """A row is stored once all but max_errors of its replicas have stored it. It has failed once more than max_errors
    of them gave errors of one family (its own fault, or not), or all have answered without a quorum: then by the last
    error.

    Refusals of single rows do not end the batch: the others must still reach their quorum. A failure that is not the
    rows' own fault does, at once, because everything is to be sent again.
    """

    def __init__(self, placement: Placement) -> None:
        columns = placement.columns
        self._placement = placement
        self._number = {instance.id: number for number, instance in enumerate(columns.instances)}
        self._rows_of_set = np.bincount(placement.set_of_row, minlength=len(columns.sizes))
        zeros = np.zeros(len(columns.sizes), dtype=np.int32)
        self._sets = _Counts(
            stored=zeros,
            refused=zeros.copy(),
            failed=zeros.copy(),
            awaited=columns.sizes.copy(),
            last=zeros - 1,
            last_refusal=zeros - 1,
            max_errors=columns.max_errors,
            needed=columns.sizes - columns.max_errors,
        )
        self._wanted = np.where(self._rows_of_set > 0, self._sets.needed, 0)
        self._causes: list[R | MimirError] = []
        self._refusals: NDArray[np.int32] | None = None
        """Per row: by how many instances that took others; made when the first one is."""
        self._row_last: NDArray[np.int32]
        self.outcome: BatchOutcome[R] | None = None if len(placement.set_of_row) else BatchOutcome()
        """Set once it is decided; what comes later changes nothing."""

    def answered(self, id: str, refused: Sequence[tuple[U32Column, R]] = ()) -> BatchOutcome[R] | None:
        """The instance has stored its rows but for those refused (rows of the batch, in any order, and why).

        A row that is refused several times by one instance counts once."""
        held = self._hold(id)
        self._sets.stored += held
        if refused:
            self._refuse(refused)
        return self._decide()

    def failed(self, id: str, error: MimirError) -> BatchOutcome[R] | None:
        """The instance has stored nothing, or nobody knows."""
        held = self._hold(id)
        self._sets.last[held] = len(self._causes)
        if error.client_fault:
            self._sets.last_refusal[held] = len(self._causes)
            self._sets.refused += held
        else:
            self._sets.failed += held
        self._causes.append(error)
        return self._decide()

    def _hold(self, id: str) -> NDArray[np.bool_]:
        """Sets that the instance is in, no longer waiting for it."""
        held: NDArray[np.bool_] = self._placement.columns.members[self._number.pop(id)]
        self._sets.awaited -= held
        return held

    def _refuse(self, refused: Sequence[tuple[U32Column, R]]) -> None:
        count = len(self._placement.set_of_row)
        if self._refusals is None:
            self._refusals = np.zeros(count, dtype=np.int32)
            self._row_last = np.full(count, -1, dtype=np.int32)
        seen = np.zeros(count, dtype=np.bool_)
        for rows, cause in refused:
            self._row_last[rows] = len(self._causes)
            self._causes.append(cause)
            seen[rows] = True
        self._refusals += seen

    def _decide(self) -> BatchOutcome[R] | None:
        if self.outcome is None:
            self.outcome = self._outcome()
        return self.outcome

    def _outcome(self) -> BatchOutcome[R] | None:
        """None while open."""
        if self._causes:
            return self._outcome_with_causes()
        return None if (self._sets.stored < self._wanted).any() else BatchOutcome()

    def _outcome_with_causes(self) -> BatchOutcome[R] | None:
        """Rows that were refused one by one are looked at each, all others by their sets."""
        single = np.flatnonzero(self._refusals) if self._refusals is not None else np.zeros(0, dtype=np.intp)
        sets_of_single = self._placement.set_of_row[single]
        rows_of_set = self._rows_of_set
        if len(single):
            rows_of_set = rows_of_set - np.bincount(sets_of_single, minlength=len(rows_of_set))
        sets = _Verdict(self._sets, self._causes, rows_of_set > 0)
        verdicts = [sets]
        if self._refusals is not None and len(single):
            counts = self._sets.of_rows(sets_of_single, self._refusals[single], self._row_last[single])
            verdicts.append(_Verdict(counts, self._causes, np.ones(len(single), dtype=np.bool_)))
        for verdict in verdicts:
            if verdict.error is not None:
                failed = (c for c in self._causes if isinstance(c, MimirError) and not c.client_fault)
                return BatchOutcome(error=verdict.error, others=tuple(c for c in failed if c is not verdict.error))
        if any(verdict.open for verdict in verdicts):
            return None
        return BatchOutcome(refused=self._refused(sets, verdicts[1:], single))

    def _refused(self, sets: _Verdict, rows: Sequence[_Verdict], single: NDArray[np.intp]) -> tuple[Refused[R], ...]:
        if not sets.refused.any() and not any(verdict.refused.any() for verdict in rows):
            return ()
        set_of_row = self._placement.set_of_row
        cause = np.where(sets.refused, self._sets.last_refusal, -1)[set_of_row]
        for verdict in rows:
            cause[single] = np.where(verdict.refused, verdict.counts.last_refusal, -1)
        grouped = [(int(number), np.flatnonzero(cause == number)) for number in np.unique(cause) if number >= 0]
        return tuple(Refused(rows.astype(np.uint32), self._causes[number]) for number, rows in grouped)


class _Verdict:
    """What the counts come to, of those that are asked about."""

    def __init__(self, counts: _Counts, causes: Sequence[object], asked: NDArray[np.bool_]) -> None:
        self.counts = counts
        undone = asked & (counts.stored < counts.needed)
        failed = undone & (counts.failed > counts.max_errors)
        refused = undone & ~failed & (counts.refused > counts.max_errors)
        ended = undone & ~failed & ~refused & (counts.awaited == 0)
        for number in np.flatnonzero(ended).tolist():
            (failed if _own_fault_not(causes[counts.last[number]]) else refused)[number] = True
        self.refused = refused
        self.open = bool((undone & ~failed & ~refused).any())
        self.error = self._error(causes, failed)

    def _error(self, causes: Sequence[object], failed: NDArray[np.bool_]) -> MimirError | None:
        if not failed.any():
            return None
        last = causes[self.counts.last[int(np.argmax(failed))]]
        assert isinstance(last, MimirError)
        return last


def _own_fault_not(cause: object) -> bool:
    return isinstance(cause, MimirError) and not cause.client_fault


class ReadTracker:
    """Counts the answers of a replication set in groups: zones where the set is zone aware, single instances otherwise.

        waiting ──ask──► asked ──all its instances answered──► complete
                           └────────one of them failed───────► failed: the next waiting group is asked

    Only complete groups count. Done when enough are complete; failed when more have failed than may.
    """

    def __init__(self, replicas: ReplicationSet, *, minimise: bool, rng: Rng, prefer: str = "") -> None:
        """minimise: ask only as many groups as are needed at first. prefer: a zone to ask first, the caller's own; the
        others come in random order."""
        self._groups: dict[str, dict[str, InstanceDesc]] = {}
        for instance in replicas.instances:
            name = instance.zone if replicas.zone_aware else instance.id
            self._groups.setdefault(name, {})[instance.id] = instance
        spare = replicas.max_unavailable_zones if replicas.zone_aware else replicas.max_errors
        self._group_of = {id: name for name, group in self._groups.items() for id in group}
        self._failures_max = spare
        self._needed = len(self._groups) - spare
        preferred = {i.zone if replicas.zone_aware else i.id for i in replicas.instances if i.zone == prefer}
        order = {name: (name not in preferred, rng.random()) for name in sorted(self._groups)}
        self._waiting = sorted(self._groups, key=lambda name: order[name])
        self._at_first = self._needed if minimise else len(self._groups)
        self._unanswered = {name: set(group) for name, group in self._groups.items()}
        self._asked: list[str] = []
        self._failed: list[str] = []
        self.error: MimirError | None = None
        """Set once too much has failed: the last failure."""

    @property
    def done(self) -> bool:
        return len(self._complete()) >= self._needed

    @property
    def hedges(self) -> bool:
        """Whether there is anyone left to ask."""
        return bool(self._waiting)

    def start(self) -> tuple[InstanceDesc, ...]:
        """Whom to ask at first."""
        return self._ask(self._at_first)

    def hedge(self) -> tuple[InstanceDesc, ...]:
        """The answers take long: whom to ask too; all that are left."""
        return () if self.done else self._ask(len(self._waiting))

    def answered(self, id: str) -> bool:
        """True once it is done."""
        self._unanswered[self._group_of[id]].discard(id)
        return self.done

    def failed(self, id: str, error: MimirError) -> tuple[InstanceDesc, ...]:
        """Whom to ask in its group's place; `error` is set when that does not help."""
        name = self._group_of[id]
        self._unanswered[name].discard(id)
        if name in self._failed:
            return ()
        self._failed.append(name)  # before it is asked whether that is the end: a group without its member is not whole
        if self.done:
            return ()
        if len(self._failed) > self._failures_max:
            self.error = error
            return ()
        return self._ask(1)

    def useless(self) -> tuple[str, ...]:
        """Ids whose calls need not go on: those asked that are in failed groups, and, once done, all without answer."""
        names = [name for name in self._asked if self.done or name in self._failed]
        return tuple(id for name in names for id in sorted(self._unanswered[name]))

    def counted(self) -> tuple[str, ...]:
        """Ids whose answers make up the result: those of the complete groups, sorted."""
        return tuple(sorted(id for name in self._complete() for id in self._groups[name]))

    def _complete(self) -> list[str]:
        return [name for name in self._asked if name not in self._failed and not self._unanswered[name]]

    def _ask(self, count: int) -> tuple[InstanceDesc, ...]:
        names, self._waiting = self._waiting[:count], self._waiting[count:]
        self._asked += names
        return tuple(instance for name in names for _, instance in sorted(self._groups[name].items()))
