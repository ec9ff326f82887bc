"""The words of random queries: names and values of the data in `data.py`, and the corners of each kind of literal."""

from __future__ import annotations

METRICS = (
    "requests_total", "requests_total", "temperature", "temperature", "limit", "small", "odd", "huge", "cancelling",
    "latency_seconds_bucket", "latency_seconds_count", "latency_seconds_sum", "sparse", "short", "single", "late",
    "stepping", "uneven", "texts", '{"my.metric"}', "target_info", "build_info", "nothing",
)  # fmt: skip
NATIVE = (
    "duration_seconds", "duration_seconds", "duration_seconds", "sizes", "rescaled_seconds", "custom_seconds",
    "custom_seconds", "custom_changing", "custom_gauge", "blended", "kinds", "corners", "both_seconds",
)  # fmt: skip
NATIVE_LABELS = {
    "duration_seconds": ("job", "instance"), "custom_seconds": ("job", "instance"), "kinds": ("job", "kind"),
    "corners": ("kind",),
}  # fmt: skip
LABELS = (
    "job",
    "instance",
    "code",
    "le",
    "kind",
    "i",
    "half",
    "text",
    '"label.name"',
    "version",
    "missing",
    "__name__",
)
MATCHERS = (
    'job="api"', 'job="web"', 'job!="api"', 'job=~"a.*|web"', 'job!~"w.+"', 'instance="a:1"', 'instance=~"[ab]:1"',
    'code="200"', 'code=~"5.."', 'missing=""', 'missing!=""', 'job=~".*"', 'kind=~"n.*"', 'i=~"n1?"', 'le="0.5"',
    '"label.name"="v"', "text=~`.*\\\\.*`", 'text=~"[^a-z]+"', 'job=~"(?i:API)"', 'instance!~"(a|b):\\\\d"',
    'kind!="float"', 'text="ü€𝄞"', 'text="line\\nbreak"',
)  # fmt: skip
NAME_MATCHERS = (
    '{__name__=~"latency_.*"}', '{__name__=~"requests_total|limit"}', '{job="api"}', '{__name__="small"}',
    '{"small", half="1"}', '{__name__=~".*_info", job="api"}', '{__name__!~".*_.*", job="web"}',
    '{__name__=~".*_seconds"}', '{__name__=~"both_seconds(_bucket)?"}', '{"my.metric", "label.name"!="v"}',
)  # fmt: skip
NUMBERS = (
    "0", "1", "2", "-1", "0.5", "3.25", "1e3", "0x1F", "010", "1_000", "NaN", "Inf", "-Inf", "1e-7", "1e21",
    "123456789.123", "5m", "90s", "-0", "1e308", ".5", "0.1", "+Inf", "0X_fF", "1.5e-3", "1h30m", "nan", "-2.5",
)  # fmt: skip
RANGES = ("15s", "30s", "45s", "1m", "90s", "2m", "5m", "5m", "7m30s", "10m", "20m", "1500ms", "61s", "1h", "300")
STEPS = ("15s", "30s", "1m", "17s", "7s", "2m", "", "90", "3m20s")
OFFSETS = ("15s", "1m", "-1m", "5m", "-15s", "1ms", "37s", "0s", "1h", "90")
UNALIGNED_OFFSETS = ("10s", "1m", "-1m", "5m", "40s")
REGEXES = ("(.*)", "(.*):(.*)", "a(.*)", "(?P<x>[a-z]+).*", "", ".+", "(a|w)(.)(.)", "[", "n(\\\\d)?.*")
REPLACEMENTS = ("$1", "x-$1", "${1}y", "$x", "$1$2", "", "$$", "$2:$1", "plain", "$9", "$1x")

ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
SETS = ("and", "or", "unless")
TRIMS = ("</", ">/")
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
RANGE_FUNCTIONS = (
    "rate", "rate", "increase", "irate", "idelta", "delta", "deriv", "changes", "resets", "avg_over_time",
    "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "stddev_over_time", "stdvar_over_time",
    "last_over_time", "first_over_time", "present_over_time", "absent_over_time",
)  # fmt: skip
NEWER_RANGE_FUNCTIONS = ("mad_over_time", "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time",
                         "ts_of_min_over_time")  # fmt: skip
NATIVE_RANGE_FUNCTIONS = ("rate", "rate", "increase", "irate", "idelta", "delta", "sum_over_time", "avg_over_time",
                          "last_over_time", "first_over_time")  # fmt: skip
ANCHORED = ("changes", "delta", "increase", "rate", "resets")
SMOOTHED = ("delta", "increase", "rate")
MATH = ("abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "cos", "tan", "asin", "acos",
        "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad")  # fmt: skip
DATES = ("minute", "hour", "month", "year", "day_of_month", "day_of_week", "day_of_year", "days_in_month")
NATIVE_PARTS = ("histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar")
QUANTILES = ("0", "0.5", "0.9", "1", "-1", "1.5", "NaN", "0.25", "0.01", "0.999")
JOINABLE = (
    ("requests_total", "limit", "on (job)", "group_left"),
    ("limit", "requests_total", "on (job)", "group_right"),
    ("temperature", "build_info", "on (job, instance)", "group_left (version)"),
    ("requests_total", "build_info", "on (instance, job)", "group_left (version, code)"),
    ("temperature", "target_info", "ignoring (version, k8s)", ""),
    ("small", "small", "", ""),
    ('requests_total{code="200"}', "requests_total", "ignoring (code)", "group_right"),
    ('requests_total{code="500"}', 'requests_total{code="200"}', "ignoring (code)", ""),
    ("latency_seconds_sum", "latency_seconds_count", "", ""),
    ("temperature", 'limit{job="api"}', "on ()", "group_left"),
    ("temperature", "limit", "on (job)", "group_left (missing)"),
    ("texts", "texts", "on (text)", "group_right (job)"),
    ("odd", "odd", "", ""),
)
NATIVE_JOINABLE = (
    ("duration_seconds", "limit", "on (job)", "group_left"),
    ("duration_seconds", "duration_seconds", "", ""),
    ("duration_seconds", "rescaled_seconds", "on (job)", "group_left"),
    ("custom_seconds", "custom_changing", "on (job)", "group_left"),
    ("custom_seconds", "duration_seconds", "", ""),
    ("duration_seconds", "temperature", "", ""),
    ("blended", "sizes", "", ""),
    ("kinds", "kinds", "", ""),
    ("corners", "corners", "", ""),
    ("sizes", "custom_gauge", "", ""),
    ("rescaled_seconds", "blended", "", ""),
)
TEXTS = ('"text"', "'a\\tb'", "`raw\\n`", '"<&>"', '"\\u00fc\\x41\\101"', "'\\''")
SPARE = (
    "(", ")", "{", "}", "[", "]", "5m", '"', "by", "on", "offset", "@", "-", "=~", ",", "sum", "1", " ", "$", "bool",
    "group_left", "x", "'", "`", ":", "and", "rate(", "ü", "fill(1)", "</", "anchored", "0x", "\\",
)  # fmt: skip
