"""A block that is read by ranges, as from a bucket, against the same block in local files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir_rw._native import (
    DataDamaged,
    EncodedSeriesSet,
    FetchedSeries,
    IndexHeader,
    LocalBlock,
    build_index_header,
    index_header_ranges,
    merge_series_sets,
)
from tests.unit.blocks.made import RANGES, START_MS, Made, read, selectors, tuples

EXAMPLE = bytes.fromhex(
    "baaad700020000001900000006 00085f5f6e616d655f5f01610162036a6f620275709d4add9900000000000000000000"
    "1002010504020180 80f4f6905dd2df0208f998199000000000000000000000001602010504030280 80f4f6905dd2df02"
    "278e75b0ea013e2281a51f000000000c00000002 0000000300000005bb33cbd40000000c000000020000000300000005"
    "bb33cbd4000000080000000100000003a7692ed2000000080000000100000005 81c8c93a00000029000000040200006c"
    "02085f5f6e616d655f5f02757080010203 6a6f620161940102036a6f620162a401dadcd13c0000000000000005000000"
    "0000000026000000000000006b00000000000000b4000000000000006b00000000000000b46187c864"
)
"""tsdb-block.md section 12.7."""


def header_of(index: bytes) -> bytes:
    symbols, tail = index_header_ranges(index[-52:], len(index))
    return build_index_header(index[:5], index[-52:], index[slice(*symbols)], index[slice(*tail)])


class Remote:
    """Fetches ranges, and counts."""

    def __init__(self, made: Made, directory: Path, gap: int) -> None:
        self.index = (made.path / "index").read_bytes()
        self.segments = [path.read_bytes() for path in sorted((made.path / "chunks").iterdir())]
        path = directory / "index-header"
        path.write_bytes(header_of(self.index))
        self.header = IndexHeader(str(path))
        self.gap = gap
        self.rounds: list[int] = []
        self.bytes = 0

    def series(self, matchers: list, mint: int, maxt: int) -> FetchedSeries | None:
        plan = self.header.postings(matchers, gap_bytes_max=self.gap)
        if plan.nothing:
            assert plan.ranges.shape == (0, 2)
            return None
        ids = plan.resolve(self.parts(plan.ranges))
        fetch = plan.series(ids, mint, maxt, gap_bytes_max=self.gap)
        rounds = 0
        while len(fetch.ranges):
            fetch.add(self.parts(fetch.ranges))
            rounds += 1
        self.rounds.append(rounds)
        return fetch.finish()

    def select(self, matchers: list, mint: int, maxt: int, bytes_max: int = 20_000) -> list[EncodedSeriesSet]:
        found = self.series(matchers, mint, maxt)
        batches, start = [], 0
        while found is not None and start < len(found.labels):
            end = found.chunk_rows_end(start, bytes_max)
            sizes = [len(segment) for segment in self.segments]
            fetch = found.fetch_chunks(start, end, sizes, gap_bytes_max=self.gap)
            rounds = 0
            while len(fetch.ranges):
                fetch.add([self._taken(self.segments[segment], a, b) for segment, a, b in fetch.ranges.tolist()])
                rounds += 1
            self.rounds.append(rounds)
            batches.append(fetch.finish())
            start = end
        return batches

    def parts(self, ranges) -> list[bytes]:
        flat = ranges.ravel().tolist()
        assert flat == sorted(flat)
        return [self._taken(self.index, start, end) for start, end in ranges.tolist()]

    def _taken(self, file: bytes, start: int, end: int) -> bytes:
        assert 0 <= start < end <= len(file)
        self.bytes += end - start
        return file[start:end]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"), 400, segment_bytes=64 << 10)


def test_the_header_of_the_specification() -> None:
    assert len(EXAMPLE) == 281
    header = header_of(EXAMPLE)
    assert header[:14] == bytes.fromhex("baaad792010200000000000000b4")
    assert header[14:47] == EXAMPLE[5:38]
    assert header[-20:] == bytes.fromhex("000000000000000e000000000000002fb7f3c2d5")
    assert len(header) == 168


@pytest.mark.parametrize("gap", [0, 512 << 10])
@pytest.mark.parametrize(("mint", "maxt"), RANGES)
def test_by_ranges_as_from_files(made: Made, tmp_path: Path, mint: int, maxt: int, gap: int) -> None:
    remote = Remote(made, tmp_path, gap)
    local = LocalBlock(str(made.path))
    for matchers in map(tuples, selectors()):
        batches = remote.select(matchers, mint, maxt)
        expected = read(local.select(matchers, mint, maxt), mint, maxt)
        merged = merge_series_sets(batches)
        assert read(merged, mint, maxt) == expected
        assert sum(len(batch.labels) for batch in batches) == len(merged.labels)
    assert max(remote.rounds) <= 2


def test_few_bytes_are_fetched_for_few_series(made: Made, tmp_path: Path) -> None:
    remote = Remote(made, tmp_path, 0)
    remote.select([(0, "__name__", "metric_1"), (0, "pod", "pod-0003")], *RANGES[0])
    assert remote.bytes < 8_000
    whole = len(remote.index) + sum(map(len, remote.segments))
    remote.bytes = 0
    remote.select([], *RANGES[0])
    assert remote.bytes < 1.5 * whole


def test_names_and_values(made: Made, tmp_path: Path) -> None:
    header, local = Remote(made, tmp_path, 0).header, LocalBlock(str(made.path))
    assert header.label_names() == local.label_names([], *RANGES[0])
    for name in (*header.label_names(), "none"):
        assert header.label_values(name) == local.label_values(name, [], *RANGES[0])
    assert header.nbytes == local.nbytes


def test_a_header_with_a_damaged_byte_is_an_error(tmp_path: Path) -> None:
    good = header_of(EXAMPLE)
    path = tmp_path / "index-header"
    accepted = []
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x21]) + good[at + 1 :])
        try:
            IndexHeader(str(path))
            accepted.append(at)
        except DataDamaged:
            pass
        path.write_bytes(good[:at])
        with pytest.raises(DataDamaged):
            IndexHeader(str(path))
    # Where the last list ends is in no checksum; it is held against the table of contents.
    assert set(accepted) <= set(range(6, 14))


def test_parts_of_an_index_that_do_not_fit_are_errors() -> None:
    symbols, tail = index_header_ranges(EXAMPLE[-52:], len(EXAMPLE))
    parts = [EXAMPLE[:5], EXAMPLE[-52:], EXAMPLE[slice(*symbols)], EXAMPLE[slice(*tail)]]
    for i, part in enumerate(parts):
        damaged = [*parts[:i], part[:-1], *parts[i + 1 :]]
        with pytest.raises(DataDamaged):
            build_index_header(*damaged)
    with pytest.raises(DataDamaged):
        index_header_ranges(EXAMPLE[-52:], 100)
    with pytest.raises(DataDamaged):
        index_header_ranges(bytes(52), len(EXAMPLE))


def test_damaged_and_short_answers_are_errors(made: Made, tmp_path: Path) -> None:
    remote = Remote(made, tmp_path, 512 << 10)
    plan = remote.header.postings([(0, "__name__", "metric_1")])
    (start, end), *rest = plan.ranges.tolist()
    assert not rest
    good = remote.index[start:end]
    for wrong in ([], [good[:-1]], [good, good]):
        with pytest.raises(DataDamaged, match="not what was asked for"):
            plan.resolve(wrong)
    with pytest.raises(DataDamaged, match="index at byte"):
        plan.resolve([good[:9] + bytes([good[9] ^ 1]) + good[10:]])
    ids = plan.resolve([good])
    fetch = plan.series(ids, *RANGES[0])
    series = [bytearray(remote.index[a:b]) for a, b in fetch.ranges.tolist()]
    series[0][5] ^= 1
    with pytest.raises(DataDamaged, match="index at byte"):
        fetch.add(series)
    with pytest.raises(DataDamaged, match="not all series"):
        plan.series(ids, *RANGES[0]).finish()
    with pytest.raises(DataDamaged, match="not where series are"):
        plan.series(ids + 1_000_000, *RANGES[0])


def test_damaged_chunks_are_errors(made: Made, tmp_path: Path) -> None:
    remote = Remote(made, tmp_path, 512 << 10)
    found = remote.series([(0, "rare", "x")], *RANGES[0])
    assert found is not None
    assert found.chunks > len(found.labels)
    sizes = [len(segment) for segment in remote.segments]
    with pytest.raises(DataDamaged, match="segment 1, which has 0"):
        found.fetch_chunks(0, 1, [])
    with pytest.raises(IndexError):
        found.fetch_chunks(0, 1000, sizes)
    fetch = found.fetch_chunks(0, 1, sizes)
    ((segment, start, end),) = fetch.ranges.tolist()
    good = remote.segments[segment][start:end]
    with pytest.raises(DataDamaged, match="chunks/000001 at byte"):
        fetch.add([good[:20] + bytes([good[20] ^ 1]) + good[21:]])
    with pytest.raises(DataDamaged, match="of segment 1, which has"):
        found.fetch_chunks(0, len(found.labels), [start + 30, *sizes[1:]])
    # The last chunk of the segment reaches beyond it.
    last = remote.header.postings([(0, "__name__", "metric_0"), (0, "pod", "pod-0000")])
    fetch = last.series(last.resolve(remote.parts(last.ranges)), START_MS, START_MS)
    fetch.add(remote.parts(fetch.ranges))
    cut = fetch.finish().fetch_chunks(0, 1, [40, *sizes[1:]])
    with pytest.raises(DataDamaged, match="beyond its segment"):
        cut.add([remote.segments[0][a:b] for _, a, b in cut.ranges.tolist()])
