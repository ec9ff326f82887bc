"""meta.json of a block: Prometheus' members and the `thanos` section that object storage adds.

Times are ms; `max_time` is exclusive: every sample has min_time <= t < max_time. Decoding ignores members that it does
not know, so what others have written stays readable; `encode` writes what is here, indented with tabs as Prometheus
does. A meta.json in a bucket is written once and never changed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mimir_rw.formats.json_members import Members
from mimir_rw.formats.ulid import is_ulid

META_BYTES_MAX = 16 << 20
VERSION = 1
SHARD_LABEL = "__compactor_shard_id__"
OUT_OF_ORDER_LABEL = "__out_of_order__"
INTERNAL_LABELS = frozenset(("__org_id__", "__ingester_id__", SHARD_LABEL, "__shard_id__", OUT_OF_ORDER_LABEL))
"""External labels that have a meaning of their own and are no part of what a block is about."""
HINT_OUT_OF_ORDER = "from-out-of-order"

SOURCE_RECEIVE = "receive"
SOURCE_COMPACTOR = "compactor"


@dataclass(frozen=True, slots=True)
class BlockStats:
    samples: int = 0
    """Floats and histograms together."""
    floats: int = 0
    histograms: int = 0
    series: int = 0
    chunks: int = 0
    tombstones: int = 0


@dataclass(frozen=True, slots=True)
class BlockParent:
    """A direct input of a merge."""

    ulid: str
    min_time: int
    max_time: int


@dataclass(frozen=True, slots=True)
class BlockCompaction:
    level: int = 1
    """1: cut from a head."""
    sources: tuple[str, ...] = ()
    """Level 1: the block itself. Higher: the sorted union of the inputs' sources."""
    parents: tuple[BlockParent, ...] = ()
    hints: tuple[str, ...] = ()
    deletable: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class BlockFile:
    """size: None where it is not told (meta.json itself)."""

    path: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ThanosMeta:
    """What object storage adds."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """External labels."""
    source: str = ""
    files: tuple[BlockFile, ...] = ()
    segment_files: tuple[str, ...] = ()
    resolution: int = 0
    """ms between samples of a downsampled block; 0 is raw, the only one that is served here."""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class BlockMeta:
    ulid: str
    min_time: int
    max_time: int
    stats: BlockStats = BlockStats()
    compaction: BlockCompaction = BlockCompaction()
    thanos: ThanosMeta | None = None

    @property
    def shard_id(self) -> str:
        """`i_of_n` of a block that split-and-merge compaction made, else ""."""
        return "" if self.thanos is None else self.thanos.labels.get(SHARD_LABEL, "")

    @property
    def out_of_order(self) -> bool:
        labelled = self.thanos is not None and self.thanos.labels.get(OUT_OF_ORDER_LABEL) == "true"
        return labelled or HINT_OUT_OF_ORDER in self.compaction.hints

    def replaced(self, **changes: Any) -> BlockMeta:
        return dataclasses.replace(self, **changes)

    def encode(self) -> bytes:
        meta: dict[str, Any] = {
            "ulid": self.ulid,
            "minTime": self.min_time,
            "maxTime": self.max_time,
            "stats": _stats_json(self.stats),
            "compaction": _compaction_json(self.compaction),
            "version": VERSION,
        }
        if self.thanos is not None:
            meta["thanos"] = _thanos_json(self.thanos)
        return json.dumps(meta, indent="\t", ensure_ascii=False).encode()

    @classmethod
    def decode(cls, data: bytes, what: str = "meta.json") -> BlockMeta:
        """Raises DataDamaged. what: names it in errors."""
        meta = Members.read(data, what, bytes_max=META_BYTES_MAX)
        meta.version(VERSION)
        ulid = meta.checked("ulid", is_ulid, "a ULID")
        min_time = meta.integer("minTime", required=True)
        max_time = meta.integer("maxTime", required=True)
        if min_time > max_time:
            raise meta.damaged(f"minTime {min_time} is above maxTime {max_time}")
        thanos = meta.inner("thanos")
        return cls(
            ulid=ulid,
            min_time=min_time,
            max_time=max_time,
            stats=_stats(meta.inner("stats")),
            compaction=_compaction(meta.inner("compaction")),
            thanos=None if thanos is None else _thanos(thanos),
        )


def _present(**members: Any) -> dict[str, Any]:
    """Members as encoding/json's omitempty writes them."""
    return {key: value for key, value in members.items() if value}


def _stats_json(stats: BlockStats) -> dict[str, Any]:
    return _present(
        numSamples=stats.samples,
        numFloatSamples=stats.floats,
        numHistogramSamples=stats.histograms,
        numSeries=stats.series,
        numChunks=stats.chunks,
        numTombstones=stats.tombstones,
    )


def _stats(stats: Members | None) -> BlockStats:
    if stats is None:
        return BlockStats()
    return BlockStats(
        samples=stats.integer("numSamples", low=0),
        floats=stats.integer("numFloatSamples", low=0),
        histograms=stats.integer("numHistogramSamples", low=0),
        series=stats.integer("numSeries", low=0),
        chunks=stats.integer("numChunks", low=0),
        tombstones=stats.integer("numTombstones", low=0),
    )


def _compaction_json(compaction: BlockCompaction) -> dict[str, Any]:
    parents = [{"ulid": p.ulid, "minTime": p.min_time, "maxTime": p.max_time} for p in compaction.parents]
    return {
        "level": compaction.level,
        **_present(
            sources=list(compaction.sources),
            deletable=compaction.deletable,
            parents=parents,
            failed=compaction.failed,
            hints=sorted(compaction.hints),
        ),
    }


def _compaction(compaction: Members | None) -> BlockCompaction:
    if compaction is None:
        return BlockCompaction(level=0)
    return BlockCompaction(
        level=compaction.integer("level", low=0, high=1 << 31),
        sources=compaction.texts("sources"),
        parents=tuple(
            BlockParent(p.checked("ulid", is_ulid, "a ULID"), p.integer("minTime"), p.integer("maxTime"))
            for p in compaction.objects("parents")
        ),
        hints=compaction.texts("hints"),
        deletable=compaction.flag("deletable"),
        failed=compaction.flag("failed"),
    )


def _thanos_json(thanos: ThanosMeta) -> dict[str, Any]:
    files = [
        {"rel_path": file.path} if file.size is None else {"rel_path": file.path, "size_bytes": file.size}
        for file in thanos.files
    ]
    return {
        **_present(version=thanos.version),
        "labels": dict(sorted(thanos.labels.items())),
        "downsample": {"resolution": thanos.resolution},
        "source": thanos.source,
        **_present(segment_files=list(thanos.segment_files), files=files),
    }


def _thanos(thanos: Members) -> ThanosMeta:
    downsample = thanos.inner("downsample")
    return ThanosMeta(
        labels=thanos.text_map("labels"),
        source=thanos.text("source"),
        files=tuple(_file(each) for each in thanos.objects("files")),
        segment_files=thanos.texts("segment_files"),
        resolution=0 if downsample is None else downsample.integer("resolution", low=0),
        version=thanos.version(0, VERSION),
    )


def _file(file: Members) -> BlockFile:
    size = None if file.raw("size_bytes") is None else file.integer("size_bytes", low=0)
    return BlockFile(file.text("rel_path"), size)
