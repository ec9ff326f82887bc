"""A range of a tenant's samples that is known to be in the object store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredRange:
    """Samples of one tenant with mint <= t <= maxt are in blocks of the bucket that an index of this version or a newer
    one has. blocks: how many there were."""

    tenant: str
    mint: int
    maxt: int
    index_version: int
    blocks: int = 0
