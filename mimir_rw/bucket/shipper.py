"""Ships the blocks that an ingester has cut for a tenant, once each.

`mimir.shipper.json` beside the blocks says what has been shipped and when. It is a note, not a proof: a block is
written down after its meta.json is in the bucket, and one whose meta.json is there already is written down without
being sent. Losing the note costs a look per block. Whoever removes local blocks asks `shipped` first.

One call at a time per tenant.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from mimir_rw.bucket.layout import META, meta_key
from mimir_rw.bucket.upload import upload_block
from mimir_rw.formats.block_meta import SOURCE_RECEIVE, BlockMeta, ThanosMeta
from mimir_rw.formats.json_members import Members
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import DataDamaged, MimirError
from mimir_rw.objstore.contract import Bucket
from mimir_rw.objstore.local_files import write_whole

FILE = "mimir.shipper.json"
VERSION = 1
_FILE_BYTES_MAX = 16 << 20

_log = get_logger(component="shipper")


class ShipperMetrics:
    """Those of all tenants."""

    def __init__(self, metrics: Metrics) -> None:
        self.uploads = metrics.counter("cortex_ingester_shipper_uploads_total", "Blocks uploaded.")
        self.failures = metrics.counter(
            "cortex_ingester_shipper_upload_failures_total", "Blocks that could not be uploaded."
        )
        self.last_success = metrics.gauge(
            "cortex_ingester_shipper_last_successful_upload_timestamp_seconds",
            "Unix time of the last block that was uploaded.",
        )


class Shipper:
    def __init__(
        self,
        *,
        bucket: Bucket,
        tenant: str,
        directory: Path,
        offload: Offload,
        clock: Clock,
        metrics: ShipperMetrics,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """directory: where the tenant's blocks are. labels: external labels that its blocks get."""
        self._bucket = bucket
        self._tenant = tenant
        self._directory = directory
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._labels = dict(labels or {})
        self._shipped: dict[str, int] | None = None

    async def shipped(self) -> Mapping[str, int]:
        """When each block that is in the bucket was shipped, in ms, as far as is known here."""
        if self._shipped is None:
            self._shipped = await self._offload.run(_read, self._directory / FILE)
        return self._shipped

    async def ship(self) -> int:
        """Upload what is not in the bucket yet, oldest first; how many blocks were sent. Every block is tried; then
        the first failure, if there was one, is raised: nothing is lost by it, and the next call goes on."""
        shipped = dict(await self.shipped())
        metas = await self._offload.run(_local_blocks, self._directory)
        sent, failure = 0, None
        for meta in sorted(metas.values(), key=lambda meta: (meta.min_time, meta.ulid)):
            if meta.ulid in shipped or not may_ship(meta):
                continue
            try:
                sent += await self._one(meta)
            except (MimirError, OSError) as error:
                failure = failure or error
                self._metrics.failures.inc()
                _log.error("block not shipped", user=self._tenant, block=meta.ulid, err=str(error))
                continue
            shipped[meta.ulid] = self._clock.now_ms()
            # The note is written after the block is whole in the bucket: a crash between costs a look.
            await self._note({ulid: at for ulid, at in shipped.items() if ulid in metas})
        if failure is not None:
            raise failure
        return sent

    async def _one(self, meta: BlockMeta) -> int:
        """Whether the block had to be sent, as a number."""
        if await self._bucket.exists(meta_key(self._tenant, meta.ulid)):
            return 0
        meta = dataclasses.replace(meta, thanos=ThanosMeta(labels=self._labels, source=SOURCE_RECEIVE))
        directory = self._directory / meta.ulid
        await upload_block(self._bucket, self._tenant, directory, meta, offload=self._offload)
        self._metrics.uploads.inc()
        self._metrics.last_success.set(self._clock.now_ms() // 1000)
        _log.info("block shipped", user=self._tenant, block=meta.ulid, mint=meta.min_time, maxt=meta.max_time)
        return 1

    async def _note(self, shipped: dict[str, int]) -> None:
        await self._offload.run(write_whole, self._directory / FILE, _encode(shipped))
        self._shipped = shipped


def may_ship(meta: BlockMeta) -> bool:
    """Only what a head has been cut to, and only if there is something in it."""
    return meta.compaction.level == 1 and meta.stats.samples > 0


def _local_blocks(directory: Path) -> dict[str, BlockMeta]:
    """The blocks in a directory; what is no block, is being made or removed, or is damaged is left out."""
    found = {}
    for ulid in _block_names(directory):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            try:
                meta = BlockMeta.decode((directory / ulid / META).read_bytes(), f"{ulid}/{META}")
            except DataDamaged as error:
                _log.error("local block left out", block=ulid, err=str(error))
                continue
            if meta.ulid == ulid:
                found[ulid] = meta
    return found


def _block_names(directory: Path) -> Iterator[str]:
    try:
        yield from sorted(entry.name for entry in directory.iterdir() if is_ulid(entry.name))
    except FileNotFoundError:
        return


def _read(path: Path) -> dict[str, int]:
    """What the note says; nothing if there is none or it cannot be read."""
    try:
        note = Members.read(path.read_bytes(), FILE, bytes_max=_FILE_BYTES_MAX)
        note.version(VERSION)
        return {ulid: _time_ms(at) for ulid, at in note.text_map("shipped").items() if is_ulid(ulid)}
    except FileNotFoundError:
        return {}
    except (DataDamaged, ValueError) as error:
        _log.warning("note of shipped blocks set aside; each block is looked up", path=str(path), err=str(error))
        return {}


def _encode(shipped: Mapping[str, int]) -> bytes:
    times = {ulid: datetime.fromtimestamp(at / 1000, UTC) for ulid, at in sorted(shipped.items())}
    texts = {ulid: at.isoformat(timespec="milliseconds").replace("+00:00", "Z") for ulid, at in times.items()}
    return json.dumps({"version": VERSION, "shipped": texts}, indent="\t").encode()


def _time_ms(text: str) -> int:
    """Raises ValueError."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)
