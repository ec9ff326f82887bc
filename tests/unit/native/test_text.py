"""Prometheus JSON: exact bytes for known cases, parsed back for any others."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw._native import (
    LabelFrame,
    SampleColumns,
    encode_label_sets,
    encode_matrix,
    encode_range_samples,
    encode_scalar,
    encode_string,
    encode_strings,
    encode_vector,
    format_value,
)

T0 = 1_600_000_000_000


def floats(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)


def bools(*values: bool) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array(values, dtype=np.bool_)


@pytest.mark.parametrize(
    ("value", "text", "scalar"),
    [
        (0.0, "0", "0"),
        (-0.0, "-0", "-0"),
        (1.0, "1", "1"),
        (0.1, "0.1", "0.1"),
        (-2.5, "-2.5", "-2.5"),
        (1e-6, "0.000001", "0.000001"),
        (1e-7, "1e-07", "0.0000001"),
        (1.5e-10, "1.5e-10", "0.00000000015"),
        (1e20, "100000000000000000000", "100000000000000000000"),
        (1e21, "1e+21", "1000000000000000000000"),
        (123456789.125, "123456789.125", "123456789.125"),
        (2.0**53, "9007199254740992", "9007199254740992"),
        (2.0**60, "1152921504606847000", "1152921504606847000"),
        (5e-324, "5e-324", "0." + "0" * 323 + "5"),
        (1.7976931348623157e308, "1.7976931348623157e+308", "17976931348623157" + "0" * 292),
        (math.nan, "NaN", "NaN"),
        (math.inf, "+Inf", "+Inf"),
        (-math.inf, "-Inf", "-Inf"),
    ],
)
def test_values(value: float, text: str, scalar: str) -> None:
    assert format_value(value) == text
    frame = LabelFrame.from_rows([{}])
    assert encode_vector(frame, T0, floats(value), bools(True)) == (
        b'[{"metric":{},"value":[1600000000,"' + text.encode() + b'"]}]'
    )
    assert encode_scalar(T0, value) == b'[1600000000,"' + scalar.encode() + b'"]'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_values_read_back_equal(value: float) -> None:
    assert struct.pack("d", float(format_value(value))) == struct.pack("d", value)


@pytest.mark.parametrize(
    ("ms", "text", "as_float"),
    [
        (T0, "1600000000", "1600000000"),
        (T0 + 500, "1600000000.500", "1600000000.5"),
        (1001, "1.001", "1.001"),
        (-10, "-0.010", "-0.01"),
        (0, "0", "0"),
    ],
)
def test_timestamps(ms: int, text: str, as_float: str) -> None:
    frame = LabelFrame.from_rows([{}])
    assert encode_vector(frame, ms, floats(1), bools(True)) == f'[{{"metric":{{}},"value":[{text},"1"]}}]'.encode()
    matrix = encode_matrix(frame, ms, 0, floats(1).reshape(1, 1), bools(True).reshape(1, 1))
    assert matrix == f'[{{"metric":{{}},"values":[[{text},"1"]]}}]'.encode()
    assert encode_scalar(ms, 1.0) == f'[{as_float},"1"]'.encode()


def test_matrix_leaves_out_absent_points_and_empty_rows() -> None:
    frame = LabelFrame.from_rows([{"__name__": "up", "a": "1"}, {"a": "2"}, {}])
    values = np.arange(9, dtype=np.float64).reshape(3, 3)
    mask = np.array([[True, False, True], [False] * 3, [False, True, True]])
    assert encode_matrix(frame, T0, 500, values, mask) == (
        b'[{"metric":{"__name__":"up","a":"1"},"values":[[1600000000,"0"],[1600000001,"2"]]},'
        b'{"metric":{},"values":[[1600000000.500,"7"],[1600000001,"8"]]}]'
    )


def test_matrix_of_any_memory_layout() -> None:
    frame = LabelFrame.from_rows([{"a": "1"}, {"a": "2"}])
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    mask = np.array([[True, False, True], [True, True, False]])
    expected = encode_matrix(frame, T0, 1000, values, mask)
    assert encode_matrix(frame, T0, 1000, np.asfortranarray(values), np.asfortranarray(mask)) == expected
    wide_values, wide_mask = np.repeat(values, 2, axis=1)[:, ::2], np.repeat(mask, 2, axis=1)[:, ::2]
    assert encode_matrix(frame, T0, 1000, wide_values, wide_mask) == expected
    broadcast = np.broadcast_to(floats(5.0), (2, 3))
    assert encode_matrix(frame, T0, 1000, broadcast, mask).count(b'"5"') == 4
    assert json.loads(encode_vector(frame, T0, values[:, 1], mask[:, 1])) == [
        {"metric": {"a": "2"}, "value": [1600000000, "4"]}
    ]


def test_range_samples_have_their_own_times() -> None:
    frame = LabelFrame.from_rows([{"a": "1"}, {"a": "2"}, {"a": "3"}])
    columns = SampleColumns(np.array([0, 2, 2, 3]), np.array([T0 + 1, T0 + 2000, T0]), floats(1, math.nan, 3))
    assert encode_range_samples(frame, columns) == (
        b'[{"metric":{"a":"1"},"values":[[1600000000.001,"1"],[1600000002,"NaN"]]},'
        b'{"metric":{"a":"3"},"values":[[1600000000,"3"]]}]'
    )
    assert json.loads(encode_range_samples(frame, columns, 1))[0]["metric"] == {"a": "1"}


def test_limit_counts_what_is_written() -> None:
    frame = LabelFrame.from_rows([{"a": str(i)} for i in range(4)])
    mask = bools(False, True, True, True)
    shown = [row["metric"]["a"] for row in json.loads(encode_vector(frame, T0, floats(0, 1, 2, 3), mask, 2))]
    assert shown == ["1", "2"]
    matrix = encode_matrix(frame, T0, 1, floats(0, 1, 2, 3).reshape(4, 1), mask.reshape(4, 1), 2)
    assert [row["metric"]["a"] for row in json.loads(matrix)] == ["1", "2"]
    assert encode_label_sets(frame, 1) == b'[{"a":"0"}]'
    assert encode_strings(["x", "y"], 1) == b'["x"]'


def test_nothing_is_an_empty_list() -> None:
    frame = LabelFrame.empty_rows(0)
    nothing = np.empty((0, 3))
    assert encode_matrix(frame, T0, 1, nothing, nothing.astype(np.bool_)) == b"[]"
    assert encode_vector(frame, T0, floats(), bools()) == b"[]"
    assert encode_label_sets(frame) == b"[]"
    assert encode_strings([]) == b"[]"


def test_labels_are_escaped_without_html_other_strings_with() -> None:
    text = '<a&b>"\\\n\r\t\x00\x1f\x7f\u2028\u2029é\U0001f600'
    plain = '"<a&b>\\"\\\\\\n\\r\\t\\u0000\\u001f\x7f\u2028\u2029é\U0001f600"'
    html = '"\\u003ca\\u0026b\\u003e\\"\\\\\\n\\r\\t\\u0000\\u001f\x7f\\u2028\\u2029é\U0001f600"'
    assert encode_label_sets(LabelFrame.from_rows([{"l": text}])) == f'[{{"l":{plain}}}]'.encode()
    assert encode_strings([text]) == f"[{html}]".encode()
    assert encode_string(T0 + 1, text) == f"[1600000000.001,{html}]".encode()


@given(st.lists(st.dictionaries(st.text(min_size=1), st.text(min_size=1))))
def test_label_sets_read_back_equal(rows: list[dict[str, str]]) -> None:
    assert json.loads(encode_label_sets(LabelFrame.from_rows(rows))) == rows


def test_lengths_must_agree() -> None:
    frame = LabelFrame.empty_rows(2)
    with pytest.raises(ValueError, match="same shape"):
        encode_matrix(frame, 0, 1, np.zeros((2, 2)), np.zeros((2, 3), dtype=np.bool_))
    with pytest.raises(ValueError, match="2 label sets, values of 3 rows"):
        encode_matrix(frame, 0, 1, np.zeros((3, 2)), np.zeros((3, 2), dtype=np.bool_))
    with pytest.raises(ValueError, match="2 label sets, 1 values"):
        encode_vector(frame, 0, floats(1), bools(True, True))
    with pytest.raises(ValueError, match="samples of 1 rows"):
        encode_range_samples(frame, SampleColumns(np.array([0, 1]), np.array([0]), floats(1)))
