"""Verification finds every kind of damage, and names it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mimir_rw.blocks.verify import verify_block
from mimir_rw.formats.block_meta import BlockFile, BlockMeta, BlockStats, ThanosMeta
from tests.unit.blocks.made import ULID, Made


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path, 30, segment_bytes=8 << 10)


def test_a_sound_block_has_no_problems(made: Made) -> None:
    report = verify_block(made.path)
    assert report.problems == ()
    assert report.sound
    assert report.meta is not None
    assert (report.stats.series, report.stats.samples) == (30, sum(map(len, made.samples)))
    assert (report.stats.mint, report.stats.maxt) == (made.stats.mint, made.stats.maxt)


@pytest.mark.parametrize("name", ["index", "chunks/000001", "chunks/000002", "tombstones"])
def test_any_flipped_byte_is_found(made: Made, name: str) -> None:
    path = made.path / name
    good = path.read_bytes()
    # Padding: the segment's header, and between the entries of an index.
    unread = list(range(5, 8)) if name.startswith("chunks") else []
    rng = random.Random(7)
    for at in sorted(rng.sample(range(len(good)), min(300, len(good)))):
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :])
        report = verify_block(made.path)
        if at in unread or (name == "index" and good[at] == 0 and report.sound):
            continue
        assert not report.sound, f"byte {at}"
        assert any(name.split("/", maxsplit=1)[0] in problem for problem in report.problems)
    path.write_bytes(good)


def test_one_damaged_chunk_is_named_and_the_rest_is_read(made: Made) -> None:
    path = made.path / "chunks/000001"
    good = path.read_bytes()
    path.write_bytes(good[:20] + bytes([good[20] ^ 1]) + good[21:])
    report = verify_block(made.path)
    assert any("chunks/000001 at byte 8: the checksum of a chunk differs" in problem for problem in report.problems)
    assert report.stats.series == 30
    assert report.stats.chunks == made.stats.chunks - 1
    assert report.problem_count == len(report.problems)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: m.replaced(stats=BlockStats(**{**_stats(m), "samples": 5})), "numSamples is 5"),
        (lambda m: m.replaced(stats=BlockStats(**{**_stats(m), "series": 5})), "numSeries is 5"),
        (lambda m: m.replaced(stats=BlockStats(**{**_stats(m), "chunks": 5})), "numChunks is 5"),
        (lambda m: m.replaced(stats=BlockStats(**{**_stats(m), "histograms": 5})), "numHistogramSamples is 5"),
        (lambda m: m.replaced(max_time=m.max_time - 1), "are not within minTime"),
        (lambda m: m.replaced(min_time=m.min_time + 1), "are not within minTime"),
        (lambda m: m.replaced(ulid="01EJ0000000000000000000002"), "is of block 01EJ0000000000000000000002"),
        (lambda m: m.replaced(thanos=ThanosMeta(files=(BlockFile("index", 7),))), "index: has"),
        (lambda m: m.replaced(thanos=ThanosMeta(files=(BlockFile("chunks/000077", 7),))), "chunks/000077: there is no"),
    ],
)
def test_meta_json_is_held_against_the_files(
    made: Made, change: Callable[[BlockMeta], BlockMeta], problem: str
) -> None:
    path = made.path / "meta.json"
    meta = change(BlockMeta.decode(path.read_bytes()))
    path.write_bytes(meta.encode())
    report = verify_block(made.path)
    assert len(report.problems) == 1
    assert problem in report.problems[0]


def _stats(meta: BlockMeta) -> dict[str, int]:
    return {name: getattr(meta.stats, name) for name in ("samples", "floats", "histograms", "series", "chunks")}


def test_an_old_meta_json_without_the_split_is_sound(made: Made) -> None:
    path = made.path / "meta.json"
    meta = BlockMeta.decode(path.read_bytes())
    stats = BlockStats(samples=meta.stats.samples, series=meta.stats.series, chunks=meta.stats.chunks)
    path.write_bytes(meta.replaced(stats=stats).encode())
    assert verify_block(made.path).sound


def test_tombstones_are_counted(made: Made) -> None:
    # tsdb-block.md section 13: series 7, 1000 to 2000.
    (made.path / "tombstones").write_bytes(bytes.fromhex("0130ba300107d00fa01f7bc2e788"))
    report = verify_block(made.path)
    assert report.sound
    assert report.tombstones == 1


@pytest.mark.parametrize("name", ["meta.json", "index", "chunks/000001", "chunks/000002"])
def test_missing_files_are_named(made: Made, name: str) -> None:
    (made.path / name).unlink()
    report = verify_block(made.path)
    expected = {"chunks/000001": "segment 1, of 0", "chunks/000002": "segment 2, of 1"}.get(name, name)
    assert any(expected in problem for problem in report.problems)


def test_a_damaged_meta_json_is_named(made: Made) -> None:
    (made.path / "meta.json").write_bytes(b'{"ulid": "x"')
    report = verify_block(made.path)
    assert report.meta is None
    assert report.problem_count == 1
    assert "meta.json" in report.problems[0]
    assert made.path.name == ULID
