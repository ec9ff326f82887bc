"""Which instances may take part in what (ring-and-gossip.md section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mimir_rw.ring.desc import InstanceState

_ALL = frozenset(InstanceState)
_ACTIVE = frozenset({InstanceState.ACTIVE})
_NONE: frozenset[InstanceState] = frozenset()


@dataclass(frozen=True, slots=True)
class Operation:
    """states: bit `state`: an instance in it is healthy; bit `state + 16`: one in it is joined by one more replica."""

    name: str
    states: int

    def healthy_in(self, state: InstanceState) -> bool:
        return bool(self.states >> state & 1)

    def extends_on(self, state: InstanceState) -> bool:
        return bool(self.states >> (state + 16) & 1)


def _operation(name: str, healthy: Iterable[InstanceState], extend: Iterable[InstanceState]) -> Operation:
    return Operation(name, sum(1 << state for state in healthy) | sum(1 << (state + 16) for state in extend))


WRITE = _operation("write", _ACTIVE, _ALL - _ACTIVE)
WRITE_NO_EXTEND = _operation("write-no-extend", _ACTIVE, _NONE)
READ = _operation(
    "read",
    {InstanceState.ACTIVE, InstanceState.PENDING, InstanceState.LEAVING},
    _ALL - {InstanceState.ACTIVE, InstanceState.LEAVING},
)
REPORTING = _operation("reporting", _ALL, _ALL)
BLOCKS_OWNER_SYNC = _operation(
    "blocks-owner-sync",
    {InstanceState.JOINING, InstanceState.ACTIVE, InstanceState.LEAVING},
    {InstanceState.LEAVING},
)
BLOCKS_OWNER_READ = _operation("blocks-owner-read", _ACTIVE, _NONE)
BLOCKS_READ = _operation("blocks-read", _ACTIVE, _ALL - _ACTIVE)
COMPACTOR = _operation("compactor", _ACTIVE, _NONE)
QUERY_SCHEDULER = _operation("query-scheduler", _ACTIVE, _NONE)
RULER = _operation("ruler", _ACTIVE, _ALL - _ACTIVE)
RULER_LIST = _operation("ruler-list", {InstanceState.ACTIVE, InstanceState.LEAVING}, _ALL - _ACTIVE)
ALERTMANAGER = _operation("alertmanager", _ACTIVE, _ALL - _ACTIVE)
ALERTMANAGER_SYNC = _operation("alertmanager-sync", {InstanceState.ACTIVE, InstanceState.JOINING}, _ALL - _ACTIVE)
