"""What an ingester that leaves for good asks the others, so that no query misses a sample (docs/hand-over.md).

Each question may be asked as often as one likes and changes nothing that asking it twice would not. An answer says what
is so now; whoever is not there yet says so in it, and is asked again. Who cannot answer raises Unavailable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mimir_rw.model.stored_range import StoredRange

TENANTS_ASKED_MAX = 256
"""In one question; more are asked in several."""


@dataclass(frozen=True, slots=True)
class ReadOnlySeen:
    """seen: whether the distributor's ring shows the ingester read-only, so that no push is planned with it any more.
    under_way: jobs of earlier pushes that have not ended there."""

    seen: bool
    under_way: int = 0


class WritePlanner(Protocol):
    """A distributor."""

    async def sees_read_only(self, instance_id: str) -> ReadOnlySeen: ...


@dataclass(frozen=True, slots=True)
class WrittenIndex:
    """version: of the index that was written, above that of every index of the tenant written before. missing: of the
    blocks asked about, those that it does not have."""

    version: int
    missing: tuple[str, ...] = ()


class IndexWriter(Protocol):
    """The compactor that a tenant belongs to."""

    async def rewrite_index(self, tenant: str, blocks: Sequence[str]) -> WrittenIndex:
        """Write the tenant's bucket index anew, from what is in the bucket after the question came. Raises Unavailable
        when the tenant belongs to another compactor, or the bucket cannot be read or written; NotFound for one that is
        being deleted, and has no index any more."""
        ...


@dataclass(frozen=True, slots=True)
class BlocksAsked:
    """Blocks of a tenant's range; with an index of range_.index_version or newer."""

    range_: StoredRange
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlocksServed:
    """Of one tenant. index_version: of the index that the answer is about, 0 for none. pending: blocks within the range
    that this store-gateway owns and does not serve yet. served: those of the blocks asked about that it serves. gone:
    those of them that nobody need serve any more, because the index has their samples in others or does not have them
    any more."""

    tenant: str
    index_version: int
    pending: int = 0
    served: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


class BlockLoader(Protocol):
    """A store-gateway."""

    async def load_blocks(self, asked: Sequence[BlocksAsked]) -> Sequence[BlocksServed]:
        """Take an index of the version asked for or a newer one, serve what this store-gateway owns of the ranges
        however young it is, and say how far that has come: an answer for each tenant, in order. Does not wait long for
        what takes long; that is `pending`."""
        ...


@dataclass(frozen=True, slots=True)
class RecordKnown:
    """known: whether the record is in force there, in the version asked about or a later one. behind: tenants that it
    has an older index of than the record asks for, the first few."""

    known: bool
    behind: tuple[str, ...] = ()


class RecordFollower(Protocol):
    """A querier, or whoever else reads samples."""

    async def confirm_record(self, name: str, updated_ms: int) -> RecordKnown:
        """Whether every query that begins from now on asks the store for what the record has."""
        ...
