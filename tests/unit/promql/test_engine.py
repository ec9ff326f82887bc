"""The engine over series in memory: a pass over the operators, and what scripts cannot say (selects, limits)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest

from mimir_rw._native import SampleColumns
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.errors import BadRequest, LimitExceeded, QueryFailed, QueryTimeout
from mimir_rw.promql.ast import Expr
from mimir_rw.promql.engine import Engine, EngineOptions, QueryLimits
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.memory import MemoryAccount
from mimir_rw.promql.exec.values import Scalar, String, Value, Vector
from mimir_rw.promql.reader import DEPTH_MAX
from mimir_rw.promql.result import RangeSamples, Result, ResultType
from mimir_rw.promql.result_codec import Evaluated, decode_outcome, encode_outcome
from mimir_rw.storage.contract import SelectHints
from tests.unit.promql.memory_storage import MemoryQueryable, MemorySeries, series

T = TypeVar("T")
MINUTE = 60_000

DATA = [
    series('requests_total{job="a",i="0"} 0 10 20 30 40 50'),
    series('requests_total{job="a",i="1"} 0 20 40 60 80 100'),
    series('requests_total{job="b",i="1"} 0 20 40 0 20 40'),
    series('limit{job="a"} 30 30 30 30 30 30'),
    series('limit{job="c"} 1 _ _ _ _ _'),
]

MANY_TO_MANY = "many-to-many matching not allowed: matching labels must be unique on one side"
DUPLICATES_RIGHT = (
    "found duplicate series for the match group {} on the right hand-side of the operation: "
    '[{__name__="requests_total", i="0", job="a"}, {__name__="requests_total", i="1", job="a"}];' + MANY_TO_MANY
)
DUPLICATES_LEFT = (
    'found duplicate series for the match group {job="a"} on the left hand-side of the operation: '
    '[{__name__="requests_total", i="0", job="a"}, {__name__="requests_total", i="1", job="a"}];' + MANY_TO_MANY
)


class StoppedClock:
    """Monotonic time that moves by `tick` at each question."""

    def __init__(self, tick: float = 0.0) -> None:
        self._now = 0.0
        self._tick = tick

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        self._now += self._tick
        return self._now


def make_engine(*, tick: float = 0.0, options: EngineOptions | None = None) -> Engine:
    return Engine(clock=StoppedClock(tick), offload=InlineOffload(), options=options)


def rows(result: Result) -> dict[str, list[float | None]]:
    assert isinstance(result.value, Vector)
    vector = result.value
    return {
        vector.labels.format_row(i): [
            float(v) if m else None for v, m in zip(vector.values[i], vector.mask[i], strict=True)
        ]
        for i in range(len(vector.labels))
    }


async def query_range(query: str, *, data: Sequence[Any] = DATA, **options: Any) -> dict[str, list[float | None]]:
    engine = make_engine(options=EngineOptions(**options))
    return rows(await engine.range(MemoryQueryable(data), query, 0, 5 * MINUTE, MINUTE))


async def query_instant(query: str, *, data: Sequence[Any] = DATA) -> dict[str, float | None]:
    result = await make_engine().instant(MemoryQueryable(data), query, 5 * MINUTE)
    return {name: values[0] for name, values in rows(result).items()}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sum by (job) (increase(requests_total[2m]))", {'{job="a"}': 60.0, '{job="b"}': 40.0}),
        ("sum without (i) (requests_total)", {'{job="a"}': 150.0, '{job="b"}': 40.0}),
        ("resets(requests_total[10m]) > 0", {'{i="1", job="b"}': 1.0}),
        ("limit > bool 10", {'{job="a"}': 1.0}),
        ("requests_total > 40", {'requests_total{i="0", job="a"}': 50.0, 'requests_total{i="1", job="a"}': 100.0}),
        ("requests_total / on (job) group_left limit", {'{i="0", job="a"}': 5 / 3, '{i="1", job="a"}': 10 / 3}),
        ("limit - on (job) group_right requests_total", {'{i="0", job="a"}': -20.0, '{i="1", job="a"}': -70.0}),
        ('limit and on (job) requests_total{i="0"}', {'limit{job="a"}': 30.0}),
        ("limit unless on (job) requests_total", {}),
        ('requests_total{i="0"} or limit', {'requests_total{i="0", job="a"}': 50.0, 'limit{job="a"}': 30.0}),
        ("topk by (job) (1, limit)", {'limit{job="a"}': 30.0}),
        ("quantile(0.5, requests_total)", {"{}": 50.0}),
        ('count_values("v", requests_total > 45)', {'{v="50"}': 1.0, '{v="100"}': 1.0}),
        ("max_over_time(sum(requests_total)[5m:1m])", {"{}": 190.0}),
        ("limit offset 5m", {'limit{job="a"}': 30.0, 'limit{job="c"}': 1.0}),
        ("limit @ 0 * 2", {'{job="a"}': 60.0, '{job="c"}': 2.0}),
        ('absent(nothing{job="x", i=~"y"})', {'{job="x"}': 1.0}),
        ('label_replace(limit, "team", "$1-x", "job", "(.)")', {'limit{job="a", team="a-x"}': 30.0}),
        ('label_join(limit, "j", "-", "job", "job")', {'limit{j="a-a", job="a"}': 30.0}),
        ("clamp(limit, 1, 5)", {'{job="a"}': 5.0}),
        ("round(limit / 7, 0.5)", {'{job="a"}': 4.5}),
        ("vector(scalar(limit))", {"{}": 30.0}),
        ("day_of_week(vector(1136239445))", {"{}": 1.0}),
        ("days_in_month(vector(1454284800))", {"{}": 29.0}),
        ("year(vector(-1))", {"{}": 1969.0}),
        ("timestamp(limit offset 4m)", {'{job="a"}': 60.0, '{job="c"}': 0.0}),
    ],
)  # fmt: skip
async def test_instant(query: str, expected: dict[str, float]) -> None:
    assert await query_instant(query) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit", {'limit{job="a"}': [30.0] * 6, 'limit{job="c"}': [1.0] * 5 + [None]}),
        ("time()", {"{}": [0.0, 60.0, 120.0, 180.0, 240.0, 300.0]}),
        ("sum(limit @ end())", {"{}": [30.0] * 6}),
        ("count(requests_total > on (job) group_left limit)", {"{}": [None, None, 1.0, 1.0, 2.0, 2.0]}),
        ("predict_linear(requests_total{i='0'}[5m] @ 200, 60)", {'{i="0", job="a"}': [10.0, 20, 30, 40, 50, 60]}),
        ("requests_total{i='0'} * step() + range()", {'{i="0", job="a"}': [300.0, 900, 1500, 2100, 2700, 3300]}),
    ],
)  # fmt: skip
async def test_range(query: str, expected: dict[str, list[float | None]]) -> None:
    assert await query_range(query) == {name: pytest.approx(values) for name, values in expected.items()}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit + on () requests_total", DUPLICATES_RIGHT),
        (
            'requests_total + on (job) limit',
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ),
        ("requests_total + on (job) group_right limit", DUPLICATES_LEFT),
        ('label_replace(requests_total, "i", "", "", "")', "vector cannot contain metrics with the same labelset"),
        (r'count_values("a\xc5", limit)', r'invalid label name "a\xc5"'),
        (r'label_join(limit, "a", "\xff", "b")', r'invalid UTF-8 in string "\xff"'),
        (r'label_replace(limit, "\xff", "", "job", "")', r"invalid destination label name in label_replace(): \xff"),
        ("deriv(a[1m] smoothed)", "smoothed modifier can only be used with: delta, increase, rate - not with deriv"),
        ("topk(NaN, limit)", "Parameter value is NaN"),
    ],
)  # fmt: skip
async def test_failures(query: str, message: str) -> None:
    with pytest.raises(QueryFailed) as failure:
        await query_instant(query)
    assert str(failure.value) == message


async def test_many_to_many_is_judged_step_by_step() -> None:
    data = [
        series('a{x="1"} 1 1 1 1 1 1'),
        series('b{x="1",y="1"} 1 NaN _ _ _ _', 400_000),
        series('b{x="1",y="2"} _ _ 3 _ _ _'),
    ]
    assert await query_range("a + on (x) b", data=data, lookback_ms=MINUTE) == {
        '{x="1"}': [2.0, None, 4.0, None, None, None]
    }


async def test_rows_that_become_equal_are_one_series_where_their_steps_differ() -> None:
    data = [series("a 1 1 1 _ _ _"), series("b _ _ _ 2 2 2")]
    for delayed in (False, True):
        answer = await query_range('-{__name__=~"a|b"}', data=data, lookback_ms=MINUTE, delayed_name_removal=delayed)
        assert answer == {"{}": [-1.0, -1.0, -1.0, -2.0, -2.0, -2.0]}


async def test_delayed_name_removal_lets_label_functions_set_the_name() -> None:
    query = 'label_replace(-limit, "__name__", "neg_$1", "__name__", "(.*)")'
    assert set(await query_range(query, delayed_name_removal=True)) == {'neg_limit{job="a"}', 'neg_limit{job="c"}'}
    assert set(await query_range(query)) == {'neg_{job="a"}', 'neg_{job="c"}'}


async def test_other_result_types() -> None:
    engine, storage = make_engine(), MemoryQueryable(DATA)
    scalar = await engine.instant(storage, "1 + 2 * 3", 0)
    assert scalar.type is ResultType.SCALAR
    assert isinstance(scalar.value, Scalar)
    assert scalar.value.values.tolist() == [7.0]
    text = await engine.instant(storage, '"a"', 0)
    assert (text.type, text.value) == (ResultType.STRING, String("a"))
    matrix = await engine.instant(storage, "limit[2m]", 2 * MINUTE)
    assert matrix.type is ResultType.MATRIX
    assert isinstance(matrix.value, RangeSamples)
    assert matrix.value.labels.rows() == [{"__name__": "limit", "job": "a"}]
    assert matrix.value.columns.ts.tolist() == [MINUTE, 2 * MINUTE]
    with pytest.raises(BadRequest, match=r'^invalid expression type "range vector" for range query, must be'):
        await engine.range(storage, "limit[2m]", 0, MINUTE, MINUTE)


async def test_selectors_of_equal_matchers_share_a_select() -> None:
    storage = MemoryQueryable(DATA)
    query = "rate(limit[5m]) + limit + limit offset 1d + sum(limit @ 100)"
    await make_engine().range(storage, query, 0, 5 * MINUTE, MINUTE)
    times = [(hints.mint, hints.maxt) for _, hints in storage.selects]
    day = 86_400_000
    assert times == [(-day - 299_999, -day + 300_000), (-299_999, 300_000)]


async def test_hints_name_the_function_and_the_grouping() -> None:
    storage = MemoryQueryable(DATA)
    await make_engine().range(storage, "sum by (job) (limit) + rate(requests_total[2m])", 0, 5 * MINUTE, MINUTE)
    assert [hints for _, hints in storage.selects] == [
        SelectHints(-299_999, 300_000, MINUTE, 0, "sum", ("job",), True),
        SelectHints(-119_999, 300_000, MINUTE, 120_000, "rate", (), False),
    ]


async def test_limits() -> None:
    engine, storage = make_engine(), MemoryQueryable(DATA)
    with pytest.raises(LimitExceeded, match=r"limit: 100 bytes.*err-mimir-max-estimated-memory-consumption-per-query"):
        await engine.range(storage, "limit * 2", 0, 5 * MINUTE, MINUTE, limits=QueryLimits(memory_bytes_max=100))
    result = await engine.range(storage, "limit * 2", 0, 5 * MINUTE, MINUTE, limits=QueryLimits(memory_bytes_max=9999))
    assert result.stats.samples_read == 7
    small = make_engine(options=EngineOptions(samples_max=5))
    with pytest.raises(QueryFailed, match=r"^query processing would load too many samples into memory in query exec"):
        await small.range(storage, "limit * 2", 0, 5 * MINUTE, MINUTE)


async def test_timeout_between_operators() -> None:
    engine = make_engine(tick=10.0, options=EngineOptions(timeout_s=45.0))
    with pytest.raises(QueryTimeout, match=r"^query timed out in query execution$"):
        await engine.instant(MemoryQueryable(DATA), "1 + scalar(limit) + 2", 0)


async def test_timeout_while_selecting() -> None:
    class Hanging(MemoryQueryable):
        async def select(self, matchers: Any, hints: SelectHints) -> MemorySeries:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(QueryTimeout):
        await make_engine().instant(Hanging(DATA), "limit", 0, limits=QueryLimits(timeout_s=0.01))


async def test_a_query_that_is_left_stops_at_its_next_operator() -> None:
    class Parked(InlineOffload):
        """Keeps the work for later, as a busy thread would."""

        def __init__(self) -> None:
            self.parked = asyncio.Event()

        async def run(self, fn: Callable[..., T], *args: Any) -> T:
            self.work = lambda: fn(*args)
            self.parked.set()
            await asyncio.Event().wait()
            raise AssertionError

    offload = Parked()
    engine = Engine(clock=StoppedClock(), offload=offload)
    task = asyncio.create_task(engine.instant(MemoryQueryable(DATA), "limit", 0))
    await offload.parked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(Exception, match="query was canceled"):
        offload.work()


async def test_batches_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await query_range("sum by (job) (rate(requests_total[2m])) + on (job) group_right limit")
    monkeypatch.setattr("mimir_rw.promql.exec.selectors.BATCH_BYTES", 1)
    assert await query_range("sum by (job) (rate(requests_total[2m])) + on (job) group_right limit") == whole


@pytest.mark.parametrize(
    "query", ["wide or wide * 2 or wide * 3", "sum_over_time(wide[1m]) + wide", "topk(3, wide) or wide"]
)
async def test_nothing_is_begun_once_the_limit_is_reached(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither decoding nor an operator: the answer comes as soon as what is under way has unwound."""
    events: list[str] = []
    check, operate, decode = MemoryAccount._check, Evaluation._operate, MemorySeries.decode

    def checked(account: MemoryAccount, nbytes: int) -> None:
        try:
            check(account, nbytes)
        except LimitExceeded:
            events.append("refused")
            raise

    def operated(ev: Evaluation, node: Expr) -> Value:
        events.append(f"begin {type(node).__name__}")
        return operate(ev, node)

    def decoded(of: MemorySeries, *args: Any) -> SampleColumns:
        events.append("decode")
        return decode(of, *args)

    monkeypatch.setattr(MemoryAccount, "_check", checked)
    monkeypatch.setattr(Evaluation, "_operate", operated)
    monkeypatch.setattr(MemorySeries, "decode", decoded)
    data = [series(f'wide{{i="{i}"}} 1 2 3') for i in range(50)]
    limits = QueryLimits(memory_bytes_max=1_000_000)
    with pytest.raises(LimitExceeded):
        await make_engine().range(MemoryQueryable(data), query, 0, 10_999, 1, limits=limits)
    assert events[-1] == "refused"
    assert events.count("refused") == 1


