"""Contract of a key-value store with compare-and-swap, and of the values in it (ring-and-gossip.md sections 1, 3, 12).

Values are immutable and merge: the store is told by a `Codec` how. All calls are made on the caller's event loop, on
which watchers are told too, wherever the store itself lives.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar

V = TypeVar("V")


class CodecError(ValueError):
    """Bytes that are not a value of this codec."""


class Codec(Protocol[V]):
    """How values of one kind are written, merged and shown. Pure and total: `decode` raises CodecError only."""

    @property
    def id(self) -> str:
        """As it travels beside each value: `ringDesc`."""
        ...

    def encode(self, value: V) -> bytes: ...

    def decode(self, data: bytes) -> V:
        """Empty bytes are an empty value."""
        ...

    def merge(self, ours: V | None, incoming: V, *, local_cas: bool, now_s: int) -> tuple[V, V | None]:
        """The merged value and what of it changed (None: nothing). The outcome does not depend on the order of
        arrival. local_cas: incoming was made from ours, so what it lacks was removed."""
        ...

    def without_tombstones(self, value: V, before_s: int | None) -> V:
        """Without the removed entries that are older than before_s; None: without any."""
        ...

    def names(self, value: V) -> frozenset[str]:
        """Entries that the value speaks of: a newer broadcast replaces queued ones that speak of a subset."""
        ...

    def is_empty(self, value: V) -> bool: ...

    def show(self, value: V) -> Any:
        """For pages: JSON-ready."""
        ...


class KV(Protocol[V]):
    """One kind of value under any number of keys. Values given out have no tombstones."""

    async def get(self, key: str) -> V | None: ...

    async def cas(self, key: str, change: Callable[[V | None], V | None]) -> None:
        """Replace the value by what `change` makes of it, trying again when another writer was faster; None leaves it.

        `change` may be called often and must not block. Raises Unavailable when the store cannot be reached or other
        writers win ten times."""
        ...

    async def delete(self, key: str) -> None:
        """Best effort."""
        ...

    async def list(self, prefix: str) -> list[str]: ...

    def watch(self, key: str) -> AsyncIterator[V]:
        """The value now, if there is one, and then each newer one; a slow reader misses those in between."""
        ...
