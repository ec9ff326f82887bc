"""The merge of a job's blocks in a child process: its two ends.

The child reads directories and writes directories; whatever becomes of it, nothing but those is touched. Prepared for a
child that crashes or runs out of memory: that is `MergeFailed`, and the parent does not notice otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from mimir_rw.formats.block_meta import BlockStats
from mimir_rw.kit.child import ChildFailed, child_main, cpu_seconds, limit_process, peak_memory_bytes, run_child
from mimir_rw.kit.offload import Offload

SEGMENT_BYTES = 512 << 20
NICE = 10


class MergeFailed(Exception):
    """The merge did not end, for no fault of a source that could be named."""


class SourceDamaged(Exception):
    """A source cannot be read; `source` is its number."""

    def __init__(self, source: int, what: str) -> None:
        super().__init__(what)
        self.source = source
        self.what = what


class MergeSource(msgspec.Struct, frozen=True):
    """directory: of the block; times as in its meta.json, which no sample may be outside of."""

    directory: str
    min_time: int
    max_time: int


class Output(msgspec.Struct, frozen=True):
    """Statistics of a result; times are those of its samples, inclusive."""

    series: int
    chunks: int
    samples: int
    floats: int
    histograms: int
    mint: int
    maxt: int

    def block_stats(self) -> BlockStats:
        return BlockStats(
            samples=self.samples,
            floats=self.floats,
            histograms=self.histograms,
            series=self.series,
            chunks=self.chunks,
        )


class Merged(msgspec.Struct, frozen=True):
    """What came of it, and what it took."""

    outputs: tuple[Output, ...] = ()
    damaged_source: int = -1
    error: str = ""
    peak_bytes: int = 0
    cpu_s: float = 0.0


class MergeRequest(msgspec.Struct, frozen=True):
    sources: tuple[MergeSource, ...]
    outputs: tuple[str, ...]
    """Directories, empty."""
    memory_bytes: int
    segment_bytes: int = SEGMENT_BYTES


class Merger(Protocol):
    async def merge(self, sources: Sequence[MergeSource], outputs: Sequence[Path]) -> Merged:
        """Merge blocks into directories, which are empty. Raises SourceDamaged, MergeFailed."""
        ...


class ChildMerger:
    """Each merge in a process of its own."""

    def __init__(self, *, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes

    async def merge(self, sources: Sequence[MergeSource], outputs: Sequence[Path]) -> Merged:
        request = MergeRequest(tuple(sources), tuple(map(str, outputs)), self._memory_bytes)
        try:
            answer = await run_child(__name__, msgspec.json.encode(request))
            merged = msgspec.json.decode(answer, type=Merged)
        except (ChildFailed, msgspec.DecodeError) as error:
            raise MergeFailed(str(error)) from error
        return checked(merged)


class OffloadMerger:
    """In a thread of this process: where there are no others, as in simulations."""

    def __init__(self, *, offload: Offload) -> None:
        self._offload = offload

    async def merge(self, sources: Sequence[MergeSource], outputs: Sequence[Path]) -> Merged:
        request = MergeRequest(tuple(sources), tuple(map(str, outputs)), 0)
        return checked(await self._offload.run(merge, request))


def checked(merged: Merged) -> Merged:
    if merged.damaged_source >= 0:
        raise SourceDamaged(merged.damaged_source, merged.error)
    if merged.error:
        raise MergeFailed(merged.error)
    return merged


def merge(request: MergeRequest) -> Merged:
    """In whatever process this is. What was written is read again: sources are marked for deletion because of it."""
    # Imported late: this module is also loaded by the parent, and the child should hold no more than it needs.
    from mimir_rw._native import DataDamaged, compact_blocks

    try:
        outputs = compact_blocks(
            [(source.directory, source.min_time, source.max_time) for source in request.sources],
            request.outputs,
            request.segment_bytes,
        )
        found = tuple(Output(*stats) for stats in outputs)
        unsound = _problem(d for d, output in zip(request.outputs, found, strict=True) if output.samples)
        if unsound:
            # A chunk that is copied is not decoded: it may be that of a source which was not sound before.
            bad, what = _problem(source.directory for source in request.sources) or (-1, f"the result: {unsound[1]}")
            return Merged(damaged_source=bad, error=what)
    except DataDamaged as error:
        what, source = error.args
        return Merged(damaged_source=source, error=what)
    except (OSError, MemoryError) as error:
        return Merged(error=str(error) or type(error).__name__)
    return Merged(outputs=found, peak_bytes=peak_memory_bytes(), cpu_s=cpu_seconds())


def _problem(directories: Iterable[str]) -> tuple[int, str] | None:
    """The number of the first block that is not sound, and why; None if all are."""
    from mimir_rw._native import verify_block_files

    for number, directory in enumerate(directories):
        report = verify_block_files(directory)
        if report.problem_count:
            return number, report.problems[0]
    return None


def _work(request: bytes) -> bytes:
    decoded = msgspec.json.decode(request, type=MergeRequest)
    limit_process(address_bytes=decoded.memory_bytes, nice=NICE)
    return msgspec.json.encode(merge(decoded))


if __name__ == "__main__":
    child_main(_work)
