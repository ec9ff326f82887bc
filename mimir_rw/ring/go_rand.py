"""Go's math/rand generator of old, bit for bit: it decides who is in a shuffle shard (ring-and-gossip.md section 7.2).

An additive lagged Fibonacci generator of 607 words, seeded by a linear congruential one whose words are xored with a
table. The table is the generator's own state after 7.8e12 steps; a test derives it anew.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

_WORDS = 607
_TAP = 273
_MODULUS = (1 << 31) - 1
_MULTIPLIER = 48271
_SKIPPED = 20
_U64 = (1 << 64) - 1


class GoRand:
    """Draws of `rand.New(rand.NewSource(seed))`."""

    __slots__ = ("_feed", "_tap", "_vec")

    def __init__(self, seed: int) -> None:
        """seed: an int64."""
        u20, u10, u0 = (column.astype(np.uint64) for column in _seeding(seed))
        vec = u20 << np.uint64(40) ^ u10 << np.uint64(20) ^ u0 ^ _cooked()
        self._vec: list[int] = vec.tolist()
        self._tap = 0
        self._feed = _WORDS - _TAP

    def uint64(self) -> int:
        self._tap = (self._tap - 1) % _WORDS
        self._feed = (self._feed - 1) % _WORDS
        drawn = (self._vec[self._feed] + self._vec[self._tap]) & _U64
        self._vec[self._feed] = drawn
        return drawn

    def int63(self) -> int:
        return self.uint64() & (_U64 >> 1)

    def uint32(self) -> int:
        return self.int63() >> 31


def _seeding(seed: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Three draws of the seeding generator for each word."""
    start = seed % _MODULUS or 89482311
    draws = _powers() * np.uint64(start) % np.uint64(_MODULUS)
    return draws[0::3], draws[1::3], draws[2::3]


@cache
def _powers() -> NDArray[np.uint64]:
    """Powers of the multiplier: draw k of the seeding generator is its start times the multiplier to the k."""
    powers = [pow(_MULTIPLIER, _SKIPPED + 1, _MODULUS)]
    while len(powers) < 3 * _WORDS:
        powers.append(powers[-1] * _MULTIPLIER % _MODULUS)
    return np.array(powers, dtype=np.uint64)


@cache
def _cooked() -> NDArray[np.uint64]:
    data = resources.files("mimir_rw.ring").joinpath("go_rand_cooked.bin").read_bytes()
    return np.frombuffer(data, dtype="<u8")
