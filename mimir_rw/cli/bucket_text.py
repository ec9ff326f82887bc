"""What the bucket commands show: tables, and the same as data for --json. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from mimir_rw.bucket.index_updater import Scan
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock
from mimir_rw.objstore.contract import ObjectInfo


def time_text(ms: int) -> str:
    """UTC, to the second."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def duration_text(ms: int) -> str:
    hours, minutes = divmod(round(ms / 60_000), 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days}d" if days else "", f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    return "".join(parts) or "0m"


def bytes_text(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return table


def tenants_data(found: Mapping[str, BucketIndex | None]) -> list[dict[str, Any]]:
    return [
        {
            "tenant": tenant,
            "blocks": None if index is None else len(index.blocks),
            "marked_for_deletion": None if index is None else len(index.deletion_marks),
            "min_time": None if index is None else min((b.min_time for b in index.blocks), default=None),
            "max_time": None if index is None else max((b.max_time for b in index.blocks), default=None),
            "index_updated_at": None if index is None else index.updated_at_s,
        }
        for tenant, index in found.items()
    ]


def tenants_table(found: Mapping[str, BucketIndex | None]) -> Table:
    table = plain_table("TENANT", "BLOCKS", "MARKED", "FROM", "TO", "INDEX OF", right=("BLOCKS", "MARKED"))
    for row in tenants_data(found):
        if row["index_updated_at"] is None:
            table.add_row(row["tenant"], "?", "?", "", "", "no index")
            continue
        times = [time_text(row[key]) if row[key] is not None else "" for key in ("min_time", "max_time")]
        updated = time_text(row["index_updated_at"] * 1000)
        table.add_row(row["tenant"], str(row["blocks"]), str(row["marked_for_deletion"]), *times, updated)
    return table


def blocks_data(scan: Scan) -> list[dict[str, Any]]:
    marks = {mark.ulid: mark.deletion_time_s for mark in scan.index.deletion_marks}
    whole = [_block_data(block, marks.get(block.ulid), block.ulid in scan.no_compact) for block in scan.index.blocks]
    partial = [
        {"block": ulid, "partial": reason, "deletion_time": marks.get(ulid)} for ulid, reason in scan.partial.items()
    ]
    return [*sorted(whole, key=lambda row: (row["min_time"], row["block"])), *partial]


def _block_data(block: IndexedBlock, deletion_time: int | None, no_compact: bool) -> dict[str, Any]:
    return {
        "block": block.ulid,
        "min_time": block.min_time,
        "max_time": block.max_time,
        "level": block.level,
        "shard": block.shard_id,
        "source": block.source,
        "out_of_order": block.out_of_order,
        "uploaded_at": block.uploaded_at_s,
        "deletion_time": deletion_time,
        "no_compact": no_compact,
    }


def blocks_table(scan: Scan) -> Table:
    table = plain_table("BLOCK", "FROM", "RANGE", "LEVEL", "SHARD", "SOURCE", "UPLOADED", "MARKS", right=("LEVEL",))
    for row in blocks_data(scan):
        marks = [f"deleted {time_text(row['deletion_time'] * 1000)}"] if row["deletion_time"] is not None else []
        if "partial" in row:
            table.add_row(row["block"], "", "", "", "", "", "", ", ".join([f"partial: {row['partial']}", *marks]))
            continue
        marks += ["no-compact"] * row["no_compact"] + ["out-of-order"] * row["out_of_order"]
        table.add_row(
            row["block"], time_text(row["min_time"]), duration_text(row["max_time"] - row["min_time"]),
            str(row["level"]), row["shard"], row["source"], time_text(row["uploaded_at"] * 1000), ", ".join(marks),
        )  # fmt: skip
    return table


def block_data(ulid: str, meta: BlockMeta | None, problem: str, objects: Mapping[str, ObjectInfo]) -> dict[str, Any]:
    data: dict[str, Any] = {
        "block": ulid,
        "bytes": sum(info.size for info in objects.values()),
        "objects": {name: {"bytes": info.size, "modified_ms": info.modified_ms} for name, info in objects.items()},
    }
    if meta is None:
        return data | {"partial": problem}
    thanos = meta.thanos
    return data | {
        "min_time": meta.min_time,
        "max_time": meta.max_time,
        "samples": meta.stats.samples,
        "float_samples": meta.stats.floats,
        "histogram_samples": meta.stats.histograms,
        "series": meta.stats.series,
        "chunks": meta.stats.chunks,
        "level": meta.compaction.level,
        "sources": list(meta.compaction.sources),
        "parents": [parent.ulid for parent in meta.compaction.parents],
        "hints": list(meta.compaction.hints),
        "labels": {} if thanos is None else dict(thanos.labels),
        "source": "" if thanos is None else thanos.source,
    }


def block_table(data: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in data.items():
        if key == "objects":
            continue
        if key in ("min_time", "max_time"):
            value = f"{time_text(value)} ({value})"
        elif key == "bytes":
            value = f"{bytes_text(value)} ({value})"
        elif isinstance(value, list):
            value = ", ".join(value)
        elif isinstance(value, dict):
            value = ", ".join(f"{name}={text}" for name, text in value.items())
        table.add_row(key.replace("_", " "), str(value))
    for name, info in data["objects"].items():
        table.add_row("object", f"{name}  {bytes_text(info['bytes'])}  {time_text(info['modified_ms'])}")
    return table
