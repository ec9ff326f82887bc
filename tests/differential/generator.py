"""Random requests for both sides, from one seed.

Expressions are grown by type (scalar, instant vector, vector of histograms, range vector, string) over the metrics of
`data.py`, so that most of them mean something; a share is damaged afterwards, for the texts of errors. A `Dialect`
leaves out what the other side does not know or does in another way. Request n of a seed is the same whatever is asked
before it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.differential import vocabulary as v
from tests.differential.data import END_MS, START_MS

Maker = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What may be asked.

    aligned: times may fall on samples, so that open and closed window ends differ. native: histograms are there.
    features: fill, anchored and smoothed, trim operators.
    """

    aligned: bool = True
    damage: float = 0.08
    experimental: bool = True
    durations: bool = True
    lookback: bool = True
    native: bool = True
    features: bool = True
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    params: tuple[tuple[str, str], ...]
    name: str = ""
    """seed/number."""

    @property
    def query(self) -> str:
        return dict(self.params)["query"]

    @property
    def is_range(self) -> bool:
        return self.path == "query_range"


def requests(seed: int, numbers: Sequence[int], dialect: Dialect) -> Iterator[Request]:
    for number in numbers:
        yield Generator(random.Random(f"{seed}/{number}"), dialect).request(f"{seed}/{number}")


