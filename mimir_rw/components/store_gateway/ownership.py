"""Which blocks are a store-gateway's own. Pure.

Any gateway can answer for any block of the bucket: it makes the index-header when it has none. Who owns a block says
who keeps its header at hand, and whom queriers ask; so while the views of two processes differ, or a gateway has come a
moment ago, a question costs more and still is answered.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.hashes import block_token
from mimir_rw.ring.operations import BLOCKS_OWNER_READ, BLOCKS_OWNER_SYNC
from mimir_rw.ring.view import RingView


def block_tokens(blocks: Sequence[IndexedBlock]) -> NDArray[np.uint32]:
    return np.array([block_token(block.ulid) for block in blocks], dtype=np.uint32)


def owned(blocks: Sequence[IndexedBlock], shard: RingView, id: str, *, now_s: int) -> list[IndexedBlock]:
    """Those of a tenant's blocks that instance `id` is to have at hand. shard: the tenant's."""
    if not blocks or id not in shard:
        return []
    try:
        placement = shard.replication_sets(block_tokens(blocks), BLOCKS_OWNER_SYNC, now_s=now_s)
    except Unavailable:
        return list(blocks)  # nobody seems to be there: rather too much than nothing
    mine = {each.instance.id: each.rows for each in placement.by_instance()}
    if id not in mine:
        return []
    rows = mine[id]
    return list(blocks) if rows is None else [blocks[row] for row in rows.tolist()]


def others_serve(block: str, shard: RingView, *, now_s: int) -> bool:
    """Whether a block that is not this instance's own can be let go of: all of its owners answer for it."""
    try:
        replicas = shard.replication_set(block_token(block), BLOCKS_OWNER_READ, now_s=now_s)
    except Unavailable:
        return False
    return len(replicas.instances) >= min(shard.settings.replication_factor, len(shard))


def at_hand(
    index: BucketIndex, *, now_ms: int, ignore_within_ms: int, ignore_marks_after_ms: int
) -> list[IndexedBlock]:
    """Blocks whose headers are kept: not those so young that queriers ask ingesters for what is in them, nor those that
    were marked for deletion long enough ago that queriers do not ask for them any more."""
    dead = marked_before(index, now_ms - ignore_marks_after_ms)
    youngest = now_ms - ignore_within_ms if ignore_within_ms else None
    return [
        block for block in index.blocks if block.ulid not in dead and (youngest is None or block.min_time < youngest)
    ]


def marked_before(index: BucketIndex, before_ms: int) -> frozenset[str]:
    """Blocks that were marked for deletion before a time."""
    return frozenset(mark.ulid for mark in index.deletion_marks if mark.deletion_time_s * 1000 < before_ms)