async def test_annotations_carry_their_position() -> None:
    result = await make_engine().instant(MemoryQueryable(DATA), "1 + histogram_quantile(2, rate(limit[5m]))", 300_000)
    assert result.warnings == (
        'PromQL warning: bucket label "le" is missing or has a malformed value of "" (1:27)',
        "PromQL warning: quantile value should be between 0 and 1, got 2 (1:24)",
    )
    assert result.infos == (
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "limit" (1:32)',
    )


async def test_where_types_are_labels_they_say_what_a_counter_is() -> None:
    data = [
        series('a{job="a",__type__="gauge"} 1 2'), series('b{job="b",__type__="counter"} 1 2'),
        series('c_total{job="c"} 1 2'),
        series('d{job="d",__type__="histogram"} 1 2'),
    ]  # fmt: skip
    query = 'sum(rate({__name__=~".+"}[2m]))'
    result = await make_engine().instant(MemoryQueryable(data), query, MINUTE, limits=QueryLimits(type_labels=True))
    text = 'PromQL info: metric might not be a counter, __type__ label is not set to "counter" or "histogram", got '
    assert result.infos == (text + '"gauge": "a" (1:10)', text + '"": "c_total" (1:10)')


@pytest.mark.parametrize("deep", ["+".join(["a"] * (DEPTH_MAX - 1)), "abs(" * 120 + "a" + ")" * 120, "-" * 120 + "a"])
def test_the_highest_expression_is_evaluated_explained_and_counted(deep: str) -> None:
    limits = QueryLimits(explain=True, count_samples=True)
    engine = Engine(clock=SystemClock(), offload=InlineOffload())
    result = asyncio.run(engine.range(MemoryQueryable([series("a 1 1")]), deep, 0, 60_000, 60_000, limits=limits))
    assert result.explanation is not None
    outcome = decode_outcome(encode_outcome(Evaluated(result, 1, 1)))
    assert isinstance(outcome, Evaluated)
    assert outcome.result.explanation == result.explanation