class Generator:
    def __init__(self, rng: random.Random, dialect: Dialect) -> None:
        self.rng = rng
        self.dialect = dialect

    # Requests

    def request(self, name: str) -> Request:
        rng = self.rng
        query = self.expression()
        while any(word in query for word in self.dialect.leave_out):
            query = self.expression()
        if rng.random() < 0.04:
            query = self.respelled(query)
        if rng.random() < self.dialect.damage:
            query = self.damaged(query)
        if rng.random() < 0.45:
            params = [("query", query), ("time", seconds(self.time_ms()))]
        else:
            step = rng.choice((15.0, 30.0, 60.0, 17.0, 60.5, 300.0, 7.5))
            start = self.time_ms()
            end = start + int(step * 1000) * rng.choice((0, 1, 5, 11, 30)) + rng.choice((0, 0, 10, 4000))
            params = [("query", query), ("start", seconds(start)), ("end", seconds(end)), ("step", f"{step:g}")]
        if rng.random() < 0.05 and self.dialect.lookback:
            params.append(("lookback_delta", rng.choice(("1m", "15s", "30.5", "1h"))))
        return Request("query" if params[1][0] == "time" else "query_range", tuple(params), name)

    def time_ms(self) -> int:
        at = self.rng.randrange(START_MS - 120_000, END_MS + 420_000)
        if not self.dialect.aligned:
            return at // 10 * 10 + 3
        return self.rng.choice((at, at // 1000 * 1000, START_MS + (at - START_MS) // 15_000 * 15_000))

    def expression(self) -> str:
        roll = self.rng.random()
        if roll < 0.06:
            return self.scalar(2)
        if roll < 0.09:
            return self.matrix(1)
        if roll < 0.10:
            return self.rng.choice(v.TEXTS)
        depth = self.rng.choice((1, 2, 2, 3))
        if self.dialect.native and roll < 0.22:
            return self.native(depth)
        return self.vector(depth)

    def damaged(self, query: str) -> str:
        rng = self.rng
        at = rng.randrange(len(query))
        kind = rng.randrange(4)
        if kind == 0:
            return query[:at] + query[at + 1 :]
        if kind == 1:
            return query[:at] + rng.choice(v.SPARE) + query[at:]
        if kind == 2:
            return query[:at]
        words = query.split(" ")
        words[rng.randrange(len(words))] = rng.choice(v.SPARE)
        return " ".join(words)

    def respelled(self, query: str) -> str:
        """The same in other letters and blanks, or nearly: functions know only one case."""
        words = query.split(" ")
        at = self.rng.randrange(len(words))
        if self.rng.random() < 0.5:
            words[at] = words[at].upper() if '"' not in words[at] else words[at]
        return self.rng.choice((" ", "  ", "\n", "\t", " # note\n")).join(words)

    # Scalars and strings

    def scalar(self, depth: int) -> str:
        rng = self.rng
        roll = rng.random()
        if depth <= 0 or roll < 0.5:
            return rng.choice(v.NUMBERS)
        if roll < 0.6:
            return rng.choice(("time()", "pi()"))
        if roll < 0.7:
            return f"scalar({self.vector(depth - 1)})"
        if roll < 0.75 and self.dialect.experimental:
            return rng.choice(("start()", "end()", "step()", "range()", f"max_of({self.scalar(0)}, {self.scalar(0)})",
                               f"min_of({self.scalar(0)}, {self.scalar(0)})"))  # fmt: skip
        if roll < 0.8:
            return f"-{self.scalar(depth - 1)}"
        op = rng.choice((*v.ARITHMETIC, *(f"{c} bool" for c in v.COMPARISONS)))
        return f"({self.scalar(depth - 1)} {op} {self.scalar(depth - 1)})"

    def duration(self, depth: int) -> str:
        """Duration arithmetic, as it stands between brackets."""
        rng = self.rng
        roll = rng.random()
        if depth <= 0 or roll < 0.4:
            return rng.choice((*v.RANGES, "step()", "range()", "2", "0.5", "1m", "15s"))
        if roll < 0.5:
            return f"{rng.choice(('min_of', 'max_of'))}({self.duration(depth - 1)}, {self.duration(depth - 1)})"
        if roll < 0.6:
            return f"({self.duration(depth - 1)})"
        if roll < 0.65:
            return f"{rng.choice('+-')}{self.duration(depth - 1)}"
        return f"{self.duration(depth - 1)} {rng.choice('+-*/%^')} {self.duration(depth - 1)}"

    # Selectors and range vectors

    def selector(self, at: bool = True) -> str:
        rng = self.rng
        if self.dialect.native and rng.random() < 0.06:
            text = rng.choice(v.NATIVE)
        elif rng.random() < 0.08:
            text = rng.choice(v.NAME_MATCHERS)
        else:
            text = rng.choice(v.METRICS)
            if rng.random() < 0.35 and not text.endswith("}"):
                text += "{" + ", ".join(rng.sample(v.MATCHERS, rng.choice((1, 1, 2)))) + "}"
        if self.dialect.features and at and rng.random() < 0.03:
            text += " smoothed"
        return text + (self.modifiers() if at else "")

    def modifiers(self) -> str:
        rng = self.rng
        parts = []
        if rng.random() < 0.12:
            parts.append("offset " + self.offset())
        if rng.random() < 0.07:
            at = rng.choice(("start()", "end()", seconds(self.time_ms()), "0", "1700001000.5"))
            parts.append(f"@ {at}")
        rng.shuffle(parts)
        return "".join(f" {p}" for p in parts)

    def offset(self) -> str:
        rng = self.rng
        if self.dialect.durations and rng.random() < 0.2:
            return f"({self.duration(2)})" if rng.random() < 0.7 else rng.choice(("step()", "max_of(step(), 1m)"))
        return rng.choice(v.OFFSETS if self.dialect.aligned else v.UNALIGNED_OFFSETS)

    def range_text(self) -> str:
        rng = self.rng
        if self.dialect.durations and rng.random() < 0.08:
            if rng.random() < 0.5:
                return self.duration(2)
            return rng.choice(("2 * 1m", "1h / 4", "max_of(5m, 2 * step())", "step() + 1m", "-1m + 3m", "2 ^ 6", "0.5",
                               "min_of(range() + 1s, 5m)", "1m - 1m", "1m / 0"))  # fmt: skip
        return rng.choice(v.RANGES if self.dialect.aligned else [r for r in v.RANGES if "500ms" not in r])

    def matrix(self, depth: int, *, native: bool = False, extended: Sequence[str] = ()) -> str:
        """extended: anchored and smoothed, as far as the function around takes them."""
        rng = self.rng
        if depth > 0 and rng.random() < 0.25:
            inner = self.native(depth - 1) if native else self.vector(depth - 1)
            wrapped = f"({inner})" if " " in inner and not inner.endswith(")") else inner
            return f"({wrapped})[{rng.choice(v.RANGES)}:{rng.choice(v.STEPS)}]{self.modifiers()}"
        base = self.native_selector(at=False) if native else self.selector(at=False)
        extension = ""
        if self.dialect.features and rng.random() < (0.25 if extended else 0.01):
            extension = " " + rng.choice(extended or ("anchored", "smoothed"))
        return f"{base}[{self.range_text()}]{extension}{self.modifiers()}"

    # Instant vectors

    def vector(self, depth: int) -> str:
        rng = self.rng
        if depth <= 0:
            return self.selector()
        makers: list[tuple[int, Maker]] = [
            (16, self.range_call), (14, self.aggregation), (12, self.binary), (10, self.joined), (9, self.math),
            (6, self.labels_call), (5, self.classic), (4, self.with_scalar), (4, self.wrapped), (4, self.dates),
            (4, self.sorted), (3, self.absent), (3, lambda _: self.selector()), (2, self.parameter_range),
            (2, self.newer),
        ]  # fmt: skip
        if self.dialect.native:
            makers.append((16, self.of_native))
        (maker,) = rng.choices([m for _, m in makers], [w for w, _ in makers])
        return maker(depth)

    def range_call(self, depth: int, *, native: bool = False) -> str:
        name = self.rng.choice(v.NATIVE_RANGE_FUNCTIONS if native else v.RANGE_FUNCTIONS)
        if self.dialect.experimental and not native and self.rng.random() < 0.15:
            name = self.rng.choice(v.NEWER_RANGE_FUNCTIONS)
        extended = [word for word, names in (("anchored", v.ANCHORED), ("smoothed", v.SMOOTHED)) if name in names]
        return f"{name}({self.matrix(depth, native=native, extended=extended)})"

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
        labels = ", ".join(rng.sample(v.LABELS, rng.choice((0, 1, 1, 2, 3))))
        return f" {rng.choice(('by', 'by', 'without'))} ({labels}) "

    def aggregation(self, depth: int) -> str:
        return self.aggregated(self.vector(depth - 1))

    def aggregated(self, inner: str) -> str:
        rng = self.rng
        grouping, roll = self.grouping(), rng.random()
        if roll < 0.6:
            op, arguments = rng.choice(v.AGGREGATIONS), inner
        elif roll < 0.78:
            count = rng.choice(("1", "2", "3", "0", "-1", "2.7", "100"))
            op, arguments = rng.choice(("topk", "bottomk")), f"{count}, {inner}"
            if rng.random() < 0.1:
                arguments = f"{self.scalar(1)}, {inner}"
        elif roll < 0.88:
            op, arguments = "quantile", f"{rng.choice(v.QUANTILES)}, {inner}"
        elif roll < 0.95 or not self.dialect.experimental:
            op, arguments = "count_values", f'"{rng.choice(("value", "job", "bad name", "", "v"))}", {inner}'
        else:
            op = rng.choice(("limitk", "limit_ratio"))
            arguments = f"{rng.choice(('1', '2', '0.5', '-0.3', '0', '3', '1.5', '-7'))}, {inner}"
        return f"{op}{grouping}({arguments})" if rng.random() < 0.7 else f"{op}({arguments}){grouping}"

    def operator(self, group: str, *, trims: bool = False) -> str:
        rng = self.rng
        op = rng.choice((*v.ARITHMETIC, *v.COMPARISONS, *(() if group else v.SETS), *(v.TRIMS * 2 if trims else ())))
        return op + " bool" if op in v.COMPARISONS and rng.random() < 0.4 else op

    def fill(self, op: str) -> str:
        rng = self.rng
        if not self.dialect.features or op in v.SETS or rng.random() > 0.2:
            return ""
        value = rng.choice(("0", "-1", "NaN", "2.5", "5m", "+3"))
        return rng.choice((f" fill ({value})", f" fill_left({value})", f" fill_right ({value})",
                           f" fill_left ({value}) fill_right(7)"))  # fmt: skip

    def binary(self, depth: int) -> str:
        rng = self.rng
        left, right = self.vector(depth - 1), self.vector(depth - 1)
        op, matching = self.operator(""), ""
        if rng.random() < 0.3:
            op = rng.choice(v.SETS)
        if rng.random() < 0.12:
            labels = ", ".join(rng.sample(v.LABELS, rng.choice((0, 1, 2))))
            matching = f" {rng.choice(('on', 'ignoring', 'ignoring'))} ({labels})"
            if op not in v.SETS and rng.random() < 0.3:
                include = rng.choice((" ", " (version) ", " () ", ' (job, "label.name") '))
                matching += f" {rng.choice(('group_left', 'group_right'))}{include}"
        return f"({left} {op}{matching}{self.fill(op)} {right})"

    def joined(self, depth: int) -> str:
        return self.join(self.rng.choice(v.JOINABLE))

    def join(self, parts: tuple[str, str, str, str], *, trims: bool = False) -> str:
        rng = self.rng
        left, right, matching, group = parts
        op = self.operator(group, trims=trims)
        if rng.random() < 0.5:
            left += self.modifiers()
            right += self.modifiers()
        if rng.random() < 0.01:
            left, right = right, left
        return f"({left} {op} {matching} {group}{self.fill(op)} {right})"

    def with_scalar(self, depth: int) -> str:
        pair = [self.vector(depth - 1), self.scalar(1)]
        self.rng.shuffle(pair)
        return f"({pair[0]} {self.operator('set')} {pair[1]})"

    def math(self, depth: int) -> str:
        rng = self.rng
        inner, roll = self.vector(depth - 1), rng.random()
        if roll < 0.6:
            return f"{rng.choice(v.MATH)}({inner})"
        if roll < 0.75:
            return f"clamp({inner}, {self.scalar(0)}, {self.scalar(0)})"
        if roll < 0.85:
            return f"{rng.choice(('clamp_min', 'clamp_max'))}({inner}, {self.scalar(1)})"
        return f"round({inner}{rng.choice(('', f', {self.scalar(0)}'))})"

    def labels_call(self, depth: int, *, native: bool = False) -> str:
        rng = self.rng
        inner = self.native(depth - 1) if native else self.vector(depth - 1)
        target = rng.choice(("job", "new", "instance", "__name__", "bad name", "copy"))
        if rng.random() < 0.6:
            source = rng.choice(("job", "instance", "missing", "__name__", "label.name"))
            return (
                f'label_replace({inner}, "{target}", "{rng.choice(v.REPLACEMENTS)}", "{source}", '
                f'"{rng.choice(v.REGEXES)}")'
            )
        names = rng.sample(('"job"', '"instance"', '"missing"', '"code"'), rng.randrange(3))
        sources = "".join(f", {name}" for name in names)
        return f'label_join({inner}, "{target}", "{rng.choice(("-", "", "::"))}"{sources})'

    def classic(self, depth: int) -> str:
        """Functions of histograms over classic buckets."""
        rng = self.rng
        buckets = rng.choice((
            'latency_seconds_bucket{job!="falling"}', 'rate(latency_seconds_bucket{job!="falling"}[5m])',
            'latency_seconds_bucket{job="good"}', 'latency_seconds_bucket{job=~"[a-f].*"}',
            'sum by (job, le) (latency_seconds_bucket{job!="falling"})',
            'sum by (le) (rate(latency_seconds_bucket{job!="falling"}[5m]))',
            'latency_seconds_bucket{job!~"bad|nole"}', "small", self.vector(depth - 1),
            'rate({__name__=~"both_seconds(_bucket)?"}[5m])',
        ))  # fmt: skip
        return self.of_buckets(buckets)

    def of_buckets(self, buckets: str) -> str:
        rng = self.rng
        roll = rng.random()
        if roll < 0.6 or not self.dialect.experimental:
            return f"histogram_quantile({rng.choice((*v.QUANTILES, self.scalar(1)))}, {buckets})"
        if roll < 0.9:
            return f"histogram_fraction({self.scalar(0)}, {self.scalar(0)}, {buckets})"
        if "latency" in buckets:
            buckets = (
                'latency_seconds_bucket{job!="twice"}'  # Prometheus spoils double buckets after the first quantile
            )
        return (
            f'histogram_quantiles({buckets}, "{rng.choice(("q", "job"))}", 0.5, 0.9{rng.choice(("", ", 1", ", -1"))})'
        )

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
        name = rng.choice(v.DATES)
        if rng.random() < 0.3:
            return f"{name}()"
        return f"{name}({self.vector(depth - 1)} * {rng.choice(('1', '1e6', '-1e7', '1e12'))})"

    def sorted(self, depth: int) -> str:
        rng = self.rng
        inner = self.vector(depth - 1)
        if self.dialect.experimental and rng.random() < 0.5:
            name = rng.choice(("sort_by_label", "sort_by_label_desc"))
            chosen = rng.sample(('"i"', '"job"', '"instance"', '"missing"'), rng.choice((1, 2)))
            return f"{name}({inner}, {', '.join(chosen)})"
        return f"{rng.choice(('sort', 'sort_desc'))}({inner})"

    def absent(self, depth: int) -> str:
        return self.rng.choice((
            f"absent({self.vector(depth - 1)})", f"absent({self.selector()})",
            'absent(nothing{a="b", job=~"x", c="d"})', f"absent_over_time({self.matrix(depth - 1)})",
        ))  # fmt: skip

    def newer(self, depth: int) -> str:
        if not self.dialect.experimental:
            return self.selector()
        return self.rng.choice((
            "info(requests_total)", 'info(temperature, {version=~".+"})', 'info(requests_total, {k8s=~".*"})',
            'info(limit, {__name__="build_info"})', 'info(temperature, {__name__=~".+_info", k8s="yes"})',
            'info(requests_total, {version!="1"})', f"info({self.vector(depth - 1)})",
            f"start_timestamp({self.selector()})",
        ))  # fmt: skip

    # Vectors of native histograms

    def native_selector(self, at: bool = True) -> str:
        rng = self.rng
        text = rng.choice(v.NATIVE)
        labels = v.NATIVE_LABELS.get(text, ("job",) if text != "corners" else ())
        if labels and rng.random() < 0.3:
            value = {"job": ("api", "web"), "instance": ("a:1", "b:1"), "kind": ("float", "wide", "nansum", "fine")}
            label = rng.choice(labels)
            text += f'{{{label}{rng.choice(("=", "!="))}"{rng.choice(value[label])}"}}'
        if self.dialect.features and at and rng.random() < 0.03:
            text += " smoothed"
        return text + (self.modifiers() if at else "")

    def native(self, depth: int) -> str:
        """An expression whose elements are histograms, as far as that can be known."""
        rng = self.rng
        if depth <= 0:
            return self.native_selector()

        def inner(depth: int) -> str:
            return self.native(depth - 1)

        makers: tuple[tuple[int, Maker], ...] = (
            (12, lambda depth: self.range_call(depth, native=True)),
            (8, lambda depth: f"{rng.choice(('sum', 'sum', 'avg'))}{self.grouping()}({inner(depth)})"),
            (3, lambda depth: self.aggregated(inner(depth))),
            (8, lambda depth: self.join(rng.choice(v.NATIVE_JOINABLE), trims=self.dialect.features)),
            (4, self.native_scaled), (3, self.native_trimmed), (2, lambda depth: f"-({inner(depth)})"),
            (2, lambda depth: self.labels_call(depth, native=True)), (3, self.native_pair),
            (3, lambda depth: self.native_selector()),
        )  # fmt: skip
        (maker,) = rng.choices([m for _, m in makers], [w for w, _ in makers])
        return maker(depth)

    def native_scaled(self, depth: int) -> str:
        op = self.rng.choice(("*", "/", "*", "/", *v.ARITHMETIC, *v.COMPARISONS))
        pair = [self.native(depth - 1), self.scalar(1)]
        if self.rng.random() < 0.3:
            pair.reverse()
        return f"({pair[0]} {op} {pair[1]})"

    def native_trimmed(self, depth: int) -> str:
        inner = self.native(depth - 1)
        if not self.dialect.features:
            return inner
        bound = self.rng.choice((*v.NUMBERS, "0.7", "1.5", "-0.2", "2.5", "10", self.scalar(1)))
        return f"({inner} {self.rng.choice(v.TRIMS)} {bound})"

    def native_pair(self, depth: int) -> str:
        rng = self.rng
        op = rng.choice(("+", "-", "+", "-", "==", "!=", "== bool", *v.ARITHMETIC, *v.SETS, *v.TRIMS))
        matching = rng.choice(("", "", " on (job)", " on (job) group_left", " ignoring (instance) group_right"))
        if op in v.SETS:
            matching = matching.split(" group")[0]
        return f"({self.native(depth - 1)} {op}{matching}{self.fill(op)} {self.native(depth - 1)})"

    def of_native(self, depth: int) -> str:
        """A vector of floats that a function or aggregation makes of histograms."""
        rng = self.rng
        inner, roll = self.native(depth - 1), rng.random()
        if roll < 0.25:
            return f"{rng.choice(v.NATIVE_PARTS)}({inner})"
        if roll < 0.6:
            return self.of_buckets(inner)
        if roll < 0.75:
            return self.aggregated(inner)
        if roll < 0.9:
            name = rng.choice((*v.RANGE_FUNCTIONS, *(v.NEWER_RANGE_FUNCTIONS if self.dialect.experimental else ())))
            return f"{name}({self.matrix(depth - 1, native=True)})"
        name = rng.choice(("absent", "timestamp", "abs", "ceil", "sort", "year", "sgn", "histogram_count", "-"))
        return f"{name}({inner})"


def seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}" if ms % 1000 else str(ms // 1000)
