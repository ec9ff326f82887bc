"""Object storage of a simulated cluster: one bucket in memory, which each process sees through troubles of its own.

A call takes a moment before the store does it and another one after, so that whoever calls may be killed, frozen or
cancelled before, or after, without an answer. A host may be in trouble (errors, lost answers, slowness, nothing), or
have a crash in wait for it: its process is killed at one of its next calls.

What is done to the bucket is watched from outside, whoever does it: nothing of a block goes before the block has been
marked for the deletion delay, meta.json goes first, and an index that is written has whole blocks only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import TypeVar

from mimir_rw.bucket.layout import (
    BUCKET_INDEX,
    DELETION_MARK,
    INDEX,
    MARKS,
    META,
    block_dir,
    block_key,
    marker_key,
    meta_key,
)
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.formats.markers import DeletionMark
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.model.errors import DataDamaged
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.testing.faulty_bucket import Faults, FaultyBucket
from mimir_rw.testing.process import SimHost, SimProcess
from mimir_rw.testing.simulation import Simulation

T = TypeVar("T")

FINE = Faults()
TAKES_S = 0.02
"""Half of what a call takes at most when all is well."""
SKEW_S = 15
"""Clocks of those that mark and of those that delete may differ by so much."""
_NEVER_S = 10.0**7


class WatchedBucket(MemoryBucket):
    """complaints: what was done to it that must not be."""

    def __init__(self, *, sim: Simulation, deletion_delay_s: int) -> None:
        super().__init__(clock=sim.clock)
        self.complaints: list[str] = []
        self.deleted = 0
        """Blocks."""
        self._sim = sim
        self._delay_s = deletion_delay_s

    async def upload(self, key: str, data: bytes) -> None:
        await super().upload(key, data)
        tenant, _, name = key.partition("/")
        if name == BUCKET_INDEX:
            self._look_at_index(tenant, BucketIndex.decode(data))

    async def delete(self, key: str) -> None:
        parts = key.split("/", 2)
        if key in self.objects and len(parts) == 3 and is_ulid(parts[1]) and parts[2] not in MARKS:
            self._look_at_delete(*parts)
        await super().delete(key)

    def metas(self, tenant: str) -> Iterator[BlockMeta]:
        """Of the blocks that are there."""
        for key in sorted(self.objects):
            parts = key.split("/")
            if len(parts) == 3 and parts[0] == tenant and parts[2] == META and is_ulid(parts[1]):
                yield BlockMeta.decode(self.objects[key][0], key)

    def mark(self, tenant: str, ulid: str) -> DeletionMark | None:
        found = self.objects.get(marker_key(tenant, ulid, DELETION_MARK))
        return None if found is None else DeletionMark.decode(found[0])

    def files(self, tenant: str, ulid: str) -> dict[str, bytes]:
        """By name in the block's directory."""
        prefix = block_dir(tenant, ulid)
        return {key.removeprefix(prefix): data for key, (data, _) in self.objects.items() if key.startswith(prefix)}

    def _look_at_delete(self, tenant: str, ulid: str, name: str) -> None:
        whole = meta_key(tenant, ulid) in self.objects
        if name == META:
            self.deleted += 1
        elif whole:
            self._complain(f"{name} of block {ulid} is deleted before its {META}")
        mark = self.mark(tenant, ulid)
        if mark is None:
            self._complain(f"{name} of block {ulid} is deleted without a mark")
        elif whole and self._now_s() - mark.deletion_time_s < self._delay_s - SKEW_S:
            self._complain(f"{name} of block {ulid} is deleted {self._now_s() - mark.deletion_time_s} s after its mark")

    def _look_at_index(self, tenant: str, index: BucketIndex) -> None:
        for block in index.blocks:
            mark = self.mark(tenant, block.ulid)
            if mark is None or self._now_s() - mark.deletion_time_s < self._delay_s - SKEW_S:
                self._look_at_block(tenant, block.ulid)

    def _look_at_block(self, tenant: str, ulid: str) -> None:
        found = self.objects.get(meta_key(tenant, ulid))
        if found is None:
            self._complain(f"block {ulid} is in the index and has no {META}")
            return
        try:
            meta = BlockMeta.decode(found[0])
        except DataDamaged as error:
            self._complain(f"block {ulid} is in the index and its {META} is damaged: {error}")
            return
        wanted = {file.path: file.size for file in meta.thanos.files} if meta.thanos is not None else {}
        for name in sorted({INDEX, *wanted} - {META}):
            data, size = self.objects.get(block_key(tenant, ulid, name)), wanted.get(name)
            if data is None or (size is not None and len(data[0]) != size):
                self._complain(f"block {ulid} is in the index and its {name} is not whole")

    def _complain(self, text: str) -> None:
        self.complaints.append(f"at {self._sim.loop.time():.3f}: {text}")

    def _now_s(self) -> int:
        return self._sim.clock.now_ms() // 1000


class ObjectStore:
    def __init__(self, sim: Simulation, *, deletion_delay_s: int) -> None:
        self.sim = sim
        self.bucket = WatchedBucket(sim=sim, deletion_delay_s=deletion_delay_s)
        self.kill: Callable[[SimHost], None] = lambda host: None
        """Ends the process that runs on a host."""
        self._troubles: dict[SimHost, Faults] = {}
        self._crashes: dict[SimHost, int] = {}

    def seen_by(self, process: SimProcess) -> FaultyBucket:
        return _SeenBucket(self, process)

    def trouble(self, host: SimHost, faults: Faults) -> None:
        """From now on, until it is told otherwise."""
        self._troubles[host] = faults

    def trouble_of(self, host: SimHost) -> Faults:
        return self._troubles.get(host, FINE)

    def crash(self, host: SimHost, after: int) -> None:
        """Kill its process at its next call but `after`."""
        self._crashes[host] = after

    def no_crash(self, host: SimHost) -> None:
        self._crashes.pop(host, None)

    def crashes_now(self, host: SimHost) -> bool:
        """Whether the call that begins now is the last one of the process."""
        left = self._crashes.get(host)
        if left is None:
            return False
        if left:
            self._crashes[host] = left - 1
            return False
        del self._crashes[host]
        return True


class _SeenBucket(FaultyBucket):
    """As one process sees it."""

    def __init__(self, store: ObjectStore, process: SimProcess) -> None:
        self._chances: Random = store.sim.rng(f"object storage of {process.name}")
        super().__init__(store.bucket, rng=self._chances)
        self._store = store
        self._process = process

    async def _do(self, operation: str, key: str, work: Callable[[], Awaitable[T]]) -> T:
        host = self._process.host
        self.faults = self._store.trouble_of(host)
        crashes = self._store.crashes_now(host)
        await asyncio.sleep(TAKES_S * self._chances.random())
        if crashes and self._chances.random() < 0.5:
            await self._die(f"before {operation} {key}")
        result = await super()._do(operation, key, work)
        if operation in ("upload", "delete"):
            self._store.sim.network.saw(f"{self._process.name} {operation} {key}")
        if crashes:
            await self._die(f"after {operation} {key}")
        await asyncio.sleep(TAKES_S * self._chances.random())
        return result

    async def _die(self, when: str) -> None:
        sim, process = self._store.sim, self._process
        sim.network.saw(f"{process.name} crashes {when}")
        sim.loop.call_soon(self._store.kill, process.host, context=sim.network.context)
        await asyncio.sleep(_NEVER_S)
