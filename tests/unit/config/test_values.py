from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.config import values


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("0s", 0),
        ("100ms", 100),
        ("1h30m", 5_400_000),
        ("1.5h", 5_400_000),
        ("1m36s", 96_000),
        ("1d", 86_400_000),
        ("1w2d", 9 * 86_400_000),
        ("1y", 365 * 86_400_000),
        ("13h0m0s", 13 * 3_600_000),
        ("-5s", -5_000),
        ("+5s", 5_000),
        (".5s", 500),
        ("1us", 1),
        ("1500us", 1),
        ("2562047h47m16.854775807s", values.DURATION_MS_MAX),
    ],
)
def test_durations(text: str, ms: int) -> None:
    assert values.parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "5", "s", "1 h", "1h ", "--5s", "1x", "1h-5m", "9999999999h", "1e3s", "٣s"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|years"):
        values.parse_duration(text)


@given(st.integers(min_value=-values.DURATION_MS_MAX, max_value=values.DURATION_MS_MAX))
def test_durations_survive_the_way_through_text(ms: int) -> None:
    assert values.parse_duration(values.format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("1_000", 1000), ("0x10", 16), ("0o17", 15), ("-3", -3), ("+3", 3), ("1e6", 1_000_000), ("010", 10)],
)
def test_integers(text: str, value: int) -> None:
    assert values.parse_integer(text) == value


@pytest.mark.parametrize("text", ["", "1.5", "a", "1e400", "9" * 25, "0x", "1__0", "_", "nan", "1e99999999999", "٣"])
def test_bad_integers(text: str) -> None:
    with pytest.raises(ValueError, match=r"whole number|64 bits"):
        values.parse_integer(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1.0), ("0.5", 0.5), ("1e3", 1000.0), (".5", 0.5), ("-2.", -2.0), ("0x10", 16.0)]
)
def test_numbers(text: str, value: float) -> None:
    assert values.parse_number(text) == value


@pytest.mark.parametrize("text", ["", "x", "1x", "nan", ".inf", "1__0", "--1", "1e999"])
def test_bad_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=r"number"):
        values.parse_number(text)


@given(st.text())
def test_reading_is_total(text: str) -> None:
    for parse in (values.parse_duration, values.parse_integer, values.parse_number, values.parse_boolean):
        with contextlib.suppress(ValueError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("no", False), ("on", True), ("1", True)]
)
def test_booleans(text: str, value: bool) -> None:
    assert values.parse_boolean(text) is value


def test_a_list_drops_blanks() -> None:
    assert values.parse_names(" a, b,,c ") == ("a", "b", "c")
    assert values.parse_names("") == ()
