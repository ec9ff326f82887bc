"""What a store-gateway offers queriers, in process and across `rpc/`.

A caller names the blocks that it wants; an answer says which of them are in it. A block that is missing in an answer
(the gateway does not know it, or cannot read it) has to be asked for elsewhere: what is there of it does not count.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mimir_rw._native import LabelFrame
from mimir_rw.model.labels import Matcher


@dataclass(frozen=True, slots=True)
class BlockPart:
    """Some series of a block, as a part of a series set (native/src/series_set/part.rs). The parts of a block come in
    label order; between them there may be parts of others."""

    block: str
    series: int
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class BlockEnd:
    """A block's parts have all come; or none will: it cannot be served here."""

    block: str
    served: bool
    reason: str = ""
    """Why it is not."""


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """labels: sorted, distinct, of the blocks that were asked."""

    labels: LabelFrame
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundNames:
    """names: sorted."""

    names: list[str]
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServedBlocks:
    """What a gateway answers for, of one tenant. index_updated_at_s: of the bucket index that it knows; 0: there is
    none. set_aside: blocks that cannot be read, and why."""

    index_updated_at_s: int
    blocks: tuple[str, ...]
    set_aside: tuple[tuple[str, str], ...] = field(default=())


class StoreReads(Protocol):
    """blocks: ULIDs. Times are int ms, both inclusive. Raises Unavailable when it has too much to do, LimitExceeded
    and BadRequest as they are; what happens to a single block is said of the block."""

    def select(
        self, tenant: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> AsyncIterator[BlockPart | BlockEnd]:
        """The series with chunks that overlap mint..maxt, and their ends, one for each block. Leaving the iterator
        ends all that goes on for it."""
        ...

    async def series(
        self, tenant: str, blocks: Sequence[str], matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> FoundSeries: ...

    async def label_names(
        self, tenant: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> FoundNames: ...

    async def label_values(
        self, tenant: str, name: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> FoundNames: ...


class StoreGateway(StoreReads, Protocol):
    async def served(self, tenant: str, *, index_at_least_s: int = 0) -> ServedBlocks:
        """index_at_least_s: load the bucket index anew when the one that is known is older."""
        ...
