"""Blocks for tests of the compactor, written short: `block("a", 0, 2)` is a level-1 block of the first two hours."""

from __future__ import annotations

import hashlib

from mimir_rw.components.compactor.jobs import StoredBlock
from mimir_rw.formats.block_meta import (
    HINT_OUT_OF_ORDER,
    SHARD_LABEL,
    BlockCompaction,
    BlockMeta,
    BlockStats,
    ThanosMeta,
)
from mimir_rw.formats.ulid import make_ulid

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def ulid(name: str) -> str:
    """Names sort as the ULIDs of their first characters do."""
    return make_ulid(
        int.from_bytes(name.encode()[:4].ljust(4, b"\0"), "big"), hashlib.sha256(name.encode()).digest()[:10]
    )


def block(
    name: str,
    begin_h: float,
    end_h: float,
    *,
    shard: str = "",
    level: int = 1,
    sources: str = "",
    labels: dict[str, str] | None = None,
    uploaded_h: float | None = None,
    out_of_order: bool = False,
    no_compact: bool = False,
) -> StoredBlock:
    """sources: names, one letter each. uploaded_h: by default the end of the block."""
    external = {**(labels or {}), **({SHARD_LABEL: shard} if shard else {})}
    meta = BlockMeta(
        ulid=ulid(name),
        min_time=int(begin_h * HOUR_MS),
        max_time=int(end_h * HOUR_MS),
        stats=BlockStats(samples=1, floats=1, series=1, chunks=1),
        compaction=BlockCompaction(
            level=level,
            sources=tuple(sorted(ulid(each) for each in (sources or [name]))),
            hints=(HINT_OUT_OF_ORDER,) if out_of_order else (),
        ),
        thanos=ThanosMeta(labels=external),
    )
    return StoredBlock(meta, int((end_h if uploaded_h is None else uploaded_h) * HOUR_MS), no_compact)
