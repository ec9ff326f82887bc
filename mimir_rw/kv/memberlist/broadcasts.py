"""Messages that wait to be gossiped, each sent a bounded number of times. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Queued:
    message: bytes
    subject: str
    names: frozenset[str]
    sent: int = 0
    order: int = field(default=0)


class BroadcastQueue:
    """A newer message about a subject replaces older ones whose names it covers.

    entries_max bounds the queue: what has been sent most goes first, and `dropped` counts it.
    """

    def __init__(self, *, factor: int, entries_max: int) -> None:
        self._factor = factor
        self._entries_max = entries_max
        self._queued: list[_Queued] = []
        self._order = 0
        self.dropped = 0
        self.size = 0
        """Bytes of what waits."""

    def __len__(self) -> int:
        return len(self._queued)

    def holds(self, subject: str) -> bool:
        return any(entry.subject == subject for entry in self._queued)

    def add(self, message: bytes, *, subject: str, names: frozenset[str] = frozenset()) -> None:
        self._order += 1
        kept = [entry for entry in self._queued if entry.subject != subject or not entry.names <= names]
        kept.append(_Queued(message, subject, names, order=self._order))
        if len(kept) > self._entries_max:
            kept.remove(max(kept, key=lambda entry: (entry.sent, -entry.order)))
            self.dropped += 1
        self._set(kept)

    def heard(self, message: bytes, *, nodes: int) -> None:
        """Another member sent what waits here: it counts as sent, since fewer are left to be told."""
        for entry in self._queued:
            if entry.message == message:
                entry.sent += 1
                if entry.sent >= retransmit_limit(self._factor, nodes):
                    self._set([other for other in self._queued if other is not entry])
                return

    def take(self, *, bytes_max: int, nodes: int, overhead: int = 2) -> list[bytes]:
        """Messages for one packet, least sent ones first and among them the newest, that fit into bytes_max.

        nodes: how many the cluster has, which sets how often a message is sent. overhead: bytes beside each."""
        if not self._queued:
            return []
        limit = retransmit_limit(self._factor, nodes)
        taken: list[bytes] = []
        for entry in sorted(self._queued, key=lambda entry: (entry.sent, -entry.order)):
            if len(entry.message) + overhead > bytes_max:
                continue
            bytes_max -= len(entry.message) + overhead
            taken.append(entry.message)
            entry.sent += 1
        if taken:
            self._set([entry for entry in self._queued if entry.sent < limit])
        return taken

    def _set(self, queued: list[_Queued]) -> None:
        self._queued = queued
        self.size = sum(len(entry.message) for entry in queued)


def retransmit_limit(factor: int, nodes: int) -> int:
    return factor * math.ceil(math.log10(nodes + 1))
