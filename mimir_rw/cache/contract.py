"""What all caches are to those who use them.

A cache never fails: what it does not have, or cannot reach, is not there. What it gives may have been damaged on its
way: users check what they read (checksums) and go to the source. Keys begin with the name and version of what they
hold, as `sgi1/...`: another format is another key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

KEY_CHARS_MAX = 1024


class Cache(Protocol):
    """Bound to one event loop. Values are never changed by whoever has them."""

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Those of the keys that are there."""
        ...

    def store(self, items: Mapping[str, bytes], ttl_s: float) -> None:
        """Keep the items for so long at most; any of them may be dropped at once. Does not wait."""
        ...

    async def close(self) -> None: ...


class NoCache:
    """Has nothing."""

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        return {}

    def store(self, items: Mapping[str, bytes], ttl_s: float) -> None:
        pass

    async def close(self) -> None:
        pass
