"""Tokens of an instance: at random, or spread evenly over a zone (ring-and-gossip.md section 8). Pure."""

from __future__ import annotations

import heapq
import re
from collections.abc import Collection, Sequence
from typing import Protocol

from mimir_rw.kit.rng import Rng
from mimir_rw.ring.desc import RingDesc

_RING = 1 << 32
SPREAD_TOKENS = 512
ZONES_MAX = 8
_LIMIT = _RING - ZONES_MAX
_STRIDE = _RING // SPREAD_TOKENS
_ID = re.compile(r"^(.*-)(\d+)$")


class TokenGenerator(Protocol):
    def generate(self, count: int, taken: Collection[int]) -> tuple[int, ...]:
        """Up to `count` tokens, ascending, none of them taken."""
        ...

    def must_wait(self, ring: RingDesc) -> str | None:
        """Why the instance may not take its tokens yet, or None."""
        ...


class RandomTokens:
    def __init__(self, *, rng: Rng) -> None:
        self._rng = rng

    def generate(self, count: int, taken: Collection[int]) -> tuple[int, ...]:
        known, drawn = frozenset(taken), set[int]()
        while len(drawn) < count:
            token = int(self._rng.random() * _RING)
            if token not in known:
                drawn.add(token)
        return tuple(sorted(drawn))

    def must_wait(self, ring: RingDesc) -> str | None:
        return None


class SpreadMinimizingTokens:
    """The same tokens whenever and wherever they are computed, from the number at the end of the instance's id."""

    def __init__(self, *, id: str, zone: str, zones: Sequence[str], join_in_order: bool) -> None:
        """zones: all there are, at most eight. Raises ValueError when the id has no number or the zone is not known."""
        match = _ID.match(id)
        if match is None:
            raise ValueError(f"spread-minimizing tokens need an instance id that ends in a number, not {id!r}")
        if zone not in zones or len(zones) > ZONES_MAX:
            raise ValueError(f"spread-minimizing tokens need zone {zone!r} to be one of at most {ZONES_MAX}: {zones}")
        self._prefix, self._number = match[1], int(match[2])
        self._zone = sorted(zones).index(zone)
        self._join_in_order = join_in_order

    def generate(self, count: int, taken: Collection[int]) -> tuple[int, ...]:
        known = frozenset(taken)
        free = [token for token in spread_tokens(self._number, self._zone) if token not in known]
        return tuple(free[:count])

    def must_wait(self, ring: RingDesc) -> str | None:
        if not self._join_in_order or self._number == 0:
            return None
        before = f"{self._prefix}{self._number - 1}"
        if before in ring and ring[before].tokens:
            return None
        return f"instance {before} has no tokens in the ring yet"


def spread_tokens(number: int, zone: int) -> list[int]:
    """The 512 tokens of instance `number`, ascending. Work grows with the number: a quarter of a second for 100."""
    first = _Owner(0)
    for i in range(SPREAD_TOKENS):
        first.add(token=i * _STRIDE, before=(i - 1) % SPREAD_TOKENS * _STRIDE)
    owners = [first]
    for new in range(1, number + 1):
        owners.append(_newcomer(new, owners))
        heapq.heapify(owners)
    newest = next(owner for owner in owners if owner.number == number)
    return sorted(token + zone for token in newest.tokens())


class _Owner:
    """An instance with its tokens, the one that owns most first. Owners are ordered by what they own, most first."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.owned = 0
        self._tokens: list[tuple[int, int, int]] = []

    def __lt__(self, other: _Owner) -> bool:
        return (-self.owned, -self.number) < (-other.owned, -other.number)

    def add(self, token: int, before: int) -> int:
        """The token owns what lies after `before` up to it; how much that is."""
        owned = token - before if before < token else _RING - before + token
        heapq.heappush(self._tokens, (-owned, -token, before))
        self.owned += owned
        return owned

    def largest(self) -> int:
        """What its largest token owns."""
        return -self._tokens[0][0]

    def take_largest(self) -> tuple[int, int]:
        """Give up the largest token: the token and the one before it."""
        owned, token, before = heapq.heappop(self._tokens)
        self.owned += owned
        return -token, before

    def tokens(self) -> list[int]:
        return [-token for _, token, _ in self._tokens]


def _newcomer(number: int, owners: list[_Owner]) -> _Owner:
    """An instance whose tokens are cut off the largest stretches. owners: a heap, changed in place."""
    new, optimum, aside = _Owner(number), _RING / (number + 1), []
    for k in range(SPREAD_TOKENS):
        wanted = int(optimum - new.owned) // (SPREAD_TOKENS - k) // ZONES_MAX * ZONES_MAX
        while owners[0].largest() <= wanted:
            aside.append(heapq.heappop(owners))
        donor = heapq.heappop(owners)
        token, before = donor.take_largest()
        room = _LIMIT - before
        cut = before + wanted if room >= wanted else wanted - room
        new.add(token=cut, before=before)
        donor.add(token=token, before=cut)
        heapq.heappush(owners, donor)
    owners.extend(aside)
    return new
