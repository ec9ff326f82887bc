"""A block in local files against what was put into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir_rw._native import (
    BlockBuilder,
    DataDamaged,
    LabelFrame,
    LocalBlock,
    copy_block,
    decode_series_set,
    merge_series_sets,
)
from tests.unit.blocks.made import RANGES, START_MS, STEP_MS, Made, columns, read, selectors, tuples

COUNT = 400
ALL = RANGES[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"), COUNT, segment_bytes=64 << 10)


@pytest.fixture(scope="module")
def block(made: Made) -> LocalBlock:
    return LocalBlock(str(made.path))


def test_segments_are_full_but_for_the_last(made: Made) -> None:
    sizes = [path.stat().st_size for path in sorted((made.path / "chunks").iterdir())]
    assert len(sizes) > 3
    assert all(60 << 10 < size <= 64 << 10 for size in sizes[:-1])


@pytest.mark.parametrize("matchers", selectors(), ids=lambda matchers: ",".join(map(str, matchers)) or "all")
@pytest.mark.parametrize(("mint", "maxt"), RANGES)
def test_selections_are_what_matches(made: Made, block: LocalBlock, matchers: list, mint: int, maxt: int) -> None:
    rows = made.matching(matchers, mint, maxt)
    found = block.select(tuples(matchers), mint, maxt)
    assert read(found, mint, maxt) == made.content(rows, mint, maxt)
    names = [found.labels.format_row(row) for row in range(len(found.labels))]
    assert found.labels.sort_order().tolist() == list(range(len(names)))
    series = block.series([tuples(matchers)], mint, maxt)
    assert [series.format_row(row) for row in range(len(series))] == names


@pytest.mark.parametrize("matchers", selectors(), ids=lambda matchers: ",".join(map(str, matchers)) or "all")
def test_label_names_and_values(made: Made, block: LocalBlock, matchers: list) -> None:
    rows = [made.sets[row] for row in made.matching(matchers, *ALL)]
    assert block.label_names(tuples(matchers), *ALL) == sorted({name for row in rows for name in row})
    for name in ("pod", "zone", "rare", "absent"):
        expected = sorted({row[name] for row in rows if name in row})
        assert block.label_values(name, tuples(matchers), *ALL) == expected


def test_series_of_several_selectors_are_there_once(made: Made, block: LocalBlock) -> None:
    sets = [[(0, "__name__", "metric_1")], [(2, "pod", "pod-000[12]")]]
    found = block.series(sets, *ALL)
    expected = {
        tuple(sorted(row.items()))
        for row in made.sets
        if row["__name__"] == "metric_1" or row["pod"] in ("pod-0001", "pod-0002")
    }
    got = [tuple(sorted(row.items())) for row in found.rows()]
    assert len(got) == len(expected)
    assert set(got) == expected


def test_a_selection_goes_to_another_process_in_parts(block: LocalBlock) -> None:
    found = block.select([(0, "__name__", "metric_2")], *ALL)
    parts, start = [], 0
    while start < len(found.labels):
        end = found.part_end(start, 10_000)
        parts.append(found.encode(start, end))
        start = end
    assert len(parts) > 3
    assert read(decode_series_set(parts), *ALL) == read(found, *ALL)


def test_merged_sets_go_to_another_process(made: Made, block: LocalBlock) -> None:
    half = START_MS + 300 * STEP_MS
    early = block.select([(2, "pod", "pod-000.")], -(1 << 62), half)
    late = block.select([(2, "__name__", "metric_[123]")], half - 1, 1 << 62)
    merged = merge_series_sets([early, late])
    again = merge_series_sets([merged, block.select([(0, "rare", "x")], *ALL)])
    for each in (merged, again):
        count = len(each.labels)
        sent = decode_series_set([each.encode(0, count // 2), each.encode(count // 2, count)])
        assert read(sent, *ALL) == read(each, *ALL)
        assert each.part_end(0, 1) == 1
    everything = made.content(range(COUNT), *ALL)
    for labels, samples in read(again, *ALL).items():
        assert set(samples) <= set(everything[labels])


def test_a_block_copied_is_the_same_bytes(made: Made, tmp_path: Path) -> None:
    stats = copy_block(str(made.path), str(tmp_path), segment_bytes=64 << 10)
    fields = ("series", "chunks", "samples", "floats", "histograms", "mint", "maxt")
    assert [getattr(stats, name) for name in fields] == [getattr(made.stats, name) for name in fields]
    for path in sorted(made.path.rglob("*")):
        if path.is_file() and path.name != "meta.json":
            assert (tmp_path / path.relative_to(made.path)).read_bytes() == path.read_bytes(), path.name


def test_damage_names_file_and_place(tmp_path: Path) -> None:
    small = Made(tmp_path, 5)
    for name in ("index", "chunks/000001"):
        path = small.path / name
        good = path.read_bytes()
        path.write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])
        with pytest.raises(DataDamaged, match=name):
            LocalBlock(str(small.path)).select([], *ALL)
        path.write_bytes(good)
    (small.path / "chunks/000001").unlink()
    with pytest.raises(DataDamaged, match="segment 1, of 0"):
        LocalBlock(str(small.path)).select([], *ALL)
    (small.path / "index").unlink()
    with pytest.raises(FileNotFoundError):
        LocalBlock(str(small.path))


def test_a_label_set_given_twice_is_refused(tmp_path: Path) -> None:
    builder = BlockBuilder()
    for _ in range(2):
        builder.add(LabelFrame.from_rows([{"a": "b"}]), columns([[(1, 1.0)]]))
    with pytest.raises(ValueError, match="does not follow"):
        builder.write(str(tmp_path))
    with pytest.raises(ValueError, match="1 label sets of 0 rows"):
        builder.add(LabelFrame.from_rows([{"a": "b"}]), columns([]))


def test_memory_does_not_grow_with_the_series(tmp_path: Path) -> None:
    few, many = (LocalBlock(str(Made(tmp_path / str(count), count).path)).nbytes for count in (700, 1400))
    # 32 pods more are one value and one place more.
    assert many - few < 100 * (3 + 2)
