"""Keys in the memory of this process, for a cluster of one process and for tests.

Writers replace values as a whole, so no tombstones arise. Everything happens on one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from mimir_rw.kv.contract import Codec

V = TypeVar("V")


class MemoryStore:
    """The keys that several `MemoryKV`s share."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._changed: dict[str, asyncio.Event] = {}

    def kv(self, codec: Codec[V]) -> MemoryKV[V]:
        return MemoryKV(codec, store=self)

    def get(self, key: str) -> Any:
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        self._values[key] = value
        event = self._changed.pop(key, None)
        if event is not None:
            event.set()

    def delete(self, key: str) -> None:
        """Watchers are not told."""
        self._values.pop(key, None)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self._values if key.startswith(prefix))

    async def next_change(self, key: str) -> None:
        """Wait until `key` is put again."""
        await self._changed.setdefault(key, asyncio.Event()).wait()


class MemoryKV(Generic[V]):
    """Values of one kind in a MemoryStore, its own one unless told."""

    def __init__(self, codec: Codec[V], *, store: MemoryStore | None = None) -> None:
        self._codec = codec
        self._store = store if store is not None else MemoryStore()

    async def get(self, key: str) -> V | None:
        return self._visible(key)

    async def cas(self, key: str, change: Callable[[V | None], V | None]) -> None:
        # No await between reading and writing: no other writer can come between.
        new = change(self._visible(key))
        if new is not None:
            self._store.put(key, new)

    async def delete(self, key: str) -> None:
        self._store.delete(key)

    async def list(self, prefix: str) -> list[str]:
        return self._store.keys(prefix)

    async def watch(self, key: str) -> AsyncIterator[V]:
        seen: V | None = None
        while True:
            value = self._visible(key)
            if value is not None and value is not seen:
                seen = value
                yield value
            else:
                await self._store.next_change(key)

    def _visible(self, key: str) -> V | None:
        value: V | None = self._store.get(key)
        return value
