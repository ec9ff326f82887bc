"""Numbers as text the way Go writes and reads them."""

from __future__ import annotations

import math

import pytest

from mimir_rw.promql.exec.number_text import general, openmetrics, parse_float, plain_decimal


@pytest.mark.parametrize(
    ("value", "plain", "general_form", "metric_form"),
    [
        (1.0, "1", "1", "1.0"),
        (-0.0, "-0", "-0", "-0.0"),
        (0.5, "0.5", "0.5", "0.5"),
        (1e21, "1000000000000000000000", "1e+21", "1e+21"),
        (1e20, "100000000000000000000", "1e+20", "1e+20"),
        (1.5e-7, "0.00000015", "1.5e-07", "1.5e-07"),
        (0.0001, "0.0001", "0.0001", "0.0001"),
        (-1234567.5, "-1234567.5", "-1.2345675e+06", "-1.2345675e+06"),
        (999999.5, "999999.5", "999999.5", "999999.5"),
        (100000.0, "100000", "100000", "100000.0"),
        (5e-324, "0." + "0" * 323 + "5", "5e-324", "5e-324"),
        (math.nan, "NaN", "NaN", "NaN"),
        (-math.inf, "-Inf", "-Inf", "-Inf"),
    ],
)
def test_formats(value: float, plain: str, general_form: str, metric_form: str) -> None:
    assert (plain_decimal(value), general(value), openmetrics(value)) == (plain, general_form, metric_form)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e0", 1.0),
        (".2", 0.2),
        ("+Inf", math.inf),
        ("-inf", -math.inf),
        ("5.", 5.0),
        ("0x1p-2", 0.25),
        ("1E+2", 100.0),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert parse_float(text) == value


@pytest.mark.parametrize("text", ["", " 1", "1_000", "one", "1e", "0x", "--1", "1.2.3", "٣"])
def test_what_is_no_number(text: str) -> None:
    assert parse_float(text) is None
