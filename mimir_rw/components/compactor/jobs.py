"""What a compaction job is: which blocks become which blocks. Values only; `planner` makes them, `runner` does them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from mimir_rw.formats.block_meta import (
    HINT_OUT_OF_ORDER,
    SHARD_LABEL,
    SOURCE_COMPACTOR,
    BlockCompaction,
    BlockMeta,
    BlockParent,
    ThanosMeta,
)

STRIPPED_LABELS = frozenset(("__org_id__", "__ingester_id__", "__shard_id__"))
"""External labels of old writers: blocks that differ in them only belong together, and results are without them."""
_HINTS_OF_ALL = frozenset((HINT_OUT_OF_ORDER,))
"""Hints that hold for a result only if they hold for all of its sources; others if they hold for any."""


class Stage(enum.Enum):
    SPLIT = "split"
    """Blocks without a shard become one block per shard."""
    MERGE = "merge"
    """Blocks of one shard, or of none, become one."""


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A whole block in the bucket that is not marked for deletion."""

    meta: BlockMeta
    uploaded_ms: int
    no_compact: bool = False

    @property
    def ulid(self) -> str:
        return self.meta.ulid


@dataclass(frozen=True, slots=True)
class CompactionJob:
    tenant: str
    stage: Stage
    range_start: int
    range_end: int
    """The window, aligned to one of the block ranges; ms, end exclusive."""
    blocks: tuple[BlockMeta, ...]
    """Sources, by time and name."""
    shard: str = ""
    """Merge: the shard of all sources, "" for none. Split: which split group it is, `i_of_n`."""
    shards: int = 0
    """Split: how many blocks come out at most."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """External labels of sources and results, without the shard."""

    @property
    def key(self) -> str:
        """Names the job whatever its sources are at the moment: one compactor owns it on the ring, so that what one
        has begun is not begun by another that sees a block more or less."""
        labels = ",".join(f"{name}={value}" for name, value in sorted(self.labels.items()))
        return f"{self.tenant}-{labels}-{self.stage.value}-{self.shard}-{self.range_start}-{self.range_end}"

    @property
    def range_ms(self) -> int:
        return self.range_end - self.range_start

    @property
    def outputs(self) -> int:
        return self.shards if self.stage is Stage.SPLIT else 1

    def output_labels(self, number: int) -> dict[str, str]:
        """External labels of the result with this number, from 0."""
        if self.stage is Stage.SPLIT:
            return {**self.labels, SHARD_LABEL: shard_id(number, self.shards)}
        return {**self.labels, SHARD_LABEL: self.shard} if self.shard else dict(self.labels)

    def output_meta(self, number: int, ulid: str) -> BlockMeta:
        """meta.json of a result, without statistics and files."""
        metas = self.blocks
        return BlockMeta(
            ulid=ulid,
            min_time=min(meta.min_time for meta in metas),
            max_time=max(meta.max_time for meta in metas),
            compaction=BlockCompaction(
                level=max(meta.compaction.level for meta in metas) + 1,
                sources=tuple(sorted({source for meta in metas for source in sources_of(meta)})),
                parents=tuple(BlockParent(meta.ulid, meta.min_time, meta.max_time) for meta in metas),
                hints=_merged_hints(metas),
            ),
            thanos=ThanosMeta(labels=self.output_labels(number), source=SOURCE_COMPACTOR),
        )


def shard_id(number: int, shards: int) -> str:
    """number: from 0; in the label it counts from 1."""
    return f"{number + 1}_of_{shards}"


def sources_of(meta: BlockMeta) -> frozenset[str]:
    """The level-1 blocks whose samples it has."""
    return frozenset(meta.compaction.sources) or frozenset((meta.ulid,))


def group_labels(meta: BlockMeta) -> dict[str, str]:
    """External labels that blocks must share to be merged, without the shard."""
    labels = {} if meta.thanos is None else meta.thanos.labels
    return {k: v for k, v in labels.items() if k != SHARD_LABEL and k not in STRIPPED_LABELS}


def _merged_hints(metas: tuple[BlockMeta, ...]) -> tuple[str, ...]:
    every = [set(meta.compaction.hints) for meta in metas]
    found = set.union(*every)
    return tuple(sorted(hint for hint in found if hint not in _HINTS_OF_ALL or all(hint in each for each in every)))
