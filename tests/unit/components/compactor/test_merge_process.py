"""Merges of real blocks, in a process of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimir_rw._native import BlockBuilder, LabelFrame, LocalBlock, SampleColumns
from mimir_rw.components.compactor.merge_process import (
    SEGMENT_BYTES,
    ChildMerger,
    MergeFailed,
    MergeRequest,
    MergeSource,
    OffloadMerger,
    SourceDamaged,
    merge,
)
from mimir_rw.kit.offload import InlineOffload

SERIES, SAMPLES = 50, 90


def block(directory: Path, *, begin: int = 0, skip: int = 0, job: str = "j") -> MergeSource:
    """Some series with a sample at each ms of a range; skip: every so many-th is left out."""
    ts = np.arange(begin, begin + SAMPLES, dtype=np.int64)
    ts = ts[ts % skip != 0] if skip else ts
    rows = [{"__name__": "up", "job": f"{job}{number}"} for number in range(SERIES)]
    builder = BlockBuilder()
    offsets = np.arange(SERIES + 1, dtype=np.int64) * len(ts)
    builder.add(LabelFrame.from_rows(rows), SampleColumns(offsets, np.tile(ts, SERIES), np.tile(ts * 1.5, SERIES)))
    directory.mkdir(parents=True)
    builder.write(str(directory))
    return MergeSource(str(directory), begin, begin + SAMPLES)


def outputs(root: Path, count: int) -> list[Path]:
    made = [root / f"out{number}" for number in range(count)]
    for path in made:
        path.mkdir()
    return made


async def test_blocks_are_merged_and_split(tmp_path: Path) -> None:
    sources = [block(tmp_path / "a", skip=7), block(tmp_path / "b", skip=5), block(tmp_path / "c", begin=SAMPLES)]
    merged = await ChildMerger(memory_bytes=1 << 30).merge(sources, outputs(tmp_path, 2))
    # What is left out of both, 0, 35 and 70, is nowhere.
    assert sum(output.samples for output in merged.outputs) == SERIES * (2 * SAMPLES - 3)
    assert sum(output.series for output in merged.outputs) == SERIES
    assert all(0 < output.series < SERIES for output in merged.outputs)
    assert {output.maxt for output in merged.outputs} == {2 * SAMPLES - 1}
    names = [LocalBlock(str(tmp_path / f"out{number}")).label_values("job", [], 0, 1000) for number in (0, 1)]
    assert sorted(names[0] + names[1]) == sorted(f"j{number}" for number in range(SERIES))
    assert merged.peak_bytes > 1 << 20


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["index", "chunks/000001"])
async def test_a_flipped_byte_names_the_source(tmp_path: Path, file: str) -> None:
    sources = [block(tmp_path / name) for name in "abc"]
    flip(tmp_path / "b" / file, 400)
    with pytest.raises(SourceDamaged) as caught:
        await ChildMerger(memory_bytes=1 << 30).merge(sources, outputs(tmp_path, 1))
    assert caught.value.source == 1
    assert str(tmp_path / "b") in caught.value.what


def crc32c(data: bytes) -> bytes:
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return (crc ^ 0xFFFF_FFFF).to_bytes(4, "big")


def test_a_chunk_that_is_nonsense_but_has_its_checksum_names_the_source(tmp_path: Path) -> None:
    """A copy does not notice; the look at the result does."""
    sources = [block(tmp_path / "a"), block(tmp_path / "b", job="k")]
    path = tmp_path / "b" / "chunks" / "000001"
    data = bytearray(path.read_bytes())
    size = data[8] & 127 | (data[9] & 127) << 7 if data[8] & 128 else data[8]
    start = 10 if data[8] & 128 else 9  # of the encoding
    data[start + 12 : start + size] = bytes(size - 12)
    data[start + 1 + size : start + 5 + size] = crc32c(bytes(data[start : start + 1 + size]))
    path.write_bytes(data)
    (output,) = outputs(tmp_path, 1)
    merged = merge(MergeRequest(tuple(sources), (str(output),), 0, SEGMENT_BYTES))
    assert merged.damaged_source == 1
    assert "chunks/000001" in merged.error


async def test_samples_outside_of_the_block_name_the_source(tmp_path: Path) -> None:
    good, bad = block(tmp_path / "a"), block(tmp_path / "b")
    with pytest.raises(SourceDamaged, match="outside"):
        await OffloadMerger(offload=InlineOffload()).merge(
            [good, MergeSource(bad.directory, 0, SAMPLES - 1)], outputs(tmp_path, 1)
        )


async def test_a_child_without_memory_fails_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(MergeFailed):
        await ChildMerger(memory_bytes=30 << 20).merge([block(tmp_path / "a")], outputs(tmp_path, 1))


def test_a_disk_that_refuses_is_a_failed_merge(tmp_path: Path) -> None:
    source = block(tmp_path / "a")
    merged = merge(MergeRequest((source,), (str(tmp_path / "nowhere"),), 0, SEGMENT_BYTES))
    assert merged.damaged_source == -1
    assert "nowhere" in merged.error
