"""Random requests for both sides, from one seed.

Expressions are grown by type (scalar, instant vector, range vector, string) over the metrics of `data.py`, so that most
of them mean something; a share is damaged afterwards, for the texts of errors. A `Dialect` leaves out what the other
side does not know or does in another way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.differential.data import END_MS, START_MS


@dataclass(frozen=True, slots=True)
class Dialect:
    """What may be asked. `aligned`: times may fall on samples, so that open and closed window ends differ."""

    aligned: bool = True
    damage: float = 0.08
    experimental: bool = True
    durations: bool = True
    lookback: bool = True
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    params: tuple[tuple[str, str], ...]

    @property
    def query(self) -> str:
        return dict(self.params)["query"]


METRICS = (
    "requests_total", "requests_total", "temperature", "temperature", "limit", "small", "odd", "huge", "cancelling",
    "latency_seconds_bucket", "latency_seconds_count", "latency_seconds_sum", "sparse", "short", "single", "late",
    "stepping", "uneven", "texts", '{"my.metric"}', "target_info", "build_info", "nothing",
)  # fmt: skip
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
)  # fmt: skip
NAME_MATCHERS = (
    '{__name__=~"latency_.*"}', '{__name__=~"requests_total|limit"}', '{job="api"}', '{__name__="small"}',
    '{"small", half="1"}', '{__name__=~".*_info", job="api"}', '{__name__!~".*_.*", job="web"}',
)  # fmt: skip
NUMBERS = ("0", "1", "2", "-1", "0.5", "3.25", "1e3", "0x1F", "010", "1_000", "NaN", "Inf", "-Inf", "1e-7", "1e21",
           "123456789.123", "5m", "90s", "-0", "1e308", ".5", "0.1")  # fmt: skip
RANGES = ("15s", "30s", "45s", "1m", "90s", "2m", "5m", "5m", "7m30s", "10m", "20m", "1500ms", "61s", "1h", "300")
STEPS = ("15s", "30s", "1m", "17s", "7s", "2m", "", "90", "3m20s")
OFFSETS = ("15s", "1m", "-1m", "5m", "-15s", "1ms", "37s", "0s", "1h", "90")
REGEXES = ("(.*)", "(.*):(.*)", "a(.*)", "(?P<x>[a-z]+).*", "", ".+", "(a|w)(.)(.)", "[", "n(\\\\d)?.*")
REPLACEMENTS = ("$1", "x-$1", "${1}y", "$x", "$1$2", "", "$$", "$2:$1", "plain", "$9", "$1x")

ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
SETS = ("and", "or", "unless")
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
RANGE_FUNCTIONS = (
    "rate", "rate", "increase", "irate", "idelta", "delta", "deriv", "changes", "resets", "avg_over_time",
    "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "stddev_over_time", "stdvar_over_time",
    "last_over_time", "first_over_time", "present_over_time", "absent_over_time",
)  # fmt: skip
NEWER_RANGE_FUNCTIONS = ("mad_over_time", "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time",
                         "ts_of_min_over_time")  # fmt: skip
MATH = ("abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "cos", "tan", "asin", "acos",
        "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad")  # fmt: skip
DATES = ("minute", "hour", "month", "year", "day_of_month", "day_of_week", "day_of_year", "days_in_month")
JOINABLE = (
    ("requests_total", "limit", "on (job)", "group_left"),
    ("limit", "requests_total", "on (job)", "group_right"),
    ("temperature", "build_info", "on (job, instance)", "group_left (version)"),
    ("requests_total", "build_info", "on (instance, job)", "group_left (version, code)"),
    ("temperature", "target_info", "ignoring (version, k8s)", ""),
    ("small", "small", "", ""),
    ("requests_total", "requests_total", "ignoring (code)", ""),
    ('requests_total{code="500"}', 'requests_total{code="200"}', "ignoring (code)", ""),
    ("latency_seconds_sum", "latency_seconds_count", "", ""),
    ("temperature", "limit", "on ()", ""),
    ("temperature", "limit", "on (job)", "group_left (missing)"),
    ("texts", "texts", "on (text)", "group_right (job)"),
    ("odd", "odd", "", ""),
)


class Generator:
    def __init__(self, seed: int, dialect: Dialect) -> None:
        self.rng = random.Random(seed)
        self.dialect = dialect

    # Requests

    def request(self) -> Request:
        rng = self.rng
        query = self.expression()
        while any(word in query for word in self.dialect.leave_out):
            query = self.expression()
        if rng.random() < self.dialect.damage:
            query = self.damaged(query)
        if rng.random() < 0.45:
            params = [("query", query), ("time", self.time_text())]
        else:
            step = rng.choice((15.0, 30.0, 60.0, 17.0, 60.5, 300.0, 7.5))
            start = self.time_ms()
            end = start + int(step * 1000) * rng.choice((0, 1, 5, 11, 30)) + rng.choice((0, 0, 10, 4000))
            params = [("query", query), ("start", seconds(start)), ("end", seconds(end)), ("step", f"{step:g}")]
        if rng.random() < 0.05 and self.dialect.lookback:
            params.append(("lookback_delta", rng.choice(("1m", "15s", "30.5", "1h"))))
        return Request("query" if params[1][0] == "time" else "query_range", tuple(params))

    def time_ms(self) -> int:
        at = self.rng.randrange(START_MS - 120_000, END_MS + 420_000)
        if not self.dialect.aligned:
            return at // 10 * 10 + 3
        return self.rng.choice((at, at // 1000 * 1000, START_MS + (at - START_MS) // 15_000 * 15_000))

    def time_text(self) -> str:
        return seconds(self.time_ms())

    def expression(self) -> str:
        roll = self.rng.random()
        if roll < 0.06:
            return self.scalar(2)
        if roll < 0.09:
            return self.matrix(1)
        if roll < 0.10:
            return self.rng.choice(('"text"', "'a\\tb'", "`raw\\n`", '"<&>"'))
        return self.vector(self.rng.choice((1, 2, 2, 3)))

    def damaged(self, query: str) -> str:
        rng = self.rng
        at = rng.randrange(len(query))
        spare = ("(", ")", "{", "}", "[", "]", "5m", '"', "by", "on", "offset", "@", "-", "=~", ",", "sum", "1", " ",
                 "$", "bool", "group_left", "x", "'", "`", ":", "and", "rate(", "ü")  # fmt: skip
        kind = rng.randrange(4)
        if kind == 0:
            return query[:at] + query[at + 1 :]
        if kind == 1:
            return query[:at] + rng.choice(spare) + query[at:]
        if kind == 2:
            return query[:at]
        words = query.split(" ")
        words[rng.randrange(len(words))] = rng.choice(spare)
        return " ".join(words)

    # Types

    def scalar(self, depth: int) -> str:
        rng = self.rng
        roll = rng.random()
        if depth <= 0 or roll < 0.5:
            return rng.choice(NUMBERS)
        if roll < 0.6:
            return rng.choice(("time()", "pi()"))
        if roll < 0.7:
            return f"scalar({self.vector(depth - 1)})"
        if roll < 0.75 and self.dialect.experimental:
            return rng.choice(("start()", "end()", "step()", "range()", f"max_of({self.scalar(0)}, {self.scalar(0)})",
                               f"min_of({self.scalar(0)}, {self.scalar(0)})"))  # fmt: skip
        if roll < 0.8:
            return f"-{self.scalar(depth - 1)}"
        op = rng.choice((*ARITHMETIC, *(f"{c} bool" for c in COMPARISONS)))
        return f"({self.scalar(depth - 1)} {op} {self.scalar(depth - 1)})"

    def vector(self, depth: int) -> str:
        rng = self.rng
        if depth <= 0:
            return self.selector()
        makers: Sequence[tuple[int, Callable[[int], str]]] = (
            (16, self.range_call), (14, self.aggregation), (12, self.binary), (10, self.joined), (9, self.math),
            (6, self.labels_call), (5, self.histogram), (4, self.with_scalar), (4, self.wrapped), (4, self.dates),
            (4, self.sorted), (3, self.absent), (3, lambda _: self.selector()), (2, self.parameter_range),
            (2, self.newer),
        )  # fmt: skip
        (maker,) = rng.choices([m for _, m in makers], [w for w, _ in makers])
        return maker(depth)

    def selector(self, at: bool = True) -> str:
        rng = self.rng
        if rng.random() < 0.08:
            text = rng.choice(NAME_MATCHERS)
        else:
            text = rng.choice(METRICS)
            if rng.random() < 0.35 and not text.endswith("}"):
                text += "{" + ", ".join(rng.sample(MATCHERS, rng.choice((1, 1, 2)))) + "}"
        return text + (self.modifiers() if at else "")

    def modifiers(self) -> str:
        rng = self.rng
        parts = []
        if rng.random() < 0.12:
            parts.append("offset " + self.offset())
        if rng.random() < 0.07:
            at = rng.choice(("start()", "end()", self.time_text(), "0", "1700001000.5"))
            parts.append(f"@ {at}")
        rng.shuffle(parts)
        return "".join(f" {p}" for p in parts)

    def offset(self) -> str:
        rng = self.rng
        if self.dialect.durations and rng.random() < 0.15:
            return rng.choice(("(1m + 30s)", "-(2 * 15s)", "(5m / 2)", "step()", "max_of(step(), 1m)", "(10 % 7)"))
        return rng.choice(OFFSETS if self.dialect.aligned else ("10s", "1m", "-1m", "5m", "40s"))

    def range_text(self) -> str:
        rng = self.rng
        if self.dialect.durations and rng.random() < 0.06:
            return rng.choice(("2 * 1m", "1h / 4", "max_of(5m, 2 * step())", "step() + 1m", "-1m + 3m", "2 ^ 6", "0.5",
                               "min_of(range() + 1s, 5m)", "1m - 1m", "1m / 0"))  # fmt: skip
        return rng.choice(RANGES if self.dialect.aligned else [r for r in RANGES if "500ms" not in r])

    def matrix(self, depth: int) -> str:
        rng = self.rng
        if depth > 0 and rng.random() < 0.25:
            inner = self.vector(depth - 1)
            wrapped = f"({inner})" if " " in inner and not inner.endswith(")") else inner
            return f"({wrapped})[{rng.choice(RANGES)}:{rng.choice(STEPS)}]{self.modifiers()}"
        base = self.selector(at=False)
        return f"{base}[{self.range_text()}]{self.modifiers()}"

    # Instant vectors

    def range_call(self, depth: int) -> str:
        names = RANGE_FUNCTIONS
        if self.dialect.experimental and self.rng.random() < 0.15:
            names = NEWER_RANGE_FUNCTIONS
        return f"{self.rng.choice(names)}({self.matrix(depth)})"

    def parameter_range(self, depth: int) -> str:
        rng = self.rng
        inner = self.matrix(depth)
        while "@" in inner:  # Prometheus loses the samples of a pinned subquery that it has to look at again
            inner = self.matrix(depth)
        choices = [f"quantile_over_time({self.scalar(1)}, {inner})", f"predict_linear({inner}, {self.scalar(1)})"]
        if self.dialect.experimental:
            factors = rng.choice(("0.5, 0.5", "0.1, 0.9", "0, 0.5", f"{self.scalar(1)}, 0.3"))
            choices.append(f"double_exponential_smoothing({inner}, {factors})")
        return rng.choice(choices)

    def grouping(self) -> str:
        rng = self.rng
        if rng.random() < 0.3:
            return ""
        labels = ", ".join(rng.sample(LABELS, rng.choice((0, 1, 1, 2, 3))))
        return f" {rng.choice(('by', 'by', 'without'))} ({labels}) "

    def aggregation(self, depth: int) -> str:
        rng = self.rng
        inner, grouping, roll = self.vector(depth - 1), self.grouping(), rng.random()
        if roll < 0.6:
            op, arguments = rng.choice(AGGREGATIONS), inner
        elif roll < 0.78:
            op, arguments = (
                rng.choice(("topk", "bottomk")),
                f"{rng.choice(('1', '2', '3', '0', '-1', '2.7', '100'))}, {inner}",
            )
            if rng.random() < 0.1:
                arguments = f"{self.scalar(1)}, {inner}"
        elif roll < 0.88:
            op, arguments = "quantile", f"{rng.choice(('0', '0.5', '0.9', '1', '-1', '2', 'NaN', '0.25'))}, {inner}"
        elif roll < 0.95 or not self.dialect.experimental:
            op, arguments = "count_values", f'"{rng.choice(("value", "job", "bad name", "", "v"))}", {inner}'
        else:
            op = rng.choice(("limitk", "limit_ratio"))
            arguments = f"{rng.choice(('1', '2', '0.5', '-0.3', '0', '3'))}, {inner}"
        return f"{op}{grouping}({arguments})" if rng.random() < 0.7 else f"{op}({arguments}){grouping}"

    def binary(self, depth: int) -> str:
        rng = self.rng
        left, right = self.vector(depth - 1), self.vector(depth - 1)
        op, matching = rng.choice((*ARITHMETIC, *COMPARISONS, *SETS, *SETS)), ""
        if rng.random() < 0.5:
            labels = ", ".join(rng.sample(LABELS, rng.choice((0, 1, 2))))
            matching = f" {rng.choice(('on', 'ignoring'))} ({labels})"
            if op not in SETS and rng.random() < 0.3:
                matching += f" {rng.choice(('group_left', 'group_right'))}{rng.choice((' ', ' (version) ', ' () '))}"
        if op in COMPARISONS and rng.random() < 0.4:
            op += " bool"
        return f"({left} {op}{matching} {right})"

    def joined(self, depth: int) -> str:
        rng = self.rng
        left, right, matching, group = rng.choice(JOINABLE)
        op = rng.choice((*ARITHMETIC, *COMPARISONS, *(() if group else SETS)))
        if op in COMPARISONS and rng.random() < 0.5:
            op += " bool"
        if rng.random() < 0.5:
            left += self.modifiers()
            right += self.modifiers()
        if rng.random() < 0.15:
            left, right = right, left
        return f"({left} {op} {matching} {group} {right})"

    def with_scalar(self, depth: int) -> str:
        rng = self.rng
        op = rng.choice((*ARITHMETIC, *COMPARISONS))
        if op in COMPARISONS and rng.random() < 0.4:
            op += " bool"
        pair = [self.vector(depth - 1), self.scalar(1)]
        rng.shuffle(pair)
        return f"({pair[0]} {op} {pair[1]})"

    def math(self, depth: int) -> str:
        rng = self.rng
        inner, roll = self.vector(depth - 1), rng.random()
        if roll < 0.6:
            return f"{rng.choice(MATH)}({inner})"
        if roll < 0.75:
            return f"clamp({inner}, {self.scalar(0)}, {self.scalar(0)})"
        if roll < 0.85:
            return f"{rng.choice(('clamp_min', 'clamp_max'))}({inner}, {self.scalar(1)})"
        return f"round({inner}{rng.choice(('', ', 0.1', ', 5', ', 0', ', -2', ', NaN', ', 1e-3'))})"

    def labels_call(self, depth: int) -> str:
        rng = self.rng
        inner = self.vector(depth - 1)
        target = rng.choice(("job", "new", "instance", "__name__", "label.name", "", "le"))
        source = rng.choice(("job", "instance", "__name__", "missing", "text", "label.name"))
        if rng.random() < 0.65:
            replacement, regex = rng.choice(REPLACEMENTS), rng.choice(REGEXES)
            return f'label_replace({inner}, "{target}", "{replacement}", "{source}", "{regex}")'
        sources = "".join(
            f', "{rng.choice(("job", "instance", "missing", "code", "__name__"))}"' for _ in range(rng.randrange(4))
        )
        return f'label_join({inner}, "{target}", "{rng.choice(("-", "", ", "))}"{sources})'

    def histogram(self, depth: int) -> str:
        rng = self.rng
        buckets = rng.choice((
            "latency_seconds_bucket", "rate(latency_seconds_bucket[5m])", "sum by (le) (latency_seconds_bucket)",
            "sum by (job, le) (increase(latency_seconds_bucket[2m]))", self.vector(depth - 1),
            'latency_seconds_bucket{job=~"good|negative"}', "latency_seconds_bucket" + self.modifiers(),
        ))  # fmt: skip
        roll = rng.random()
        if roll < 0.7 or not self.dialect.experimental:
            quantile = rng.choice(("0.5", "0.9", "0", "1", "-1", "1.5", "NaN", "0.25", self.scalar(1)))
            return f"histogram_quantile({quantile}, {buckets})"
        if roll < 0.9:
            return f"histogram_fraction({self.scalar(0)}, {self.scalar(0)}, {buckets})"
        buckets = 'latency_seconds_bucket{job!="twice"}'  # Prometheus spoils double buckets after the first quantile
        return f'histogram_quantiles({buckets}, "q", 0.5, 0.9{rng.choice(("", ", 1", ", -1"))})'

    def wrapped(self, depth: int) -> str:
        rng = self.rng
        roll = rng.random()
        if roll < 0.3:
            return f"vector({self.scalar(depth)})"
        if roll < 0.6:
            return f"-({self.vector(depth - 1)})"
        if roll < 0.8:
            return f"timestamp({self.vector(depth - 1)})"
        return f"({self.vector(depth - 1)})"

    def dates(self, depth: int) -> str:
        rng = self.rng
        name = rng.choice(DATES)
        return (
            f"{name}()"
            if rng.random() < 0.3
            else f"{name}({self.vector(depth - 1)} * {rng.choice(('1', '1e6', '-1e7', '1e12'))})"
        )

    def sorted(self, depth: int) -> str:
        rng = self.rng
        if self.dialect.experimental and rng.random() < 0.5:
            name = rng.choice(("sort_by_label", "sort_by_label_desc"))
            labels = ", ".join(
                f'"{name}"' for name in rng.sample(("i", "job", "instance", "missing"), rng.choice((1, 2)))
            )
            return f"{name}({self.vector(depth - 1)}, {labels})"
        return f"{rng.choice(('sort', 'sort_desc'))}({self.vector(depth - 1)})"

    def absent(self, depth: int) -> str:
        rng = self.rng
        return rng.choice((
            f"absent({self.vector(depth - 1)})", f"absent({self.selector()})",
            'absent(nothing{a="b", job=~"x", c="d"})', f"absent_over_time({self.matrix(depth - 1)})",
        ))  # fmt: skip

    def newer(self, depth: int) -> str:
        if not self.dialect.experimental:
            return self.selector()
        return self.rng.choice(("info(requests_total)", 'info(temperature, {version=~".+"})',
                                "info(rate(requests_total[5m]))", 'info(limit, {__name__="build_info"})',
                                f"info({self.vector(depth - 1)})"))  # fmt: skip


def seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}" if ms % 1000 else str(ms // 1000)
