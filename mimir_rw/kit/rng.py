"""Chance as a collaborator. One seeded instance makes a run repeatable."""

from __future__ import annotations

import os
import random
from collections.abc import MutableSequence
from typing import Any, Protocol


class Rng(Protocol):
    """Not for secrets."""

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def randrange(self, stop: int, /) -> int:
        """Uniform among 0 .. stop - 1."""
        ...

    def shuffle(self, x: MutableSequence[Any], /) -> None:
        """Into any order, in place."""
        ...


def system_rng() -> Rng:
    """Seeded by the operating system."""
    return random.Random()


def seeded_rng(seed: int) -> Rng:
    return random.Random(seed)


def secret_bytes(count: int) -> bytes:
    """For keys and secrets, from the operating system."""
    return os.urandom(count)
