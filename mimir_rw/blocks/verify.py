"""Whether a block in a directory is whole: its files (a native kernel reads every byte) and meta.json against them.

Blocking, for threads; the kernel releases the GIL. Nothing is changed. Used before a foreign block is taken into a
bucket, on what a compaction wrote, and by `mimir-rw bucket verify`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimir_rw._native import BlockStats as FoundStats
from mimir_rw._native import verify_block_files
from mimir_rw.formats.block_meta import META_BYTES_MAX, BlockMeta
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.model.errors import DataDamaged


@dataclass(frozen=True, slots=True)
class BlockReport:
    """What `verify_block` found."""

    stats: FoundStats
    """Counted in the files, as far as they can be read."""
    meta: BlockMeta | None
    """None: meta.json is missing or damaged."""
    tombstones: int
    """Intervals that are deleted. They do not go to a bucket: what they hide would be seen again."""
    problems: tuple[str, ...]
    """The first ones, each with the file and the place in it."""
    problem_count: int

    @property
    def sound(self) -> bool:
        return self.problem_count == 0


def verify_block(directory: Path) -> BlockReport:
    """Read everything there is of a block. Raises OSError when a file is there but cannot be read."""
    found = verify_block_files(str(directory))
    meta, problems = _meta(directory)
    if meta is not None:
        problems += _counts(meta, found.stats) + _times(meta, found.stats) + _sizes(meta, directory)
        if is_ulid(directory.name) and directory.name != meta.ulid:
            problems.append(f"meta.json: is of block {meta.ulid}")
    return BlockReport(
        stats=found.stats,
        meta=meta,
        tombstones=found.tombstones,
        problems=(*problems, *found.problems),
        problem_count=len(problems) + found.problem_count,
    )


def _meta(directory: Path) -> tuple[BlockMeta | None, list[str]]:
    path = directory / "meta.json"
    try:
        with path.open("rb") as file:
            return BlockMeta.decode(file.read(META_BYTES_MAX + 1)), []
    except FileNotFoundError:
        return None, ["meta.json: there is no such file"]
    except DataDamaged as error:
        return None, [str(error)]


def _counts(meta: BlockMeta, found: FoundStats) -> list[str]:
    """Old writers do not tell floats from histograms."""
    told = meta.stats
    pairs = {
        "numSeries": (told.series, found.series),
        "numChunks": (told.chunks, found.chunks),
        "numSamples": (told.samples, found.samples),
    }
    if told.floats or told.histograms:
        pairs["numFloatSamples"] = (told.floats, found.floats)
        pairs["numHistogramSamples"] = (told.histograms, found.histograms)
    return [f"meta.json: {name} is {says}, the files have {has}" for name, (says, has) in pairs.items() if says != has]


def _times(meta: BlockMeta, found: FoundStats) -> list[str]:
    if found.mint is None or found.maxt is None:
        return []
    if meta.min_time <= found.mint and found.maxt < meta.max_time:
        return []
    has, says = f"{found.mint} to {found.maxt}", f"minTime {meta.min_time} and maxTime {meta.max_time}"
    return [f"meta.json: samples from {has} are not within {says}"]


def _sizes(meta: BlockMeta, directory: Path) -> list[str]:
    """Of the files that the uploader listed."""
    problems = []
    for file in meta.thanos.files if meta.thanos is not None else ():
        if file.size is None or ".." in Path(file.path).parts or Path(file.path).is_absolute():
            continue
        try:
            size = (directory / file.path).stat().st_size
        except FileNotFoundError:
            problems.append(f"{file.path}: there is no such file, meta.json has it with {file.size} bytes")
            continue
        if size != file.size:
            problems.append(f"{file.path}: has {size} bytes, meta.json says {file.size}")
    return problems
