"""Blocks cut from a head in its lane, beside pushes; what stays, what comes back after a restart, who can read them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mimir_rw._native import LocalBlock
from mimir_rw.components.ingester.local_data import LocalData
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.model.errors import Unavailable
from mimir_rw.tsdb.cutter import CutFailed, Cutter, due, range_end
from mimir_rw.tsdb.head import AppendLimits, HeadOptions, TenantHead
from mimir_rw.tsdb.local_blocks import CREATION, QUARANTINED, LocalBlocks
from tests.e2e.processes import need
from tests.unit.tsdb.batches import KEY, START_MS, batch, up

RANGE_MS = 7_200_000
STEP_MS = 60_000
FIRST_MS = START_MS // RANGE_MS * RANGE_MS
EVERYTHING = (-(1 << 60), 1 << 60)

Samples = dict[str, dict[int, float]]


class Store:
    def __init__(self, directory: Path, *, offload: Any = None) -> None:
        self.directory = directory
        self.blocks = LocalBlocks(directory, open_reader=LocalBlock)
        self.head = TenantHead(
            tenant="t",
            directory=directory,
            options=HeadOptions(segment_bytes=32 << 10, range_ms=RANGE_MS),
            hash_key=KEY,
            offload=InlineOffload(),
            limits=lambda: AppendLimits(ooo_window_ms=3_600_000),
            blocks=self.blocks,
        )
        self.cutter = Cutter(
            head=self.head,
            blocks=self.blocks,
            range_ms=RANGE_MS,
            offload=offload or InlineOffload(),
            clock=SystemClock(),
            rng=seeded_rng(1),
        )
        self.pushed: Samples = {}

    async def push(self, *rows: tuple[str, int, float]) -> None:
        result = await self.head.lane.push(batch(*(up(name, (t, v)) for name, t, v in rows)))
        assert not result.refused
        for name, t, v in rows:
            self.pushed.setdefault(name, {})[t] = v

    async def scrape(self, first_ms: int, last_ms: int, names: str = "abc") -> None:
        for t in range(first_ms, last_ms, STEP_MS):
            await self.push(*((name, t, float(t % 997)) for name in names))

    def samples(self) -> Samples:
        data = LocalData(self.head.native, self.blocks)
        found = data.select([], *EVERYTHING)
        columns = found.decode(0, len(found.labels), *EVERYTHING)
        rows = {}
        for row in range(len(found.labels)):
            at = slice(columns.offsets[row], columns.offsets[row + 1])
            name = found.labels.row(row)["instance"]
            rows[name] = dict(zip(columns.ts[at].tolist(), columns.values[at].tolist(), strict=True))
        assert data.damaged == []
        return rows

    def in_head(self) -> int:
        found = self.head.native.select([], *EVERYTHING)
        return len(found.decode(0, len(found.labels), *EVERYTHING).ts)


@asynccontextmanager
async def opened(directory: Path, **more: Any) -> AsyncIterator[Store]:
    store = Store(directory, **more)
    await store.head.open()
    lane = asyncio.create_task(store.head.lane.run())
    try:
        yield store
        await store.head.close()
    finally:
        lane.cancel()


async def test_a_head_of_more_than_one_and_a_half_ranges_is_cut_at_the_range(tmp_path: Path) -> None:
    async with opened(tmp_path / "t") as store:
        await store.scrape(FIRST_MS + STEP_MS, FIRST_MS + RANGE_MS * 3 // 2)
        assert not store.cutter.is_due
        assert (await store.cutter.compact()).blocks == ()
        await store.scrape(FIRST_MS + RANGE_MS * 3 // 2, FIRST_MS + 2 * RANGE_MS)
        (meta,) = (await store.cutter.compact()).blocks
        assert (meta.min_time, meta.max_time) == (FIRST_MS + STEP_MS, FIRST_MS + RANGE_MS)
        assert (meta.stats.series, meta.stats.samples) == (3, 3 * 119)
        assert meta.compaction.sources == (meta.ulid,)
        assert store.in_head() == 3 * 120
        assert store.samples() == store.pushed
        assert not store.cutter.is_due
        written = json.loads((tmp_path / "t" / meta.ulid / "meta.json").read_bytes())
        assert (written["maxTime"], written["compaction"]["level"]) == (meta.max_time, 1)


async def test_a_flush_leaves_nothing_and_a_restart_brings_nothing_back(tmp_path: Path) -> None:
    async with opened(tmp_path / "t") as store:
        await store.scrape(FIRST_MS, FIRST_MS + 2 * RANGE_MS)
        await store.push(
            ("a", FIRST_MS + 2 * RANGE_MS - STEP_MS // 2, 7.0), ("b", FIRST_MS + 2 * RANGE_MS - 30 * STEP_MS + 1, 8.0)
        )
        report = await store.cutter.flush()
        assert [(b.out_of_order, b.stats.samples) for b in report.blocks] == [
            (False, 360), (False, 361), (True, 1)
        ]  # fmt: skip
        assert report.series_dropped == 3
        assert store.head.extent == (0, None, None)
        assert store.samples() == store.pushed
        pushed = store.pushed
    async with opened(tmp_path / "t") as store:
        assert store.in_head() == 0
        assert store.samples() == pushed
        with pytest.raises(AssertionError):
            await store.push(("new", FIRST_MS + RANGE_MS, 1.0))  # it is older than the newest block: refused
        await store.push(("a", FIRST_MS + 2 * RANGE_MS, 9.0))
        pushed["a"][FIRST_MS + 2 * RANGE_MS] = 9.0
        assert store.samples() == pushed
        await store.cutter.flush()
        assert store.samples() == pushed
        assert [block.meta.stats.samples for block in store.blocks.blocks] == [360, 361, 1, 1]


async def test_pushes_go_on_between_the_steps_of_a_cut(tmp_path: Path) -> None:
    """Each long step lets a push through before it."""
    loop = asyncio.get_running_loop()
    store: Store

    class Interrupted(InlineOffload):
        async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
            newest = max(store.pushed["a"])
            await store.push(("a", newest + STEP_MS, 1.0), ("late", newest - STEP_MS, 2.0))
            assert store.samples() == store.pushed
            return await super().run(fn, *args)

    async with opened(tmp_path / "t", offload=Interrupted()) as store:
        await store.scrape(FIRST_MS, FIRST_MS + 2 * RANGE_MS)
        before = sum(map(len, store.pushed.values()))
        report = await asyncio.wait_for(loop.create_task(store.cutter.flush()), 60)
        assert sum(map(len, store.pushed.values())) >= before + 8
        assert len(report.blocks) >= 2
        assert store.samples() == store.pushed
        pushed = store.pushed
    async with opened(tmp_path / "t") as store:
        assert store.samples() == pushed


CRASHES = 40


@pytest.mark.parametrize("flush", [True, False], ids=["flush", "compact"])
async def test_a_crash_between_any_two_steps_loses_nothing(tmp_path: Path, flush: bool) -> None:
    class Dead(Exception):
        pass

    class Dying(InlineOffload):
        left = 0

        async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
            if self.left == 0:
                raise Dead
            self.left -= 1
            return await super().run(fn, *args)

    ended = 0
    for crash in range(CRASHES):
        directory = tmp_path / str(crash)
        dying = Dying()
        dying.left = crash
        async with opened(directory, offload=dying) as store:
            turns = iter(range(crash, CRASHES)) if crash % 2 else None
            await store.scrape(FIRST_MS, FIRST_MS + 2 * RANGE_MS)
            await store.push(("late", FIRST_MS + 2 * RANGE_MS - STEP_MS, 1.0))
            await store.push(("late", FIRST_MS + 2 * RANGE_MS - 3 * STEP_MS, 1.0))
            _limit_turns(store, turns, Dead)
            try:
                await (store.cutter.flush() if flush else store.cutter.compact())
                ended += 1
            except Dead:
                pass
            pushed = store.pushed
        async with opened(directory) as store:
            assert store.samples() == pushed, f"after {crash} steps"
            await store.cutter.flush()
            assert store.samples() == pushed
            in_order = [b.meta for b in store.blocks.blocks if not b.meta.out_of_order]
            assert sum(meta.stats.samples for meta in in_order) == sum(map(len, pushed.values())) - 1
            assert not list(directory.glob(f"*{CREATION}"))
    assert 0 < ended < CRASHES


def _limit_turns(store: Store, turns: Iterator[int] | None, dead: type[Exception]) -> None:
    """Steps in the lane are as good a moment to die."""
    if turns is None:
        return
    turn, left = store.head.turn, [next(turns) % 12]

    async def limited(step: Callable[[], Any]) -> Any:
        if left[0] == 0:
            raise dead
        left[0] -= 1
        return await turn(step)

    store.head.turn = limited  # type: ignore[method-assign]


async def test_a_block_that_cannot_be_written_leaves_the_head_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path / "t") as store:
        await store.scrape(FIRST_MS, FIRST_MS + RANGE_MS)

        def failing(ulid: str) -> Path:
            raise OSError(28, "No space left on device")

        begin, store.blocks.begin = store.blocks.begin, failing  # type: ignore[method-assign]
        with pytest.raises(CutFailed, match="No space left"):
            await store.cutter.flush()
        await store.push(("a", FIRST_MS + RANGE_MS - 1, 5.0))
        assert store.samples() == store.pushed
        store.blocks.begin = begin  # type: ignore[method-assign]
        assert len((await store.cutter.flush()).blocks) == 1
        assert store.samples() == store.pushed


async def test_what_was_never_finished_is_removed_and_what_is_damaged_set_aside(tmp_path: Path) -> None:
    async with opened(tmp_path / "t") as store:
        await store.scrape(FIRST_MS, FIRST_MS + 2 * RANGE_MS)
        first, second = (await store.cutter.flush()).blocks
        pushed = store.pushed
    (tmp_path / "t" / (first.ulid[:-1] + "0" + CREATION)).mkdir()
    index = tmp_path / "t" / second.ulid / "index"
    data = bytearray(index.read_bytes())
    data[len(data) // 3] ^= 1
    index.write_bytes(data)
    async with opened(tmp_path / "t") as store:
        kept = [block.ulid for block in store.blocks.blocks]
        # Whether opening finds it depends on where the byte is; reading does.
        if second.ulid in kept:
            question = LocalData(store.head.native, store.blocks)
            question.select([], *EVERYTHING)
            ((ulid, reason),) = question.damaged
            assert store.blocks.set_aside(ulid, reason)
            assert not store.blocks.set_aside(ulid, reason)
        ((quarantined),) = store.blocks.quarantined
        assert quarantined.ulid == second.ulid
        assert second.ulid in quarantined.reason
        assert (tmp_path / "t" / (second.ulid + QUARANTINED)).is_dir()
        assert not list((tmp_path / "t").glob(f"*{CREATION}"))
        rest = {name: {t: v for t, v in row.items() if t < first.max_time} for name, row in pushed.items()}
        found = {n: {t: v for t, v in row.items() if t < first.max_time} for n, row in store.samples().items()}
        assert found == rest


async def test_promtool_reads_the_blocks_and_dumps_what_was_pushed(tmp_path: Path) -> None:
    promtool = need("promtool", "prometheus")
    async with opened(tmp_path / "t") as store:
        await store.scrape(FIRST_MS, FIRST_MS + 2 * RANGE_MS, names="abcdef")
        await store.push(("c", FIRST_MS + 2 * RANGE_MS - 1000, 0.1))
        await store.push(("c", FIRST_MS + 2 * RANGE_MS - STEP_MS - 999, 1e300))
        await store.cutter.flush()
        data = tmp_path / "data"
        data.mkdir()
        for block in store.blocks.blocks:
            (tmp_path / "t" / block.ulid).rename(data / block.ulid)
        pushed = store.pushed
    (data / "wal").mkdir()
    assert dumped(promtool, data) == pushed
    listed = output(promtool, "list", str(data))
    assert len(listed.splitlines()) == 1 + 3
    oldest = min(path.name for path in data.iterdir() if path.name != "wal")
    assert "Series: 6\n" in output(promtool, "analyze", str(data), oldest)


def output(promtool: str, *arguments: str) -> str:
    return subprocess.run([promtool, "tsdb", *arguments], capture_output=True, text=True, check=True).stdout


def dumped(promtool: str, data: Path) -> Samples:
    found: Samples = {}
    for line in output(promtool, "dump", str(data)).splitlines():
        labels, value, time = line.rsplit(" ", 2)
        name = labels.split('instance="')[1].split('"')[0]
        assert int(time) not in found.setdefault(name, {}), "a sample twice"
        found[name][int(time)] = float(value)
    return found


def test_what_is_due_and_where_ranges_end() -> None:
    assert [due(0, t, range_ms=100) for t in (149, 150, 151)] == [False, False, True]
    assert not due(None, 5, range_ms=1)
    assert [range_end(t, 100) for t in (0, 99, 100, -1)] == [100, 100, 200, 0]


async def test_a_closed_head_is_not_cut(tmp_path: Path) -> None:
    async with opened(tmp_path / "t") as store:
        await store.scrape(FIRST_MS, FIRST_MS + RANGE_MS)
        await store.head.close()
        with pytest.raises(Unavailable):
            await store.cutter.flush()
