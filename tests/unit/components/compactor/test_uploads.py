"""Blocks that tenants upload: what is accepted, what becomes of them, and that a client may come back at any point."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mimir_rw.bucket.layout import block_key, meta_key
from mimir_rw.components.compactor.upload_rules import UploadRules, accepted_meta
from mimir_rw.components.compactor.uploads import STALE_MS, UPLOADING_META, VALIDATION, BlockUploads, UploadState
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import (
    BadRequest,
    Conflict,
    DataDamaged,
    LimitExceeded,
    MimirError,
    NotFound,
    RateLimited,
    TooLarge,
    Unavailable,
)
from mimir_rw.objstore.memory import MemoryBucket
from tests.unit.components.compactor.bucket_states import HOUR_MS, ulid
from tests.unit.components.compactor.world import WorldClock

BLOCK = ulid("b")
NOW_MS = 1000 * HOUR_MS
RULES = UploadRules(range_max_ms=24 * HOUR_MS)
INDEX, CHUNKS = b"the index", b"all the chunks"


def document(**changes: object) -> dict[str, object]:
    thanos = {
        "version": 1,
        "labels": {},
        "downsample": {"resolution": 0},
        "source": "sidecar",
        "files": [
            {"rel_path": "index", "size_bytes": len(INDEX)},
            {"rel_path": "chunks/000001", "size_bytes": len(CHUNKS)},
            {"rel_path": "meta.json"},
        ],
    }
    meta: dict[str, object] = {
        "ulid": ulid("other"),
        "minTime": 480 * HOUR_MS,
        "maxTime": 482 * HOUR_MS,
        "stats": {"numSamples": 3, "numSeries": 1, "numChunks": 1},
        "compaction": {
            "level": 2,
            "sources": [ulid("x"), ulid("y")],
            "parents": [{"ulid": ulid("x"), "minTime": 1, "maxTime": 2}],
        },
        "version": 1,
        "thanos": thanos,
    }
    for path, value in changes.items():
        at, _, name = path.rpartition("__")
        (thanos if at == "thanos" else meta)[name] = value
    return meta


def sent(**changes: object) -> bytes:
    return json.dumps(document(**changes)).encode()


def test_the_meta_of_an_upload_is_made_ours() -> None:
    meta = accepted_meta(sent(thanos__labels={"__ingester_id__": "i", "__org_id__": "o"}), BLOCK, RULES, NOW_MS)
    assert (meta.ulid, meta.compaction.sources, meta.compaction.parents) == (BLOCK, (BLOCK,), ())
    assert meta.compaction.level == 2
    assert meta.thanos is not None
    assert (meta.thanos.labels, meta.thanos.source) == ({}, "upload")
    assert [file.path for file in meta.thanos.files] == ["chunks/000001", "index", "meta.json"]
    kept = accepted_meta(sent(thanos__labels={"__compactor_shard_id__": "2_of_4"}), BLOCK, RULES, NOW_MS)
    assert kept.shard_id == "2_of_4"


def files(*paths: tuple[str, object]) -> list[dict[str, object]]:
    return [{"rel_path": path, "size_bytes": size} for path, size in paths]


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (b"{", BadRequest, "meta.json"),
        (sent(version=2), BadRequest, "version"),
        (sent(minTime=5 * HOUR_MS, maxTime=5 * HOUR_MS), BadRequest, "invalid time range"),
        (sent(minTime=-HOUR_MS, maxTime=0), BadRequest, "invalid time range"),
        (sent(minTime=NOW_MS - HOUR_MS, maxTime=NOW_MS + 1), BadRequest, "greater than the present"),
        (sent(minTime=24 * HOUR_MS, maxTime=49 * HOUR_MS), BadRequest, "largest block range"),
        (sent(minTime=47 * HOUR_MS, maxTime=49 * HOUR_MS), BadRequest, "largest block range"),
        (sent(thanos__downsample={"resolution": 300000}), BadRequest, "downsampled"),
        (sent(thanos__labels={"cluster": "a"}), BadRequest, "unsupported external label: cluster"),
        (sent(thanos__labels={"__compactor_shard_id__": "5_of_4"}), BadRequest, "invalid __compactor_shard_id__"),
        (sent(thanos__labels={"__compactor_shard_id__": "0_of_4"}), BadRequest, "invalid __compactor_shard_id__"),
        (sent(thanos__files=[]), BadRequest, "must have index and chunks"),
        (sent(thanos__files=files(("index", 1))), BadRequest, "must have index and chunks"),
        (sent(thanos__files=files(("index", 1), ("chunks/000002", 1))), BadRequest, "without a gap"),
        (sent(thanos__files=files(("index", 1), ("index", 1), ("chunks/000001", 1))), BadRequest, "once"),
        (sent(thanos__files=files(("index", 0), ("chunks/000001", 1))), BadRequest, "needs a size"),
        (sent(thanos__files=files(("index", 1), ("chunks/../../x", 1))), BadRequest, "invalid path"),
        (sent(thanos__files=files(("index", 1), ("tombstones", 1))), BadRequest, "invalid path"),
    ],
)  # fmt: skip
def test_what_is_no_block_is_refused(body: bytes, error: type[MimirError], says: str) -> None:
    with pytest.raises(error, match=says):
        accepted_meta(body, BLOCK, RULES, NOW_MS)


def test_limits_of_the_tenant() -> None:
    old = UploadRules(range_max_ms=24 * HOUR_MS, retention_ms=100 * HOUR_MS)
    with pytest.raises(LimitExceeded, match="older than retention"):
        accepted_meta(sent(), BLOCK, old, NOW_MS)
    small = UploadRules(range_max_ms=24 * HOUR_MS, block_bytes_max=len(INDEX) + len(CHUNKS) - 1)
    with pytest.raises(TooLarge, match="maximum block size"):
        accepted_meta(sent(), BLOCK, small, NOW_MS)


# -- the way of a block -----------------------------------------------------------------------------------------------


class Checker:
    def __init__(self) -> None:
        self.error: MimirError | None = None
        self.seen: list[bool] = []

    async def check(self, tenant: str, meta: BlockMeta, *, chunks: bool) -> None:
        self.seen.append(chunks)
        if self.error is not None:
            raise self.error


class Bench:
    def __init__(self, scratch: Path, **limits: object) -> None:
        self.clock = WorldClock(NOW_MS)
        self.bucket = MemoryBucket(clock=self.clock)
        self.checker = Checker()
        self.tasks = TaskSupervisor()
        self.scratch = scratch
        defaults = TenantLimits(**{"compactor_block_upload_enabled": True, **limits})  # type: ignore[arg-type]
        self.uploads = BlockUploads(
            bucket=self.bucket,
            checker=self.checker,
            limits=Limits(defaults=defaults),
            range_max_ms=24 * HOUR_MS,
            validations_max=1,
            scratch=scratch,
            offload=InlineOffload(),
            clock=self.clock,
            metrics=Metrics(),
            tasks=lambda: self.tasks,
        )

    async def put(self, path: str, data: bytes, declared: int | None = None) -> None:
        await self.uploads.put_file("t", BLOCK, path, declared, parts(data))

    async def all_files(self) -> None:
        await self.uploads.start("t", BLOCK, sent())
        await self.put("index", INDEX, len(INDEX))
        await self.put("chunks/000001", CHUNKS)

    async def settled(self) -> None:
        while len(self.tasks):  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def state(self) -> UploadState:
        return (await self.uploads.result("t", BLOCK)).state


def parts(data: bytes) -> Callable[[int], AsyncIterator[bytes]]:
    async def body(bytes_max: int) -> AsyncIterator[bytes]:
        for at in range(0, len(data), 4):
            if at + 4 > bytes_max + 4:
                raise TooLarge("too much")
            yield data[at : at + 4]

    return body


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_block_from_start_to_end(bench: Bench) -> None:
    await bench.all_files()
    assert await bench.state() is UploadState.UPLOADING
    assert not await bench.bucket.exists(meta_key("t", BLOCK))
    await bench.uploads.finish("t", BLOCK)
    assert await bench.state() is UploadState.VALIDATING
    await bench.settled()
    assert await bench.state() is UploadState.COMPLETE
    assert bench.checker.seen == [True]
    names = {key.removeprefix(f"t/{BLOCK}/") for key in bench.bucket.objects}
    assert names == {"index", "chunks/000001", "meta.json"}
    assert bench.bucket.objects[block_key("t", BLOCK, "chunks/000001")][0] == CHUNKS
    assert not list(bench.scratch.iterdir())
    for again in (bench.uploads.start("t", BLOCK, sent()), bench.uploads.finish("t", BLOCK), bench.put("index", INDEX)):
        with pytest.raises(Conflict, match="already exists"):
            await again


async def test_a_client_that_comes_back_goes_on(bench: Bench) -> None:
    await bench.uploads.start("t", BLOCK, sent())
    await bench.put("index", INDEX)
    with pytest.raises(BadRequest, match="chunks/000001 is missing"):
        await bench.uploads.finish("t", BLOCK)
    await bench.all_files()
    bench.checker.error = Unavailable("no space")
    await bench.uploads.finish("t", BLOCK)
    await bench.settled()
    found = await bench.uploads.result("t", BLOCK)
    assert (found.state, found.error) == (UploadState.FAILED, "block could not be validated: no space")
    bench.checker.error = None
    await bench.uploads.finish("t", BLOCK)
    await bench.settled()
    assert await bench.state() is UploadState.COMPLETE


async def test_a_block_that_is_not_sound_is_never_seen(bench: Bench) -> None:
    await bench.all_files()
    bench.checker.error = DataDamaged("the checksum of a chunk differs")
    await bench.uploads.finish("t", BLOCK)
    await bench.settled()
    found = await bench.uploads.result("t", BLOCK)
    assert found.state is UploadState.FAILED
    assert "checksum of a chunk" in found.error
    assert not await bench.bucket.exists(meta_key("t", BLOCK))


async def test_what_is_asked_without_a_start(bench: Bench) -> None:
    for wrong in (bench.put("index", INDEX), bench.uploads.finish("t", BLOCK), bench.uploads.result("t", BLOCK)):
        with pytest.raises(NotFound):
            await wrong


@pytest.mark.parametrize(
    ("path", "data", "declared", "says"),
    [
        ("index", INDEX + b"x", None, "size doesn't match"),
        ("index", INDEX[:-1], None, "size doesn't match"),
        ("index", INDEX, 3, "size doesn't match"),
        ("chunks/000002", b"x", None, "unexpected file"),
        ("meta.json", b"x", None, "invalid path"),
        ("../../other/index", b"x", None, "invalid path"),
        ("chunks/1", b"x", None, "invalid path"),
    ],
)
async def test_files_that_are_not_those_of_the_block(
    bench: Bench, path: str, data: bytes, declared: int | None, says: str
) -> None:
    await bench.uploads.start("t", BLOCK, sent())
    with pytest.raises(BadRequest, match=says):
        await bench.put(path, data, declared)
    assert [key for key in bench.bucket.objects if not key.endswith(UPLOADING_META)] == []
    assert not list(bench.scratch.iterdir())


async def test_too_many_validations_and_one_twice(bench: Bench) -> None:
    await bench.all_files()
    bench.uploads._validating.add(("t", ulid("z")))
    with pytest.raises(RateLimited):
        await bench.uploads.finish("t", BLOCK)
    bench.uploads._validating.clear()
    await bench.bucket.upload(block_key("t", BLOCK, VALIDATION), b'{"last_update": %d}' % (NOW_MS - STALE_MS + 1))
    with pytest.raises(Conflict, match="in progress"):
        await bench.uploads.finish("t", BLOCK)


async def test_a_validation_whose_compactor_died_may_be_begun_again(bench: Bench) -> None:
    await bench.all_files()
    await bench.bucket.upload(block_key("t", BLOCK, VALIDATION), b'{"last_update": %d}' % (NOW_MS - STALE_MS))
    assert await bench.state() is UploadState.UPLOADING
    await bench.uploads.finish("t", BLOCK)
    await bench.settled()
    assert await bench.state() is UploadState.COMPLETE


async def test_limits_switch_uploads_and_checks(tmp_path: Path) -> None:
    off = Bench(tmp_path, compactor_block_upload_enabled=False)
    with pytest.raises(BadRequest, match="disabled"):
        await off.uploads.start("t", BLOCK, sent())
    plain = Bench(tmp_path, compactor_block_upload_validation_enabled=False)
    await plain.all_files()
    await plain.uploads.finish("t", BLOCK)
    assert (await plain.state(), plain.checker.seen) == (UploadState.COMPLETE, [])
    index_only = Bench(tmp_path, compactor_block_upload_verify_chunks=False)
    await index_only.all_files()
    await index_only.uploads.finish("t", BLOCK)
    await index_only.settled()
    assert index_only.checker.seen == [False]


@pytest.mark.parametrize("block", ["", "x", "../../a", BLOCK.lower(), BLOCK + "0"])
async def test_ids_that_are_none(bench: Bench, block: str) -> None:
    with pytest.raises(BadRequest, match="invalid block ID"):
        await bench.uploads.start("t", block, sent())
