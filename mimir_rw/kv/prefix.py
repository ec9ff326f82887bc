"""A part of a store: keys that all begin alike, as `collectors/` for rings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from mimir_rw.kv.contract import KV

V = TypeVar("V")


class PrefixKV(Generic[V]):
    """Puts `prefix` before every key on the way in and takes it off on the way out."""

    def __init__(self, kv: KV[V], prefix: str) -> None:
        self._kv = kv
        self._prefix = prefix

    async def get(self, key: str) -> V | None:
        return await self._kv.get(self._prefix + key)

    async def cas(self, key: str, change: Callable[[V | None], V | None]) -> None:
        await self._kv.cas(self._prefix + key, change)

    async def delete(self, key: str) -> None:
        await self._kv.delete(self._prefix + key)

    async def list(self, prefix: str) -> list[str]:
        return [key.removeprefix(self._prefix) for key in await self._kv.list(self._prefix + prefix)]

    def watch(self, key: str) -> AsyncIterator[V]:
        return self._kv.watch(self._prefix + key)
