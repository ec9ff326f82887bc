"""Random series and random PromQL over them, for comparison with Debian's Prometheus (2.42).

The language is that part on which 2.42 and the reference for our engine agree. Left out, because they differ: rate and
increase where a window meets the beginning of a series, windows with a sample exactly on their open end (sample times
have odd milliseconds, ranges of subqueries half seconds), averages (rounded otherwise, and in another order),
deviations of a single NaN or infinity, names after atan2, a pinned predict_linear in a range query, ties in topk.
Values are binary fractions, so that sums are exact in any order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

START_MS = 1_700_000_000_000
SPAN_S = 1200
INTERVAL_MS = 15_000

Series = tuple[dict[str, str], list[tuple[int, float]]]

_SELECTORS = (
    "requests_total", 'requests_total{code="200"}', 'requests_total{job="a"}', 'requests_total{code=~"4..|5.."}',
    "up", "temperature", 'temperature{zone="1"}', "queue", 'queue{job!="a"}', "weird", 'latency_bucket{job="a"}',
    "version", "nothing", '{job="b",instance="x"}', 'temperature{instance=~"x|y"}',
)  # fmt: skip
_LABELS = ("job", "instance", "code", "zone", "le", "version", "absent")
_RANGE_FUNCTIONS = (
    "delta", "irate", "idelta", "changes", "resets", "deriv", "sum_over_time", "min_over_time",
    "max_over_time", "count_over_time", "last_over_time", "present_over_time", "absent_over_time",
)  # fmt: skip
_MATH = (
    "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "cos", "tan", "atan", "deg", "rad",
    "timestamp", "day_of_week", "hour", "minute", "month", "year", "day_of_year", "days_in_month", "day_of_month",
    "absent", "sort", "-",
)  # fmt: skip
_OPERATORS = ("+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "> bool", "== bool")


def make_series(rng: random.Random) -> list[Series]:
    """About seventy series of gauges, counters with resets, classic buckets and oddities, with gaps."""
    rows: list[Series] = []

    def add(name: str, labels: dict[str, str], value: Callable[[], float], gaps: float = 0.0) -> None:
        offset = rng.randint(0, 13) * 1000 + rng.randint(1, 999)
        points = [(START_MS + i * INTERVAL_MS + offset, value()) for i in range(SPAN_S * 1000 // INTERVAL_MS)]
        rows.append(({"__name__": name, **labels}, [p for p in points if rng.random() >= gaps]))

    for job in "abc":
        for instance in "xyz":
            where = {"job": job, "instance": instance}
            for code in ("200", "404", "500"):
                add("requests_total", {**where, "code": code}, _counter(rng), gaps=0.1)
            add("up", where, lambda: float(rng.random() < 0.9), gaps=0.05)
            add("temperature", {**where, "zone": rng.choice("12")}, lambda: rng.randint(-200, 200) / 4, gaps=0.15)
            add("queue", where, lambda: float(rng.randint(0, 5)), gaps=0.3)
        for rank, bound in enumerate(("0.1", "0.5", "1", "5", "+Inf")):
            add("latency_bucket", {"job": job, "le": bound}, _counter(rng, resets=0.0, step=rank + 1))
        add("version", {"job": job, "version": f"1.{job}"}, lambda: 1.0)
    for job in "ab":
        add("weird", {"job": job}, lambda: rng.choice([math.nan, math.inf, -math.inf, rng.randint(-36, 36) / 4]))
    return rows


def _counter(rng: random.Random, resets: float = 0.03, step: int = 20) -> Callable[[], float]:
    value = 0.0

    def following() -> float:
        nonlocal value
        value = rng.random() if rng.random() < resets else value + rng.randint(0, step)
        return value

    return following


class QueryMaker:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def vector(self, depth: int) -> str:
        """An expression whose type is instant vector."""
        if depth <= 0:
            return self._selector() if self._chance(0.7) else self._range_call(0)
        kinds = (self._range_call, self._aggregation, self._selection, self._binary, self._set, self._math, self._other)
        return self._rng.choices(kinds, weights=(20, 25, 6, 20, 8, 11, 10))[0](depth)

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _seconds(self, low: int, high: int) -> str:
        return f"{self._rng.randint(low, high)}s"

    def _labels(self, count: int | None = None) -> str:
        return ", ".join(self._rng.sample(_LABELS, self._rng.randint(0, 2) if count is None else count))

    def _modifiers(self) -> str:
        moment = f" @ {START_MS // 1000 + self._rng.randint(0, SPAN_S)}.{self._rng.randint(0, 999):03d}"
        offset = f" offset {self._rng.choice(['', '-'])}{self._seconds(1, 200)}"
        return self._rng.choices(("", offset, moment, " @ start()", " @ end()"), weights=(76, 12, 8, 2, 2))[0]

    def _selector(self) -> str:
        return self._rng.choice(_SELECTORS) + self._modifiers()

    def _matrix(self, depth: int) -> str:
        if depth <= 0 or self._chance(0.75):
            return f"{self._rng.choice(_SELECTORS)}[{self._seconds(17, 400)}]{self._modifiers()}"
        step = self._rng.choice(("7s", "11s", "13s", "30s", "60s"))
        return f"({self.vector(depth - 1)})[{self._seconds(100, 400)}500ms:{step}]{self._modifiers()}"

    def _scalar(self, depth: int) -> str:
        if depth <= 0 or self._chance(0.5):
            return self._rng.choice(("1", "2", "0.5", "-3", "10", "100", "0", "NaN", "Inf", "time()"))
        if self._chance(0.5):
            return f"scalar({self.vector(depth - 1)})"
        return f"({self._scalar(depth - 1)} {self._rng.choice('+-*/%^')} {self._scalar(depth - 1)})"

    def _range_call(self, depth: int) -> str:
        if self._chance(0.1):
            return f"quantile_over_time({self._rng.choice(('0.5', '0.9', '-1', '2', '0', '1'))}, {self._matrix(depth)})"
        if self._chance(0.06):
            range_ = f"{self._rng.choice(_SELECTORS)}[{self._seconds(17, 400)}]"
            return f"predict_linear({range_}, {self._scalar(0)})"
        return f"{self._rng.choice(_RANGE_FUNCTIONS)}({self._matrix(depth)})"

    def _grouping(self) -> str:
        return self._rng.choice(("", f"by ({self._labels()}) ", f"without ({self._labels()}) "))

    def _aggregation(self, depth: int) -> str:
        operator = self._rng.choice(("sum", "sum", "min", "max", "count", "group"))
        return f"{operator} {self._grouping()}({self.vector(depth - 1)})"

    def _selection(self, depth: int) -> str:
        if self._chance(0.5):
            return f"quantile {self._grouping()}({self._rng.choice(('0.5', '0.1', '1.5'))}, {self.vector(depth - 1)})"
        return f'count_values {self._grouping()}("value", round({self.vector(depth - 1)}))'

    def _binary(self, depth: int) -> str:
        operator = self._rng.choice(_OPERATORS)
        left = self.vector(depth - 1)
        if self._chance(0.3):
            operands = (left, self._scalar(depth - 1))
            first, second = operands if self._chance(0.5) else reversed(operands)
            return f"({first} {operator} {second})"
        matching = self._rng.choice(
            (
                "",
                f" on ({self._labels()})",
                f" ignoring ({self._labels()})",
                f" on ({self._labels(1)}) group_left ({self._rng.choice(('', 'version', 'zone'))})",
                f" on ({self._labels(1)}) group_right ()",
                f" ignoring ({self._labels(2)}) group_left ()",
            )
        )
        right = left if self._chance(0.4) else self.vector(depth - 1)
        return f"({left} {operator}{matching} {right})"

    def _set(self, depth: int) -> str:
        matching = self._rng.choice(("", f" on ({self._labels()})", f" ignoring ({self._labels()})"))
        operator = self._rng.choice(("and", "or", "unless"))
        return f"({self.vector(depth - 1)} {operator}{matching} {self.vector(depth - 1)})"

    def _math(self, depth: int) -> str:
        return f"{self._rng.choice(_MATH)}({self.vector(depth - 1)})"

    def _other(self, depth: int) -> str:
        inner = self.vector(depth - 1)
        return self._rng.choice(
            (
                f"clamp({inner}, {self._rng.randint(-5, 5)}, {self._rng.randint(0, 9)})",
                f"clamp_max({inner}, 5)",
                f"round({inner}, {self._rng.choice(('0.1', '5', '1'))})",
                f"histogram_quantile({self._rng.choice(('0.5', '0.9', '1', '0', '1.2'))}, {inner})",
                f"histogram_quantile(0.9, sum by (le) (delta(latency_bucket[{self._seconds(31, 200)}])))",
                f'label_replace({inner}, "zone", "$1-x", "job", "(.)")',
                f'label_join({inner}, "instance", "-", "job", "code")',
                f"vector({self._scalar(depth - 1)})",
            )
        )
