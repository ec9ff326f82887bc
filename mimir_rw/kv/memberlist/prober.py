"""Whom to ping next, and which answers are awaited: of our own probe and of probes made for others. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mimir_rw.kit.rng import Rng
from mimir_rw.kv.memberlist.messages import Endpoint
from mimir_rw.kv.memberlist.settings import MemberlistSettings

_RELAYS_MAX = 1024
_SEQ_MAX = (1 << 32) - 1


@dataclass(slots=True)
class Probe:
    """Our one probe that is under way: answered until `ends_at`, or else its node is suspect."""

    node: str
    seq: int
    indirect_at: float
    ends_at: float
    asked_others: bool = False
    nacks_expected: int = 0
    nacks: int = 0


@dataclass(frozen=True, slots=True)
class Relay:
    """A ping made for another node, which waits for the answer under its own number."""

    seq: int
    answer_to: Endpoint
    nack: bool
    due: float


class Prober:
    def __init__(self, settings: MemberlistSettings, rng: Rng) -> None:
        self._settings = settings
        self._rng = rng
        self._order: list[str] = []
        self._seq = 0
        self.current: Probe | None = None
        self.next_at = math.inf
        self._relays: dict[int, Relay] = {}

    def start(self, at: float) -> None:
        self.next_at = at

    def stop(self) -> None:
        self.current = None
        self.next_at = math.inf
        self._relays.clear()

    def next_due(self) -> float:
        due = self.next_at
        if self.current is not None:
            due = self.current.ends_at if self.current.asked_others else self.current.indirect_at
        # Relays are made in the order in which they are due.
        first = next(iter(self._relays.values()), None)
        return due if first is None else min(due, first.due)

    def add(self, name: str) -> None:
        """A new node: it gets a random place among those that this round has still to come to."""
        self._order.insert(self._rng.randrange(len(self._order) + 1), name)

    def next_node(self, candidates: Sequence[str]) -> str | None:
        """The next of the candidates in this round; a new round in a new order when it is through."""
        wanted = frozenset(candidates)
        while self._order:
            name = self._order.pop()
            if name in wanted:
                return name
        self._order = sorted(wanted)
        self._rng.shuffle(self._order)
        return self._order.pop() if self._order else None

    def begin(self, node: str | None, now: float, scale: int) -> int:
        """Start a probe (None: only wait for the next turn); its number. scale: patience, by our own health."""
        interval = self._settings.probe_interval_s
        self.next_at = now + interval
        seq = self._next_seq()
        if node is not None:
            ends = now + interval * scale
            self.next_at = max(self.next_at, ends)
            self.current = Probe(node, seq, min(ends, now + self._settings.probe_timeout_s), ends)
        return seq

    def others_asked(self, nacks_expected: int) -> None:
        assert self.current is not None
        self.current.asked_others = True
        self.current.nacks_expected = nacks_expected

    def acked(self, seq: int, now: float) -> Relay | bool:
        """The relay that this answers, or whether it answers our own probe."""
        relay = self._relays.pop(seq, None)
        if relay is not None:
            return relay
        if self.current is None or self.current.seq != seq:
            return False
        self.current = None
        return True

    def nacked(self, seq: int) -> None:
        if self.current is not None and self.current.seq == seq:
            self.current.nacks += 1

    def give_up(self) -> int:
        """End the probe without an answer; what that says of our own health: missing nacks mean that it is us."""
        probe = self.current
        assert probe is not None
        self.current = None
        if probe.nacks_expected:
            return max(0, probe.nacks_expected - probe.nacks)
        return 1

    def relay(self, seq: int, answer_to: Endpoint, nack: bool, now: float) -> int | None:
        """Note a ping made for another; its own number, or None when too many are under way."""
        if len(self._relays) >= _RELAYS_MAX:
            return None
        own = self._next_seq()
        self._relays[own] = Relay(seq, answer_to, nack, now + self._settings.probe_timeout_s)
        return own

    def relays_due(self, now: float) -> list[Relay]:
        """Those that got no answer in time."""
        due = [own for own, relay in self._relays.items() if relay.due <= now]
        return [self._relays.pop(own) for own in due]

    def _next_seq(self) -> int:
        self._seq = self._seq % _SEQ_MAX + 1
        return self._seq
