"""Series sets between processes, and several replicas as one set, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mimir_rw._native import (
    DecodeError,
    EncodedSeriesSet,
    Head,
    HeadSeriesSet,
    LabelFrame,
    decode_series_set,
    merge_series_sets,
    series_set_part_rows,
)
from mimir_rw.storage.contract import SeriesSet
from tests.unit.tsdb.batches import KEY, START_MS, batch

ALL = (1 << 62) - 1
STEP_MS = 15_000

Content = dict[str, list[tuple[int, float]]]


def content(series: SeriesSet, mint: int = -ALL, maxt: int = ALL) -> Content:
    rows = len(series.labels)
    columns = series.decode(0, rows, mint, maxt)
    assert columns.sample_count <= series.sample_count_max(0, rows)
    offsets, ts, values = columns.offsets.tolist(), columns.ts.tolist(), columns.values.tolist()
    runs = [slice(*offsets[row : row + 2]) for row in range(rows)]
    return {series.labels.format_row(row): list(zip(ts[run], values[run], strict=True)) for row, run in enumerate(runs)}


def filled(directory: Path, names: Sequence[str], times: Sequence[int], value: float = 0.0) -> HeadSeriesSet:
    directory.mkdir()
    head = Head(str(directory), tenant="t", hash_key=KEY)
    while len(set(head.replay_step(1 << 20))) != 1:
        pass
    for i in times:
        samples = [(START_MS + i * STEP_MS, i + value)]
        head.append([batch(*(({"__name__": name, "pod": f"p{name}"}, samples) for name in names))], ooo_window_ms=10**9)
    return head.select([], -ALL, ALL)


def encoded(series: HeadSeriesSet, rows: int = 2) -> EncodedSeriesSet:
    count = len(series.labels)
    return decode_series_set([series.encode(start, min(count, start + rows)) for start in range(0, count, rows)])


def expected(names: Sequence[str], times: Sequence[int]) -> Content:
    return {f'{name}{{pod="p{name}"}}': [(START_MS + i * STEP_MS, float(i)) for i in times] for name in names}


def test_parts_are_a_series_set_again(tmp_path: Path) -> None:
    head = filled(tmp_path / "a", "abcde", range(300))
    for rows in (1, 2, 9):
        again = encoded(head, rows)
        assert content(again) == content(head) == expected("abcde", range(300))
        assert again.labels.rows() == head.labels.rows()
        assert again.nbytes > 0
    assert series_set_part_rows(memoryview(head.encode(1, 4))) == 3
    assert head.part_end(0, 1) == 1
    assert head.part_end(0, 1 << 30) == 5
    copied = decode_series_set([memoryview(head.encode(0, 5))])
    assert content(copied) == content(head)
    assert content(decode_series_set([])) == {}
    with pytest.raises(IndexError):
        head.encode(2, 6)
    with pytest.raises(IndexError):
        copied.decode(3, 2, 0, 1)


def test_replicas_are_merged_whatever_each_of_them_missed(tmp_path: Path) -> None:
    times = range(400)
    whole = filled(tmp_path / "a", "abc", times)
    behind = filled(tmp_path / "b", "abc", times[:390])
    gaps = filled(tmp_path / "c", "bcd", [i for i in times if i % 50 != 7])
    late = filled(tmp_path / "d", "ad", [*times[:20], *times[30:], *times[20:30]])
    want = expected("abcd", times)
    for sets in ([whole, late], [late, behind, gaps, whole], [encoded(gaps), encoded(late), whole]):
        merged = merge_series_sets(sets)
        assert content(merged) == want | ({} if gaps in sets or len(sets) > 2 else expected("bc", times))
    merged = merge_series_sets([encoded(whole), encoded(behind)])
    assert content(merged) == expected("abc", times)
    assert merged.sample_count_max(0, 3) <= 3 * (len(times) + 5)
    mint, maxt = START_MS + 50 * STEP_MS, START_MS + 60 * STEP_MS
    assert content(merged, mint, maxt) == expected("abc", range(50, 61))
    assert content(merge_series_sets([])) == {}


def test_the_larger_bits_win_in_any_order(tmp_path: Path) -> None:
    low, high = filled(tmp_path / "a", "a", range(20)), filled(tmp_path / "b", "a", range(20), 0.25)
    want = [(START_MS + i * STEP_MS, i + 0.25) for i in range(20)]
    assert content(merge_series_sets([low, encoded(high)])) == content(merge_series_sets([high, low]))
    assert content(merge_series_sets([low, high]))['a{pod="pa"}'] == want


def test_damaged_parts_are_errors_or_other_sets(tmp_path: Path) -> None:
    head = filled(tmp_path / "a", "abc", range(5))
    data = head.encode(0, 3)
    for at in range(len(data)):
        with pytest.raises(DecodeError):
            decode_series_set([data[:at]])
    with pytest.raises(DecodeError, match="ascend"):
        decode_series_set([head.encode(1, 2), head.encode(0, 1)])


def test_label_frames_between_processes() -> None:
    rows = [{"a": "1", "é": "ü"}, {}, {"b": "2"}, {"a": "1", "b": "2"}, {"a": "0"}]
    frame = LabelFrame.from_rows(rows)
    assert LabelFrame.from_bytes(frame.to_bytes()).rows() == rows
    assert LabelFrame.from_bytes(memoryview(LabelFrame.empty_rows(3).to_bytes())).rows() == [{}, {}, {}]
    with pytest.raises(DecodeError):
        LabelFrame.from_bytes(frame.to_bytes()[:-1])
    other = LabelFrame.from_rows([{"a": "0"}, {"c": "3"}])
    union = LabelFrame.union_sorted([frame, LabelFrame.from_bytes(other.to_bytes()), frame])
    assert union.rows() == [
        {},
        {"a": "0"},
        {"a": "1", "b": "2"},
        {"a": "1", "é": "ü"},
        {"b": "2"},
        {"c": "3"},
    ]
    assert LabelFrame.union_sorted([]).rows() == []
