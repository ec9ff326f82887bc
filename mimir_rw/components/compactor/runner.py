"""Does one compaction job: fetch, merge, upload, mark.

The order is what makes a crash between any two steps harmless:

1. results are uploaded, each with meta.json last: until then readers see the sources and nothing else;
2. when all results are there, sources are marked for deletion: meanwhile readers see both, and samples of equal time
   count once, as those of replicas do;
3. marked blocks are deleted only after a delay, when every reader knows the results.

Whoever dies before 2 leaves sources and some results: the next plan does the job again, or finds the sources
superfluous, and results with equal sources are superfluous but for one. That also holds for a job that two compactors
do at once, because the ring changed under them: both upload whole results of the same sources, both mark the same
sources, and the planner of either keeps the result named first (`planner.redundant_blocks`).

A source that cannot be read is marked no-compact, with the reason: the tenant goes on without it, and it is served as
far as it can be.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mimir_rw.bucket.parallel import in_parallel
from mimir_rw.components.compactor.jobs import CompactionJob
from mimir_rw.components.compactor.merge_process import Merged, Merger, MergeSource, Output, SourceDamaged
from mimir_rw.components.compactor.store import BlockStore
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.formats.markers import REASON_CRITICAL, REASON_OUT_OF_ORDER_CHUNK
from mimir_rw.formats.ulid import ENTROPY_BYTES, make_ulid
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import DataDamaged, MimirError, Unavailable
from mimir_rw.objstore.contract import ObjectNotFound

SPACE_SPARE_BYTES = 64 << 20
"""What a job leaves free on the disk beside what it is expected to take."""
_OVERFLOW = "time overflows"
"""How the reader of an index says that chunks of a series are out of order."""


class JobStale(MimirError):
    """Sources are gone or marked meanwhile: somebody else has done the job, or the blocks are not wanted any more."""


class SourceUnreadable(MimirError):
    """A source is damaged; it has been marked no-compact."""

    def __init__(self, ulid: str, reason: str, what: str) -> None:
        super().__init__(f"block {ulid} cannot be read ({reason}): {what}")
        self.ulid = ulid
        self.reason = reason


@dataclass(frozen=True, slots=True)
class JobDone:
    results: tuple[BlockMeta, ...]
    merged: Merged
    source_bytes: int


class JobRunner:
    """Jobs may run side by side; each has a directory of its own below `scratch`, which is empty at the start."""

    def __init__(
        self,
        *,
        store: BlockStore,
        merger: Merger,
        scratch: Path,
        offload: Offload,
        clock: Clock,
        entropy: Callable[[int], bytes],
        space_free: Callable[[Path], int],
        downloads: int,
    ) -> None:
        """space_free: bytes free on the disk of a directory. downloads: blocks of a job that are fetched at once."""
        self._store = store
        self._merger = merger
        self._scratch = scratch
        self._offload = offload
        self._clock = clock
        self._entropy = entropy
        self._space_free = space_free
        self._downloads = downloads
        self._reserved = 0
        self._number = 0
        self._log: Logger = get_logger(component="compactor")

    async def clear(self) -> None:
        """Remove what an earlier process left."""
        await self._offload.run(removed, self._scratch)

    async def run(self, job: CompactionJob) -> JobDone:
        """Raises JobStale, SourceUnreadable, Unavailable for no space, and what store and merger raise."""
        size = sum(map(block_bytes, job.blocks))
        async with self._room(2 * size + SPACE_SPARE_BYTES), self._directory() as directory:
            sources = await self._fetch(job, directory)
            outputs = await self._offload.run(_made, directory, job.outputs)
            try:
                merged = await self._merger.merge(sources, outputs)
            except SourceDamaged as error:
                reason = REASON_OUT_OF_ORDER_CHUNK if _OVERFLOW in error.what else REASON_CRITICAL
                raise await self._set_aside(job, job.blocks[error.source], reason, error.what) from error
            check_outputs(job, merged.outputs)
            results = await self._publish(job, outputs, merged)
        return JobDone(results, merged, size)

    @contextlib.asynccontextmanager
    async def _room(self, size: int) -> AsyncIterator[None]:
        """Hold so many bytes of the disk, beside those that other jobs hold. Raises Unavailable."""
        await self._offload.run(_directory_there, self._scratch)
        free = await self._offload.run(self._space_free, self._scratch)
        if free - self._reserved < size:
            raise Unavailable(
                f"the job needs {size} bytes of scratch space and {max(0, free - self._reserved)} are free "
                f"in {self._scratch}"
            )
        self._reserved += size
        try:
            yield
        finally:
            self._reserved -= size

    @contextlib.asynccontextmanager
    async def _directory(self) -> AsyncIterator[Path]:
        self._number += 1
        directory = self._scratch / f"job-{self._number}"
        await self._offload.run(emptied, directory)
        try:
            yield directory
        finally:
            await self._offload.run(removed, directory)

    async def _fetch(self, job: CompactionJob, directory: Path) -> list[MergeSource]:
        async def fetch(meta: BlockMeta) -> MergeSource:
            target = directory / meta.ulid
            try:
                await self._store.download(job.tenant, meta, target)
            except ObjectNotFound as error:
                if not await self._store.exists(job.tenant, meta.ulid):
                    raise JobStale(f"block {meta.ulid} is gone") from error
                raise await self._set_aside(job, meta, REASON_CRITICAL, str(error)) from error
            except DataDamaged as error:
                raise await self._set_aside(job, meta, REASON_CRITICAL, str(error)) from error
            return MergeSource(str(target), meta.min_time, meta.max_time)

        return await in_parallel(job.blocks, fetch, at_a_time=self._downloads)

    async def _set_aside(self, job: CompactionJob, meta: BlockMeta, reason: str, what: str) -> SourceUnreadable:
        await self._store.mark_no_compact(job.tenant, meta.ulid, reason, what[:500])
        self._log.error("block set aside", tenant=job.tenant, block=meta.ulid, reason=reason, err=what)
        return SourceUnreadable(meta.ulid, reason, what)

    async def _publish(self, job: CompactionJob, outputs: Sequence[Path], merged: Merged) -> tuple[BlockMeta, ...]:
        # The merge took a while. A source that was marked since was marked by whoever did the same job, or by
        # somebody who wants its samples gone.
        marked = await self._store.marked(job.tenant, [meta.ulid for meta in job.blocks])
        if marked:
            raise JobStale(f"{', '.join(sorted(marked))} marked for deletion meanwhile")
        results = []
        for number, (directory, output) in enumerate(zip(outputs, merged.outputs, strict=True)):
            if output.samples == 0:
                continue
            ulid = make_ulid(self._clock.now_ms(), self._entropy(ENTROPY_BYTES))
            meta = replace(job.output_meta(number, ulid), stats=output.block_stats())
            results.append(await self._store.upload(job.tenant, directory, meta))
        names = " ".join(meta.ulid for meta in results) or "nothing, it is without samples"
        for meta in job.blocks:
            await self._store.mark_deleted(job.tenant, meta.ulid, f"compacted to {names}"[:500])
        return tuple(results)


def block_bytes(meta: BlockMeta) -> int:
    """Of index and chunks, as told by meta.json; 0 if it does not say."""
    return sum(file.size or 0 for file in meta.thanos.files) if meta.thanos is not None else 0


def check_outputs(job: CompactionJob, outputs: Sequence[Output]) -> None:
    """That the results can be what the sources say they are. Raises DataDamaged."""
    told = [meta.stats.samples for meta in job.blocks]
    made = sum(output.samples for output in outputs)
    if all(told) and not max(told) <= made <= sum(told):
        raise DataDamaged(f"the merge gave {made} samples of {told}")
    first, last = min(meta.min_time for meta in job.blocks), max(meta.max_time for meta in job.blocks)
    for output in outputs:
        if output.samples and not (first <= output.mint <= output.maxt < last):
            raise DataDamaged(f"the merge gave samples of {output.mint}..{output.maxt} of blocks of {first}..{last}")


def _directory_there(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def disk_free(path: Path) -> int:
    """Bytes that may still be written to the disk of a directory."""
    return shutil.disk_usage(path).free


def removed(path: Path) -> None:
    """Take a directory away, if it is there."""
    shutil.rmtree(path, ignore_errors=True)


def emptied(path: Path) -> None:
    """Make a directory that is empty."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)


def _made(directory: Path, count: int) -> list[Path]:
    outputs = [directory / f"result-{number}" for number in range(count)]
    for output in outputs:
        output.mkdir()
    return outputs
