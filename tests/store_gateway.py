"""Blocks in a bucket, and a store-gateway over them, for tests."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import numpy as np

from mimir_rw._native import BlockBuilder, BlockStats, LabelFrame, SampleColumns
from mimir_rw.bucket.index_reader import BucketIndexReader, IndexReaderMetrics, IndexReaderSettings
from mimir_rw.cache.lru import LruCache
from mimir_rw.cache.metrics import CacheMetrics
from mimir_rw.components.store_gateway.block_reader import BlockReader
from mimir_rw.components.store_gateway.catalogue import Catalogue, CatalogueSettings
from mimir_rw.components.store_gateway.gate import Gate
from mimir_rw.components.store_gateway.headers import HeaderSettings, HeaderStore
from mimir_rw.components.store_gateway.place import RingPlace
from mimir_rw.components.store_gateway.range_reader import InFlight, RangeReader, ReadSettings
from mimir_rw.components.store_gateway.select import SelectSettings
from mimir_rw.components.store_gateway.service import StoreGatewayService
from mimir_rw.components.store_gateway.set_aside import SetAside
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock
from mimir_rw.formats.ulid import make_ulid
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import ServiceState
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.objstore.memory import MemoryBucket
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import ring_view

TENANT = "team-a"
INDEX_KEY = f"{TENANT}/bucket-index.json.gz"
MINUTE = 60_000
HOUR = 60 * MINUTE

Rows = dict[str, list[tuple[int, float]]]
"""Samples by series, which is written as Prometheus does: `up{a="b", job="c"}`."""


def ulid(number: int, at_ms: int = 1_700_000_000_000) -> str:
    return make_ulid(at_ms + number, number.to_bytes(10, "big"))


def labels_of(series: str) -> dict[str, str]:
    name, _, rest = series.rstrip("}").partition("{")
    pairs = (pair.strip().partition("=") for pair in rest.split(",") if pair)
    return {"__name__": name, **{key: value.strip('"') for key, _, value in pairs}}


def columns_of(rows: Rows) -> tuple[LabelFrame, SampleColumns]:
    frame = LabelFrame.from_rows([labels_of(series) for series in rows])
    offsets = np.cumsum([0, *map(len, rows.values())]).astype(np.int64)
    samples = [sample for each in rows.values() for sample in each]
    ts = np.array([t for t, _ in samples], dtype=np.int64)
    values = np.array([v for _, v in samples], dtype=np.float64)
    return frame, SampleColumns(offsets, ts, values)


def built(rows: Rows, segment_bytes: int = 512 << 20) -> tuple[BlockStats, dict[str, bytes]]:
    """What a bucket has of a block but for meta.json."""
    builder = BlockBuilder()
    builder.add(*columns_of(rows))
    with tempfile.TemporaryDirectory() as place:
        stats = builder.write(place, segment_bytes=segment_bytes)
        files = {
            file.relative_to(place).as_posix(): file.read_bytes() for file in Path(place).rglob("*") if file.is_file()
        }
    files.pop("tombstones", None)
    assert stats.mint is not None
    assert stats.maxt is not None
    return stats, files


async def put_block(bucket: MemoryBucket, number: int, rows: Rows, *, segment_bytes: int = 512 << 20) -> IndexedBlock:
    """Into the bucket, and what the index says of it."""
    stats, files = built(rows, segment_bytes)
    for name, data in files.items():
        await bucket.upload(f"{TENANT}/{ulid(number)}/{name}", data)
    return IndexedBlock(ulid(number), stats.mint, stats.maxt + 1, 1_700_000_000, segments=1)


async def put_index(bucket: MemoryBucket, *blocks: IndexedBlock, updated_at_s: int = 1_700_000_000, marks=()) -> None:
    index = BucketIndex(tuple(blocks), tuple(marks), updated_at_s)
    await bucket.upload(INDEX_KEY, index.encode())


def flip(bucket: MemoryBucket, key: str, at: int) -> None:
    data, when = bucket.objects[key]
    changed = bytearray(data)
    changed[at] ^= 0x10
    bucket.objects[key] = (bytes(changed), when)


class FakeLifecycler:
    unregister_on_shutdown = False

    async def wait_state(self, *states):
        return ServiceState.RUNNING

    async def change_state(self, state):
        pass


def gateways_ring(*ids: str, factor: int = 3, zones: bool = True):
    """Each in a zone of its own."""
    instances = [
        InstanceDesc(
            id=id,
            addr=f"{id}:9095",
            zone=f"zone-{number}",
            tokens=tuple(sorted(seeded_rng(number).randrange(1 << 32) for _ in range(64))),
            versions={RPC_VERSION_KEY: 1},
            timestamp_s=1 << 40,
            registered_s=1,
        )
        for number, id in enumerate(ids)
    ]
    settings = RingSettings(replication_factor=factor, zone_awareness=zones, ignore_unhealthy=True)
    return ring_view(RingDesc(instances), settings)


class Gateway:
    """A store-gateway without ring and RPC."""

    def __init__(
        self,
        bucket,
        directory: Path,
        *,
        id="a",
        view=None,
        limits=None,
        batch=3,
        cached=True,
        offload=None,
        handed_over=lambda tenant: (),
        ignore_within_ms=0,
        clock=None,
    ):
        self.metrics, self.clock, offload = Metrics(), clock or SystemClock(), offload or InlineOffload()
        self.limits = Limits(defaults=limits or TenantLimits())
        self.view = view or gateways_ring("a", factor=1)
        self.headers = HeaderStore(
            settings=HeaderSettings(directory, idle_s=3600, opens_max=4, open_wait_s=5),
            bucket=bucket,
            offload=offload,
            clock=self.clock,
            metrics=self.metrics,
        )
        in_flight = InFlight(bytes_max=1 << 20, requests_max=4, metrics=self.metrics)
        cache_metrics = CacheMetrics(self.metrics)

        def ranges(kind):
            cache = LruCache(name=kind, bytes_max=1 << 20, clock=self.clock, metrics=cache_metrics) if cached else None
            settings = ReadSettings(page_bytes=64, gap_bytes_max=128, request_bytes_max=1024)
            return RangeReader(kind=kind, bucket=bucket, cache=cache, in_flight=in_flight, settings=settings)

        self.aside = SetAside(clock=self.clock, metrics=self.metrics)
        self.indexes = BucketIndexReader(
            bucket=bucket,
            component="store-gateway",
            settings=IndexReaderSettings(),
            clock=self.clock,
            rng=seeded_rng(2),
            metrics=IndexReaderMetrics(self.metrics),
        )
        self.service = StoreGatewayService(
            place=RingPlace(
                lifecycler=FakeLifecycler,
                view=lambda: self.view,
                stable_s=0,
                stable_wait_s=0,
                unregisters_by_default=False,
                clock=self.clock,
            ),
            catalogue=Catalogue(
                settings=CatalogueSettings(
                    instance_id=id,
                    tenants_at_once=2,
                    headers_at_once=2,
                    ignore_within_ms=ignore_within_ms,
                    ignore_marks_after_ms=HOUR,
                ),
                bucket=bucket,
                indexes=self.indexes,
                headers=self.headers,
                aside=self.aside,
                view=lambda: self.view,
                handed_over=handed_over,
                limits=self.limits,
                clock=self.clock,
                metrics=self.metrics,
            ),
            indexes=self.indexes,
            headers=self.headers,
            reader=BlockReader(
                headers=self.headers,
                bucket=bucket,
                indexes=ranges("i"),
                segments=ranges("c"),
                offload=offload,
                gap_bytes_max=64,
            ),
            aside=self.aside,
            gate=Gate(most=4, wait_s=5, clock=self.clock, metrics=self.metrics),
            limits=self.limits,
            settings=SelectSettings(series_batch=batch, blocks_at_once=2, chunk_batch_bytes=2000),
            directory=directory,
            sync_s=900,
            on_ring_change=lambda changed: lambda: None,
            offload=offload,
            clock=self.clock,
            rng=seeded_rng(1),
            metrics=self.metrics,
        )
        self._living = None

    async def __aenter__(self):
        self._living = asyncio.ensure_future(self.service.live())
        await self.service.wait_state(ServiceState.RUNNING)
        return self.service

    async def __aexit__(self, *error):
        self.service.request_stop()
        await self._living


def matcher(text: str) -> Matcher:
    """`job="a"`, `job!="a"`, `job=~"a"`, `job!~"a"`."""
    for symbol, kind in (
        ("!~", MatchType.NOT_REGEX), ("=~", MatchType.REGEX), ("!=", MatchType.NOT_EQUAL), ("=", MatchType.EQUAL),
    ):  # fmt: skip
        name, found, value = text.partition(symbol)
        if found:
            return Matcher(kind, name, value.strip('"'))
    raise AssertionError(text)


def decoded(found, mint: int = -(1 << 62), maxt: int = 1 << 62) -> Rows:
    """What a series set has."""
    rows = len(found.labels)
    columns = found.decode(0, rows, mint, maxt)
    offsets = columns.offsets.tolist()
    pairs = list(zip(columns.ts.tolist(), columns.values.tolist(), strict=True))
    return {found.labels.format_row(row): pairs[offsets[row] : offsets[row + 1]] for row in range(rows)}
