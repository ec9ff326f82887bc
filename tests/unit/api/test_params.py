import pytest

from mimir_rw.api import params as p


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("1.5", 1500),
        ("1.0005", 1001),
        ("-1", -1000),
        ("1e9", 1_000_000_000_000),
        (".5", 500),
        ("2015-06-03T13:21:58.555Z", 1433337718555),
        ("2015-06-03T13:21:58.5559Z", 1433337718555),
        ("2015-06-03T14:21:58+01:00", 1433337718000),
        ("1969-12-31T23:59:59.5Z", -500),
    ],
)
def test_times(text, ms):
    assert p.parse_time_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "abc", "30s", "nan", "inf", "1e40", "0x10", "2015-13-01T00:00:00Z", "2015-06-03", "1 ", "١"]
)
def test_bad_times(text):
    with pytest.raises(ValueError, match="to a valid timestamp"):
        p.parse_time_ms(text)


def test_unbounded_times():
    assert p.parse_time_ms("-292273086-05-16T16:47:06Z") < -(10**12)
    assert p.parse_time_ms("+292277025-08-18T07:12:54.999999999Z") > 10**12


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15", 15.0),
        ("0.5", 0.5),
        ("1m", 60.0),
        ("1h30m", 5400.0),
        ("100ms", 0.1),
        ("1d", 86400.0),
        ("1y2w", 32745600.0),
    ],
)
def test_durations(text, seconds):
    assert p.parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "m", "1m1h", "-1m", "1.5h", "1e300", "9" * 30 + "h"])
def test_bad_durations(text):
    with pytest.raises(ValueError, match="to a valid duration"):
        p.parse_duration_s(text)


def test_form_values_come_before_those_of_the_query_string():
    params = p.parse_params(b"a=2&b=", b"a=1")
    assert params == {"a": ["1", "2"], "b": [""]}
    assert p.first(params, "a") == "1"
    assert p.first(params, "c") == ""
