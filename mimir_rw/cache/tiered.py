"""A near cache in front of a far one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mimir_rw.cache.contract import Cache


class TieredCache:
    """A `Cache`. What only the far one has comes into the near one."""

    def __init__(self, near: Cache, far: Cache, *, near_ttl_s: float) -> None:
        """near_ttl_s: how long what came from the far one stays in the near one."""
        self._near = near
        self._far = far
        self._near_ttl_s = near_ttl_s

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """See `Cache`."""
        found = await self._near.fetch(keys)
        missing = [key for key in keys if key not in found]
        if not missing:
            return found
        far = await self._far.fetch(missing)
        if not far:
            return found
        self._near.store(far, self._near_ttl_s)
        return {**found, **far}

    def store(self, items: Mapping[str, bytes], ttl_s: float) -> None:
        """See `Cache`."""
        self._near.store(items, min(ttl_s, self._near_ttl_s))
        self._far.store(items, ttl_s)

    async def close(self) -> None:
        await self._near.close()
        await self._far.close()
