"""LabelFrame against plain dicts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw._native import LabelFrame

NAMES = ["__name__", "a", "aa", "b", "job", "é"]
names = st.sampled_from(NAMES)
values = st.sampled_from(["", "0", "00", "1", "a", "ab", "é", "\U0001f600", "z"])
label_sets = st.dictionaries(names, values, max_size=len(NAMES))
row_lists = st.lists(label_sets, max_size=12)
name_lists = st.lists(names, max_size=4)


def clean(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if value}


def as_list(row: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return sorted((name.encode(), value.encode()) for name, value in row.items())


def grouping(listed: list[str], without: bool) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda row: {name: value for name, value in row.items() if (name in listed) != without}


def first_appearance_ids(rows: list[dict[str, str]]) -> tuple[list[int], list[dict[str, str]]]:
    distinct: list[dict[str, str]] = []
    ids = []
    for row in rows:
        if row not in distinct:
            distinct.append(row)
        ids.append(distinct.index(row))
    return ids, distinct


@given(row_lists)
def test_rows_come_back_without_empty_values(given_rows: list[dict[str, str]]) -> None:
    frame = LabelFrame.from_rows(given_rows)
    rows = [clean(row) for row in given_rows]
    assert frame.rows() == rows
    assert [frame.row(i) for i in range(len(frame))] == rows
    assert frame.names == sorted({name for row in rows for name in row}, key=str.encode)
    for name in NAMES:
        dictionary = frame.dictionary(name)
        assert len(set(dictionary)) == len(dictionary)
        decoded = ["" if code < 0 else dictionary[code] for code in frame.codes(name)]
        assert decoded == [row.get(name, "") for row in rows]


@given(row_lists, name_lists, st.booleans())
def test_group(given_rows: list[dict[str, str]], listed: list[str], without: bool) -> None:
    keys = [grouping(listed, without)(clean(row)) for row in given_rows]
    ids, groups = LabelFrame.from_rows(given_rows).group(listed, without)
    expected_ids, expected_groups = first_appearance_ids(keys)
    assert ids.dtype == np.int64
    assert ids.tolist() == expected_ids
    assert groups.rows() == expected_groups


@given(row_lists)
def test_row_ids(given_rows: list[dict[str, str]]) -> None:
    ids, count = LabelFrame.from_rows(given_rows).row_ids()
    expected, distinct = first_appearance_ids([clean(row) for row in given_rows])
    assert (ids.tolist(), count) == (expected, len(distinct))


@given(row_lists, row_lists, name_lists, st.booleans())
def test_match_ids(left: list[dict[str, str]], right: list[dict[str, str]], listed: list[str], ignoring: bool) -> None:
    key = grouping(listed, ignoring)
    mine, others, count = LabelFrame.from_rows(left).match_ids(LabelFrame.from_rows(right), listed, ignoring)
    expected, distinct = first_appearance_ids([key(clean(row)) for row in left + right])
    assert mine.tolist() + others.tolist() == expected
    assert count == len(distinct)


@given(row_lists)
def test_match_ids_of_frames_that_share_dictionaries(given_rows: list[dict[str, str]]) -> None:
    frame = LabelFrame.from_rows(given_rows)
    backwards = frame.take(np.arange(len(frame))[::-1])
    mine, others, _ = frame.match_ids(backwards, [], True)
    assert mine.tolist() == others.tolist()[::-1]


@given(row_lists)
def test_sort_order_compares_lists_of_labels(given_rows: list[dict[str, str]]) -> None:
    rows = [clean(row) for row in given_rows]
    order = LabelFrame.from_rows(rows).sort_order()
    assert order.tolist() == sorted(range(len(rows)), key=lambda i: as_list(rows[i]))


def test_sort_order_over_more_labels_than_fit_a_word() -> None:
    rng = np.random.default_rng(5)
    rows = [
        {f"l{k:02}": str(rng.integers(0, 3)) for k in range(60) if rng.random() < (0.99 if i % 2 else 0.3)}
        for i in range(500)
    ]
    rows += rows[::7]
    order = LabelFrame.from_rows(rows).sort_order()
    assert order.tolist() == sorted(range(len(rows)), key=lambda i: as_list(rows[i]))


@given(row_lists, st.data())
def test_take(given_rows: list[dict[str, str]], data: st.DataObject) -> None:
    rows = [clean(row) for row in given_rows]
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20)) if rows else []
    taken = LabelFrame.from_rows(rows).take(np.array(indices, dtype=np.int64))
    assert taken.rows() == [rows[i] for i in indices]
    assert taken.names == sorted({name for i in indices for name in rows[i]}, key=str.encode)


@given(st.lists(row_lists, max_size=4))
def test_concat(parts: list[list[dict[str, str]]]) -> None:
    frame = LabelFrame.concat([LabelFrame.from_rows(part) for part in parts])
    assert frame.rows() == [clean(row) for part in parts for row in part]


@given(row_lists, name_lists)
def test_keep_and_drop(given_rows: list[dict[str, str]], listed: list[str]) -> None:
    frame = LabelFrame.from_rows(given_rows)
    rows = [clean(row) for row in given_rows]
    assert frame.keep(listed).rows() == [grouping(listed, False)(row) for row in rows]
    assert frame.drop(listed).rows() == [grouping(listed, True)(row) for row in rows]


@given(row_lists, names, st.lists(values, min_size=1, max_size=5), st.data())
def test_with_column(given_rows: list[dict[str, str]], name: str, dictionary: list[str], data: st.DataObject) -> None:
    code = st.integers(-1, len(dictionary) - 1)
    codes = [data.draw(code) for _ in given_rows]
    frame = LabelFrame.from_rows(given_rows).with_column(name, dictionary, np.array(codes, dtype=np.int32))
    expected = [
        clean({**row, name: dictionary[code] if code >= 0 else ""}) for row, code in zip(given_rows, codes, strict=True)
    ]
    assert frame.rows() == expected
    # The new column is canonical: equal label sets have equal ids whatever the dictionary looked like.
    ids, _ = frame.row_ids()
    assert ids.tolist() == first_appearance_ids(expected)[0]


def test_rows_without_labels() -> None:
    frame = LabelFrame.empty_rows(3)
    assert (len(frame), frame.names, frame.rows()) == (3, [], [{}, {}, {}])
    assert frame.codes("a").tolist() == [-1, -1, -1]
    assert frame.dictionary("a") == []
    ids, groups = frame.group(["a"], False)
    assert (ids.tolist(), groups.rows()) == ([0, 0, 0], [{}])
    assert LabelFrame.empty_rows(0).group([], True)[1].rows() == []
    assert LabelFrame.concat([]).rows() == []


@pytest.mark.parametrize("index", [-1, 2])
def test_rows_out_of_range(index: int) -> None:
    frame = LabelFrame.from_rows([{"a": "1"}, {}])
    with pytest.raises(IndexError):
        frame.take(np.array([0, index], dtype=np.int64))
    with pytest.raises(IndexError):
        frame.with_column("a", ["x", "y"], np.array([0, index - 1 if index < 0 else index], dtype=np.int32))


def test_a_column_needs_one_code_a_row() -> None:
    with pytest.raises(ValueError, match="1 codes for 2 rows"):
        LabelFrame.empty_rows(2).with_column("a", ["x"], np.array([0], dtype=np.int32))


def test_text_forms() -> None:
    frame = LabelFrame.from_rows([{"__name__": "up", "b": 'x"y\n', "a": "1"}, {"a.b": "c"}, {}])
    assert [frame.format_row(i) for i in range(3)] == ['up{a="1", b="x\\"y\\n"}', '{"a.b"="c"}', "{}"]
    assert frame.format_labels(0) == '{__name__="up", a="1", b="x\\"y\\n"}'
