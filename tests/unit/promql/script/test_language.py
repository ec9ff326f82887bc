"""Scripts to commands, series notation to points."""

from __future__ import annotations

import math

import pytest

from mimir_rw.promql.script.commands import (
    Clear,
    Evaluation,
    Expectation,
    HistogramLiteral,
    HistogramPoint,
    Load,
    LoadedSeries,
    Marker,
    RangeVector,
)
from mimir_rw.promql.script.language import ScriptError, parse_script
from mimir_rw.promql.script.notation import parse_points, parse_series, parse_start_offsets

SCRIPT = """
# a comment
load 5m
  up{job="a", x=""}  0+10x2 _ stale
\t{"my.metric", 'l b'="\\x41"} 1

load_with_nhcb 30
    h_bucket{le="+Inf"}@st -30s-1mx1
    h_bucket{le="+Inf"} 1 2
eval instant at 1h30m up

eval range from 0 to 1m step 30s rate(up[5m])   # not a comment of the script
    expect ordered
    expect warn msg: PromQL warning: a: b (1:2)
    expect no_info
    up{job="a"} 1 2 3

 eval_fail instant at 5 "s"
  expected_fail_message no
eval instant at 10 "s"
   expect string "a\\"b"
eval instant at 2m up[2m]
  expect range vector from 1m to 2m step 60s
clear
eval instant at 0 -1
\t-1.5
"""


def test_commands() -> None:
    load, nhcb, plain, ranged, fail, string, matrix, clear, scalar = parse_script(SCRIPT)
    assert load == Load(
        3,
        300_000,
        (
            LoadedSeries((("__name__", "up"), ("job", "a")), (0.0, 10.0, 20.0, None, Marker.STALE)),
            LoadedSeries((("__name__", "my.metric"), ("l b", "A")), (1.0,)),
        ),
    )
    series = LoadedSeries((("__name__", "h_bucket"), ("le", "+Inf")), (1.0, 2.0), (-30_000, -90_000))
    assert nhcb == Load(7, 30_000, (series,), with_nhcb=True)
    assert plain == Evaluation(10, "up", 5_400_000, 5_400_000, 0, Expectation())
    assert isinstance(ranged, Evaluation)
    assert (ranged.start_ms, ranged.end_ms, ranged.step_ms) == (0, 60_000, 30_000)
    expected = ranged.expected
    assert (expected.ordered, expected.no_info, expected.no_warn) == (True, True, False)
    assert [pattern.text for pattern in expected.warn] == ["PromQL warning: a: b (1:2)"]
    assert expected.series == {(("__name__", "up"), ("job", "a")): (1.0, 2.0, 3.0)}
    assert isinstance(fail, Evaluation)
    assert fail.expected.fail is not None
    assert fail.expected.fail.accepts("no")
    assert not fail.expected.fail.accepts("no.")
    assert isinstance(string, Evaluation)
    assert string.expected.string == 'a"b'
    assert isinstance(matrix, Evaluation)
    assert matrix.expected.range_vector == RangeVector(60_000, 120_000, 60_000)
    assert clear == Clear(24)
    assert isinstance(scalar, Evaluation)
    assert scalar.expected.scalar == -1.5


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("", ()),
        ("1 -2 +3 .5 1e3 Inf -inf", (1.0, -2.0, 3.0, 0.5, 1000.0, math.inf, -math.inf)),
        ("1x2", (1.0, 1.0, 1.0)),
        ("1-2x3", (1.0, -1.0, -3.0, -5.0)),
        ("-1+0.5x1", (-1.0, -0.5)),
        ("_ _x2 stale", (None, None, None, Marker.STALE)),
        ("0+1e-1x1", (0.0, 0.1)),
        ("{{}}", (HistogramPoint(HistogramLiteral()),)),
        ("{{count:2}}x1 5", (HistogramPoint(HistogramLiteral(count=2.0)),) * 2 + (5.0,)),
    ],
)  # fmt: skip
def test_points(text: str, points: tuple[object, ...]) -> None:
    assert parse_points(text) == points


def test_histogram_fields_and_steps() -> None:
    text = (
        "{{schema:-53 sum:-1.5 count:22 z_bucket:1 z_bucket_w:0.01 offset:-1 buckets:[5 10 -7] n_offset:2 n_buckets:[1]"
    )
    text += " custom_values:[1 2] counter_reset_hint:not_reset}}-{{count:1}}x2"
    base = HistogramLiteral(
        -53, -1.5, 22.0, 1.0, 0.01, -1, (5.0, 10.0, -7.0), 2, (1.0,), (1.0, 2.0), "not_reset"
    )  # fmt: skip
    one = HistogramLiteral(count=1.0)
    assert parse_points(text) == tuple(HistogramPoint(base, one, -i) for i in range(3))


def test_nan_points() -> None:
    (point,) = parse_points("NaN")
    assert isinstance(point, float)
    assert math.isnan(point)


def test_series_without_name() -> None:
    assert parse_series("{} 5") == ((), (5.0,))
    assert parse_series('{a="b",} 5') == ((("a", "b"),), (5.0,))


def test_start_offsets() -> None:
    assert parse_start_offsets("_ -30s-1mx2 1ms 0 +1m _x2") == (
        None, -30_000, -90_000, -150_000, 1, 0, 60_000, None, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("script", "place"),
    [
        ("load\n up 1", "line 1:"),
        ("load 5x\n up 1", "line 1:"),
        ("load 5m\n up 1\n up{a=1} 1", "line 3:"),
        ("load 5m\n up 1 two", "line 2:"),
        ("load 5m\n up 1x99999999999", "line 2:"),
        ("load 5m\n up {{count:1 count:2}}", "line 2:"),
        ("load 5m\n up {{colour:1}}", "line 2:"),
        ("load 5m\n up@st -1m\n down 1", "line 2:"),
        ("load 5m\n up@st -1m", "line 2:"),
        (" up 1", "line 1:"),
        ("evaluate this", "line 1:"),
        ("eval instant up", "line 1:"),
        ("eval range from 5 to 1 step 1 up", "line 1:"),
        ("eval instant at 1 up\n expect nothing", "line 2:"),
        ("eval instant at 1 up\n expect warn\n expect no_warn", "line 1:"),
        ("eval instant at 1 up\n expect fail regex: (", "line 2:"),
        ("eval instant at 1 up\n expect string a", "line 2:"),
        ("shout\n", "line 1:"),
    ],
)  # fmt: skip
def test_errors_name_the_line(script: str, place: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(script)
    assert str(caught.value).startswith(place)
