"""Kernels over native histograms against what Prometheus made of the same ones (tests/golden/native_histograms)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mimir_rw import _native
from mimir_rw._native import DecodeError, HistogramColumn, LabelFrame

GOLDEN = Path(__file__).parents[2] / "golden" / "native_histograms" / "native_histograms.json"
ENTRIES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())


def number(text: str) -> float:
    return float(text)


def parts(recorded: list[Any]) -> Any:
    hint, schema, threshold, zero, count, total, positive, negative, custom = recorded
    return (
        hint,
        schema,
        *map(number, (threshold, zero, count, total)),
        side(positive),
        side(negative),
        numbers(custom),
    )


def side(recorded: list[Any]) -> Any:
    return [(offset, length) for offset, length in recorded[0]], numbers(recorded[1])


def numbers(texts: Sequence[str]) -> list[float]:
    return [number(text) for text in texts]


def same(a: float, b: float) -> bool:
    return math.isnan(a) and math.isnan(b) if math.isnan(a) or math.isnan(b) else a == b


def flat(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [leaf for each in value for leaf in flat(each)]
    return [value]


def filled_buckets(parts_: Any) -> Any:
    """The parts with buckets by index, as spans of no length do not count."""
    *scalars, positive, negative, custom = parts_
    return (*scalars, by_index(positive), by_index(negative), custom)


def by_index(side_: Any) -> list[tuple[int, float]]:
    spans, counts = side_
    indices: list[int] = []
    at = 0
    for offset, length in spans:
        at += offset
        indices += range(at, at + length)
        at += length
    return list(zip(indices, counts, strict=True))


def assert_same_histogram(got: Any, expected: Any) -> None:
    got, expected = flat(filled_buckets(got)), flat(filled_buckets(expected))
    assert len(got) == len(expected)
    assert all(same(a, b) for a, b in zip(got, expected, strict=True)), f"{got}\n{expected}"


COLUMN = HistogramColumn.from_parts([parts(entry["histogram"]) for entry in ENTRIES])
INDEX = np.arange(len(ENTRIES), dtype=np.int32)[:, np.newaxis]


def across(values: list[Any]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """One value a step, and every histogram at each of them."""
    steps = np.array([number(value) for value in values])
    return steps, np.broadcast_to(INDEX, (len(ENTRIES), len(steps)))


def test_quantiles() -> None:
    for step in range(9):
        q = [entry["quantiles"][step][0] for entry in ENTRIES]
        for row, entry in enumerate(ENTRIES):
            steps, _ = across([q[row]])
            (values, mask), nan, skewed = _native.native_quantile(steps, COLUMN, INDEX[row : row + 1])
            _, expected, notes = entry["quantiles"][step]
            assert mask.all()
            assert same(values[0, 0], number(expected)), (entry["histogram"], q[row])
            assert nan.tolist() == [any("result is NaN" in note for note in notes)]
            assert skewed.tolist() == [any("skewed" in note for note in notes)]


def test_fractions() -> None:
    for row, entry in enumerate(ENTRIES):
        lower, upper, expected, notes = zip(*entry["fractions"], strict=True)
        index = np.full((1, len(lower)), row, dtype=np.int32)
        (values, _), excluded = _native.native_fraction(
            np.array(numbers(lower)), np.array(numbers(upper)), COLUMN, index
        )
        assert all(map(same, values[0].tolist(), numbers(expected))), (entry["histogram"], values[0], expected)
        assert excluded.tolist() == [any(notes)]


def test_trims() -> None:
    for row, entry in enumerate(ENTRIES):
        limits = np.array([[number(limit) for limit, _, _ in entry["trims"]]])
        index = np.full(limits.shape, row, dtype=np.int32)
        for op, place in (("</", 1), (">/", 2)):
            column, cells = _native.histogram_change(op, COLUMN, index, limits)
            for step, recorded in enumerate(entry["trims"]):
                assert_same_histogram(column.part(int(cells[0, step])), parts(recorded[place]))


def test_texts() -> None:
    texts, text_numbers = _native.histogram_texts(COLUMN)
    assert [texts[i] for i in text_numbers] == [entry["text"] for entry in ENTRIES]
    assert len(set(texts)) == len(texts)


def test_json() -> None:
    labels = LabelFrame.empty_rows(len(ENTRIES))
    empty = np.zeros(len(ENTRIES)), np.zeros(len(ENTRIES), dtype=np.bool_)
    result = _native.encode_vector(labels, 1500, *empty, 0, (COLUMN, INDEX))
    expected = ",".join(f'{{"metric":{{}},"histogram":[1.500,{entry["json"]}]}}' for entry in ENTRIES)
    assert result.decode() == f"[{expected}]"


@pytest.mark.parametrize("subtract", [False, True])
def test_sums_and_differences(subtract: bool) -> None:
    before, after = INDEX[:-1], INDEX[1:]
    column, cells, notes = _native.histogram_add(COLUMN, before, COLUMN, after, subtract)
    for row, entry in enumerate(ENTRIES[1:]):
        recorded = entry["difference" if subtract else "sum"]
        if recorded is None:
            assert (cells[row, 0], notes[row, 0]) == (-1, 1)
            continue
        assert notes[row, 0] == 2 * recorded["collision"] + 4 * recorded["reconciled"]
        expected = parts(recorded["result"])
        hint = 3 if subtract else expected[0]
        assert_same_histogram(column.part(int(cells[row, 0])), (hint, *expected[1:]))


def test_equal() -> None:
    twins = HistogramColumn.from_parts([(3, *COLUMN.part(i)[1:]) for i in range(len(ENTRIES))])
    assert _native.histogram_equal(COLUMN, INDEX, twins, INDEX).all()
    assert not _native.histogram_equal(COLUMN, INDEX[:-1], COLUMN, INDEX[1:]).any()


def test_multiples() -> None:
    factors = np.full((len(ENTRIES), 1), -2.0)
    column, cells = _native.histogram_change("*", COLUMN, INDEX, factors)
    halved, back = _native.histogram_change("/", column, cells, factors)
    for row in range(len(ENTRIES)):
        hint, *rest = halved.part(int(back[row, 0]))
        compact, number_ = _native.histogram_change("*", COLUMN, INDEX[row : row + 1], np.ones((1, 1)))
        assert hint == 3
        assert_same_histogram((0, *rest), (0, *compact.part(int(number_[0, 0]))[1:]))


def test_moments() -> None:
    for place, moment in ((4, "count"), (5, "sum")):
        values, mask = _native.histogram_moment(moment, COLUMN, INDEX)
        assert mask.all()
        expected: Any = [COLUMN.part(i)[place] for i in range(len(ENTRIES))]
        assert all(map(same, values[:, 0].tolist(), expected))
    with pytest.raises(ValueError, match="moment"):
        _native.histogram_moment("kurtosis", COLUMN, INDEX)


def test_cells_without_histogram_stay_empty() -> None:
    index = np.array([[0, -1, 1], [-1, -1, -1]], dtype=np.int32)
    values, mask = _native.histogram_moment("count", COLUMN, index)
    assert mask.tolist() == [[True, False, True], [False] * 3]
    assert values[0, 1] == 0
    _, cells = _native.histogram_change("*", COLUMN, index, np.ones((2, 3)))
    assert (cells >= 0).tolist() == mask.tolist()


def test_neighbours_of_equal_input_share_a_result() -> None:
    index = np.array([[0, 0, 0, 1]], dtype=np.int32)
    column, cells = _native.histogram_change("*", COLUMN, index, np.array([[2.0, 2.0, 3.0, 3.0]]))
    assert (cells.tolist(), len(column)) == ([[0, 0, 1, 2]], 3)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="unknown histogram"):
        _native.histogram_moment("count", COLUMN, np.array([[len(ENTRIES)]], dtype=np.int32))
    with pytest.raises(ValueError, match="another shape"):
        _native.histogram_change("*", COLUMN, INDEX, np.ones((1, 1)))
    with pytest.raises(ValueError, match="one value per step"):
        _native.native_quantile(np.zeros(2), COLUMN, INDEX)


def test_bytes_round_trip() -> None:
    encoded = COLUMN.to_bytes()
    decoded = HistogramColumn.from_bytes(encoded)
    assert len(decoded) == len(COLUMN)
    assert decoded.to_bytes() == encoded
    assert_same_histogram(decoded.part(0), COLUMN.part(0))
    with pytest.raises(DecodeError):
        HistogramColumn.from_bytes(encoded[:-1])


def aggregate(op: str, index: NDArray[np.int32], floats: NDArray[np.bool_]) -> Any:
    groups = np.zeros(len(index), dtype=np.int64)
    return _native.aggregate_histograms(op, groups, 1, COLUMN, index, floats)


def schemas() -> NDArray[np.int32]:
    return np.array([COLUMN.part(i)[1] for i in range(len(ENTRIES))])


def test_aggregation_of_one_histogram_and_of_equals() -> None:
    row = next(i for i in range(len(ENTRIES)) if COLUMN.part(i)[1] != -53 and COLUMN.part(i)[2] == 0)
    index = np.full((4, 1), row, dtype=np.int32)
    for op, factor in (("sum", 4.0), ("avg", 1.0)):
        column, cells, met, incompatible = aggregate(op, index, np.zeros((4, 1), dtype=np.bool_))
        expected, at = _native.histogram_change("*", COLUMN, index[:1], np.array([[factor]]))
        assert_same_histogram(column.part(int(cells[0, 0])), expected.part(int(at[0, 0])))
        assert (met, incompatible.any()) == ((False, False, False), False)


def test_aggregation_of_what_does_not_go_together() -> None:
    custom = int(np.flatnonzero(schemas() == -53)[0])
    exponential = int(np.flatnonzero(schemas() != -53)[0])
    index = np.array([[exponential, exponential], [-1, custom]], dtype=np.int32)
    floats = np.array([[False, False], [True, False]])
    _, cells, (mixed, _, _), incompatible = aggregate("sum", index, floats)
    assert cells.tolist() == [[-1, -1]]
    assert mixed
    assert incompatible.tolist() == [False, True]


@given(st.data())
def test_batches_give_the_same_to_the_bit(data: st.DataObject) -> None:
    rows, steps, count = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20)))
    kinds = rng.choice([-2, -1, 0], size=(rows, steps), p=[0.1, 0.2, 0.7])
    index = np.where(kinds < 0, -1, rng.integers(0, len(ENTRIES), size=kinds.shape)).astype(np.int32)
    floats, groups = kinds == -2, rng.integers(0, count, size=rows).astype(np.int64)
    op = data.draw(st.sampled_from(["sum", "avg"]))
    whole = _native.aggregate_histograms(op, groups, count, COLUMN, index, floats)
    state, incompatible = _native.HistogramAccumulator(op, steps), []
    cut = data.draw(st.integers(0, rows))
    for part in (slice(0, cut), slice(cut, rows)):
        cells = (COLUMN, index[part]) if (index[part] >= 0).any() else None
        incompatible += state.add(groups[part], count, floats[part], cells).tolist()
    assert state.nbytes > 0
    column, cells_, met, present = state.finish()
    assert (cells_.tolist(), met, incompatible) == (whole[1].tolist(), whole[2], whole[3].tolist())
    for number_ in range(len(column)):
        assert_same_histogram(column.part(number_), whole[0].part(number_))
    for group in range(count):
        assert (present[group] >= (cells_[group] >= 0)).all()


@given(st.data())
def test_sums_are_those_of_exact_arithmetic(data: st.DataObject) -> None:
    """Of one layout each number is the compensated sum of its own: compared with fractions."""
    numbers_ = st.floats(-1e9, 1e9, allow_nan=False)
    counts = data.draw(st.lists(st.tuples(numbers_, numbers_, numbers_), min_size=1, max_size=9))
    side_ = [(1, 2)]
    column = HistogramColumn.from_parts(
        [(0, 0, 0.0, 0.0, a + b, total, (side_, [a, b]), ([], []), []) for a, b, total in counts]
    )
    index = np.arange(len(counts), dtype=np.int32)[:, np.newaxis]
    groups, none = np.zeros(len(counts), dtype=np.int64), np.zeros(index.shape, dtype=np.bool_)
    result, cells, _, _ = _native.aggregate_histograms("sum", groups, 1, column, index, none)
    got = result.part(int(cells[0, 0]))
    buckets = dict(by_index(got[6]))
    for place, values in ((1, [a for a, _, _ in counts]), (2, [b for _, b, _ in counts])):
        exact = float(sum(map(Fraction, values)))
        assert math.isclose(buckets.get(place, 0.0), exact, rel_tol=1e-12, abs_tol=1e-15)
    assert math.isclose(got[5], float(sum(map(Fraction, [c for _, _, c in counts]))), rel_tol=1e-12, abs_tol=1e-15)
