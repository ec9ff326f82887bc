"""Ingesters that tests break: in memory, behind peers that lose messages, answers and their minds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mimir_rw._native import WriteBatch, decode_batch
from mimir_rw.kit.trace import current_trace
from mimir_rw.model.errors import MimirError, Unavailable
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, InstanceState, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import RingView, ring_view
from mimir_rw.rpc.contracts.ingester import EncodedPart, PushResult, Rejection

KEY = b"k" * 32
OTHER_KEY = b"o" * 32
SeriesLabels = tuple[tuple[str, str], ...]


@dataclass
class MemoryIngester:
    """Stores what comes, in the order in which it comes; knows series by their hash as a head does."""

    key: bytes = KEY
    epoch: str = "1"
    known: dict[tuple[str, bytes], SeriesLabels] = field(default_factory=dict)
    stored: list[tuple[str, SeriesLabels, int, float]] = field(default_factory=list)
    series_max: int = 1 << 30
    metadata: list[tuple[str, str]] = field(default_factory=list)

    def push(self, parts: Sequence[EncodedPart]) -> list[PushResult | MimirError]:
        return [self._part(part.tenant, decode_batch(part.payload, tenant=part.tenant, key=self.key)) for part in parts]

    def forget(self, count: int = 1 << 30) -> None:
        """Drop series, the oldest first, as a head does whose blocks were cut. What was stored is stored."""
        for known in list(self.known)[:count]:
            del self.known[known]

    def restart(self) -> None:
        self.epoch = str(int(self.epoch) + 1)
        self.forget()

    def rekey(self, key: bytes) -> None:
        self.key = key
        self.forget()

    def _part(self, tenant: str, batch: WriteBatch) -> PushResult:
        labelled = batch.has_labels()
        unresolved, refused, count = [], [], 0
        for row in range(batch.series_count):
            name = (tenant, batch.hash_bytes(row))
            if labelled[row] and name not in self.known:
                if len(self.known) >= self.series_max:
                    refused.append(row)
                    continue
                self.known[name] = tuple(batch.row_labels(row))
            if name not in self.known:
                unresolved.append(row)
                continue
            for ts, value in batch.row_samples(row):
                self.stored.append((tenant, self.known[name], ts, value))
                count += 1
        self.metadata += [(tenant, metric) for _, metric, _, _ in batch.metadata_rows()]
        rejections = ()
        if refused:
            rows = np.array(refused, dtype=np.uint32)
            rejections = (Rejection("max-series-per-user", len(refused), f"row {refused[0]}", rows),)
        return PushResult(count, rejections, np.array(unresolved, dtype=np.uint32))


class FakePeer:
    """The connection to a `MemoryIngester`. Waits for `gate` before anything is stored; `fault` is asked for each
    message and may raise."""

    def __init__(self, ingester: MemoryIngester) -> None:
        self.ingester = ingester
        self.healthy = True
        self.references = True
        self.extended = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.messages: list[list[EncodedPart]] = []
        self.traces: list[str] = []
        self.fault: Callable[[], None] = lambda: None

    @property
    def epoch(self) -> str:
        return self.ingester.epoch

    async def push_encoded(self, parts: Sequence[EncodedPart], *, timeout_s: float) -> list[PushResult | MimirError]:
        self.messages.append(list(parts))
        self.traces.append(current_trace())
        self.fault()
        try:
            async with asyncio.timeout(timeout_s):
                await self.gate.wait()
        except TimeoutError:
            raise Unavailable("no answer in time") from None
        return self.ingester.push(parts)

    def labelled_rows(self) -> list[list[int]]:
        """Of each message, how many rows of each part had labels."""
        return [
            [int(decode_batch(p.payload, tenant=p.tenant, key=self.ingester.key).has_labels().sum()) for p in parts]
            for parts in self.messages
        ]


class FakeRing:
    """A ring of ingesters that a test changes."""

    def __init__(self, settings: RingSettings, instances: Sequence[InstanceDesc]) -> None:
        self.settings = settings
        self._view = ring_view(RingDesc(instances), settings)
        self._watchers: list[Callable[[RingView], None]] = []

    def view(self) -> RingView:
        return self._view

    def watch(self, watcher: Callable[[RingView], None]) -> Callable[[], None]:
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def become(self, instances: Sequence[InstanceDesc]) -> None:
        self._view = ring_view(RingDesc(instances), self.settings)
        for watcher in self._watchers:
            watcher(self._view)


def instance(id: str, zone: str = "", *, state: InstanceState = InstanceState.ACTIVE, **more: object) -> InstanceDesc:
    """With 64 tokens by its name, and a heartbeat that is never too old."""
    tokens = np.random.default_rng(list(id.encode())).integers(0, 1 << 32, 64, dtype=np.uint32)
    desc = {"addr": f"{id}:9095", "timestamp_s": 1 << 40, "versions": {RPC_VERSION_KEY: 2}, **more}
    return InstanceDesc(id, zone=zone, state=state, tokens=tuple(sorted(tokens.tolist())), **desc)  # type: ignore[arg-type]
