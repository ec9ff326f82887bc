"""In this process: what was used last stays, bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from mimir_rw.cache.metrics import CacheMetrics
from mimir_rw.kit.clock import Clock

ITEM_BYTES = 200
"""What an item costs beside its key and value, about."""
_ITEM_SHARE = 8
"""An item may take this part of the cache, not more."""


class LruCache:
    """A `Cache`."""

    def __init__(self, *, name: str, bytes_max: int, clock: Clock, metrics: CacheMetrics) -> None:
        self._bytes_max = bytes_max
        self._clock = clock
        self._items: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self.held = 0
        """Bytes, about."""
        self._counts = metrics.of(name, "inmemory", lambda: self.held)

    def __len__(self) -> int:
        return len(self._items)

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """See `Cache`."""
        items, found = self._items, {}
        now_s = self._clock.monotonic()
        for key in keys:
            item = items.get(key)
            if item is None:
                continue
            if item[1] <= now_s:
                self._drop(key)
                continue
            items.move_to_end(key)
            found[key] = item[0]
        self._counts.requests.inc(len(keys))
        self._counts.hits.inc(len(found))
        return found

    def store(self, items: Mapping[str, bytes], ttl_s: float) -> None:
        """See `Cache`."""
        until_s = self._clock.monotonic() + ttl_s
        for key, value in items.items():
            self._drop(key)
            cost = _cost(key, value)
            if cost * _ITEM_SHARE > self._bytes_max:
                self._counts.dropped.inc()
                continue
            self._items[key] = (value, until_s)
            self.held += cost
            self._counts.stored.inc(len(value))
        while self.held > self._bytes_max:
            self._drop(next(iter(self._items)))

    async def close(self) -> None:
        self._items.clear()
        self.held = 0

    def _drop(self, key: str) -> None:
        item = self._items.pop(key, None)
        if item is not None:
            self.held -= _cost(key, item[0])


def _cost(key: str, value: bytes) -> int:
    return ITEM_BYTES + len(key) + len(value)
