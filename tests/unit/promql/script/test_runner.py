"""The runner with engines that answer what the test says."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from mimir_rw._native import SampleColumns
from mimir_rw.model.errors import QueryFailed
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.promql.script.answer import Answer, AnswerKind, AnswerSeries
from mimir_rw.promql.script.commands import Load
from mimir_rw.promql.script.language import parse_script
from mimir_rw.promql.script.numbers import almost_equal
from mimir_rw.promql.script.runner import CaseResult, run_script
from mimir_rw.promql.script.storage import STALE_BITS, ScriptStorage
from mimir_rw.storage.contract import Queryable, SelectHints

UP = (("__name__", "up"),)
Asked = tuple[str, int, int, int]


class FakeEngine:
    """Answers each query by a function of (query, start, end, step); step 0 for instant queries."""

    def __init__(self, answer: Callable[[str, int, int, int], Answer]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []

    async def instant(self, data: Queryable, query: str, time_ms: int) -> Answer:
        self.asked.append((query, time_ms, time_ms, 0))
        return self.answer(query, time_ms, time_ms, 0)

    async def range(self, data: Queryable, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        self.asked.append((query, start_ms, end_ms, step_ms))
        return self.answer(query, start_ms, end_ms, step_ms)


def constant(value: float) -> Callable[[str, int, int, int], Answer]:
    """`up` with one value at every step."""

    def answer(query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        times = range(start_ms, end_ms + 1, step_ms or 1)
        kind = AnswerKind.MATRIX if step_ms else AnswerKind.VECTOR
        return Answer(kind, (AnswerSeries(UP, tuple((t, value) for t in times)),))

    return answer


async def only(script: str, answer: Callable[[str, int, int, int], Answer]) -> CaseResult:
    (result,) = await run_script(parse_script(script), file="a.test", engine=FakeEngine(answer))
    return result


async def test_instant_queries_run_pinned_and_as_ranges() -> None:
    engine = FakeEngine(constant(1))
    (result,) = await run_script(parse_script("eval instant at 10s up\n up 1"), file="a.test", engine=engine)
    assert (result.name, result.problem) == ("a.test:1 up", "")
    instants = [asked[:2] for asked in engine.asked if not asked[3]]
    pinned = "up @ 10.000"
    assert instants == [("up", 10_000), *((pinned, t) for t in (-100_000, 0, 2_000, 10_000, 100_000))]
    assert [asked[1:] for asked in engine.asked if asked[3]] == [(t - 60_000, t + 60_000, 60_000) for _, t in instants]


@pytest.mark.parametrize(
    ("query", "pinned"),
    [
        ("a + b @ 1 offset 5s", "a @ 10.000 + b @ 1.000 offset 5s"),
        ("rate(a[5m])", "rate(a[5m] @ 10.000)"),
        ("sum_over_time(rate(a[5m])[1h:1m])", "sum_over_time(rate(a[5m])[1h:1m] @ 10.000)"),
        ("a @ start()", "a @ 10.000"),
        ("sum_over_time(timestamp(a)[1h:1m])", "sum_over_time(timestamp(a)[1h:1m] @ 10.000)"),
        ("timestamp(a)", None),
        ("vector(time())", None),
        ("minute()", None),
    ],
)  # fmt: skip
async def test_pinning(query: str, pinned: str | None) -> None:
    engine = FakeEngine(constant(1))
    await run_script(parse_script(f"eval instant at 10s {query}\n up 1"), file="a.test", engine=engine)
    assert {asked[0] for asked in engine.asked} - {query} == ({pinned} if pinned else set())


async def test_a_pinned_answer_that_differs_fails() -> None:
    result = await only(
        "eval instant at 10s up\n up 1", lambda query, *times: constant(2 if "@" in query else 1)(query, *times)
    )
    assert "as up @ 10.000 at -100000 ms" in result.problem
    assert (result.expected, result.got) == ("up 1", "up 2")


async def test_a_range_answer_that_differs_fails() -> None:
    result = await only(
        "eval instant at 10s up\n up 1", lambda q, s, e, step: constant(3 if step else 1)(q, s, e, step)
    )
    assert "as the middle step of a range" in result.problem


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        (" up 1 1 1", ""),
        (" up 1.0000001 1 1", ""),
        (" up 1.00001 1 1", "the points of up differ"),
        (" up 1 1", "the points of up differ"),
        (" up 1 _ 1", "the points of up differ"),
        (" up 1 1 1 1", "the points of up differ"),
        ("", "unexpected series up"),
        (' up 1 1 1\n up{a="b"} 1', 'missing series up{a="b"}'),
        (" expect ordered\n up 1 1 1", "expected an ordered result, got a matrix"),
        (" 1", "unexpected type: matrix"),
        (' expect string "a"', "the string differs"),
        (" expect fail", "expected an error"),
        (" expect warn\n up 1 1 1", "no warn annotation is anything; got []"),
    ],
)  # fmt: skip
async def test_range_answers(expected: str, problem: str) -> None:
    result = await only(f"eval range from 0 to 20s step 10s up\n{expected}", constant(1))
    assert result.problem == problem


async def test_order_is_checked_when_asked_for() -> None:
    def answer(query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        series = [AnswerSeries((("a", name),), ((start_ms, 1.0),)) for name in "ba"]
        return Answer(AnswerKind.MATRIX if step_ms else AnswerKind.VECTOR, tuple(series))

    good, bad = '{a="b"} 1\n {a="a"} 1', '{a="a"} 1\n {a="b"} 1'
    assert not (await only(f"eval instant at 1 x\n expect ordered\n {good}", answer)).problem
    assert "at place 1" in (await only(f"eval instant at 1 x\n expect ordered\n {bad}", answer)).problem
    assert "not sorted" in (await only(f"eval instant at 1 x\n {bad}", answer)).problem


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        (" expect fail", ""),
        (" expect fail msg: no such thing", ""),
        (" expect fail regex: such", ""),
        (" expect fail msg: such", "another error than expected"),
        ("", "fails"),
    ],
)  # fmt: skip
async def test_failures(expected: str, problem: str) -> None:
    def fail(*_: object) -> Answer:
        raise QueryFailed("no such thing")

    assert (await only(f"eval range from 0 to 1 step 1 up\n{expected}", fail)).problem == problem


async def test_a_crash_is_a_failure_even_where_an_error_is_expected() -> None:
    def crash(*_: object) -> Answer:
        raise ZeroDivisionError

    result = await only("eval instant at 1 up\n expect fail", crash)
    assert result.got == "internal error: ZeroDivisionError()"


@pytest.mark.parametrize(
    ("expected", "passes"),
    [
        ("expect info msg: one\n expect info regex: t.o", True), ("expect info msg: one", False), ("expect info", True),
        ("expect info msg: three", False), ("expect no_info", False), ("expect no_warn", True), ("expect warn", False),
    ],
)  # fmt: skip
async def test_annotations(expected: str, passes: bool) -> None:
    def answer(*_: object) -> Answer:
        return Answer(AnswerKind.MATRIX, infos=("one", "two"))

    assert (await only(f"eval range from 0 to 1 step 1 up\n {expected}", answer)).passed == passes


async def test_storage_selects_sorted_series_and_cuts_times() -> None:
    storage = ScriptStorage()
    (load, more) = parse_script('load 10s\n b 1 stale 3\n a{x="y"} 5\n c {{count:1}}\nload 10s\n b _ _ 4 5')
    for command in (load, more):
        assert isinstance(command, Load)
        storage.load(command)
    everything = Matcher(MatchType.REGEX, "__name__", ".+")
    found = await storage.select([everything], SelectHints(0, 100_000))
    assert found.labels.rows() == [{"__name__": "a", "x": "y"}, {"__name__": "b"}, {"__name__": "c"}]
    columns = found.decode(1, 2, 10_000, 20_000)
    assert columns.offsets.tolist() == [0, 2]
    assert columns.ts.tolist() == [10_000, 20_000]
    assert columns.values.view("u8")[0] == STALE_BITS
    assert columns.values[1] == 4
    assert found.sample_count_max(0, 3) == 6
    none = Matcher(MatchType.EQUAL, "x", "")
    assert (await storage.select([everything, none], SelectHints(0, 1))).labels.rows() == [
        {"__name__": "b"},
        {"__name__": "c"},
    ]


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1 + 1e-7, True), (1, 1 + 1e-5, False), (0, 1e-300, False), (0, 0, True), (math.nan, math.nan, True),
        (math.nan, 1, False), (math.inf, math.inf, True), (math.inf, -math.inf, False), (1e308, -1e308, False),
    ],
)  # fmt: skip
def test_almost_equal(a: float, b: float, equal: bool) -> None:
    assert almost_equal(a, b) == equal


async def test_counter_histograms_of_one_chunk_follow_without_a_reset() -> None:
    script = "load 1m\n h {{count:1 buckets:[1]}}+{{count:1 buckets:[1]}}x1 {{count:1 buckets:[1]}} 5 {{count:9}}\n"
    storage = loaded(script + " g {{count:1 counter_reset_hint:gauge}}x1\n")
    columns = await samples(storage, "h")
    assert columns.histogram_ts.tolist() == [0, 60_000, 120_000, 240_000]
    assert [columns.histogram_column.part(i)[0] for i in range(4)] == [0, 2, 0, 0]
    assert columns.ts.tolist() == [180_000]
    gauges = (await samples(storage, "g")).histogram_column
    assert [gauges.part(i)[0] for i in range(len(gauges))] == [3, 3]


async def test_classic_histograms_become_ones_with_custom_buckets() -> None:
    script = """
load_with_nhcb 1m
  h_bucket{le="1",a="b"} 1 2
  h_bucket{le="5",a="b"} 4 _
  h_bucket{le="+Inf",a="b"} 6 9
  h_sum{a="b"} 10 20
  h_bucket{a="b",le="bad"} 1
"""
    columns = await samples(loaded(script), "h")
    first, second = (columns.histogram_column.part(i) for i in range(2))
    assert first == (0, -53, 0.0, 0.0, 6.0, 10.0, ([(0, 3)], [1.0, 3.0, 2.0]), ([], []), [1.0, 5.0])
    assert second[4:] == (9.0, 20.0, ([(0, 2)], [2.0, 7.0]), ([], []), [1.0])


async def test_start_timestamps_are_relative_to_their_points() -> None:
    columns = await samples(loaded("load 1m\n s@st -10s _ -1m\n s 1 2 3\n"), "s")
    assert columns.start_ts is not None
    assert columns.start_ts.tolist() == [-10_000, 0, 60_000]


def loaded(script: str) -> ScriptStorage:
    storage = ScriptStorage()
    for command in parse_script(script):
        assert isinstance(command, Load)
        storage.load(command)
    return storage


async def samples(storage: ScriptStorage, name: str) -> SampleColumns:
    found = await storage.select([Matcher(MatchType.EQUAL, "__name__", name)], SelectHints(0, 10**7))
    return found.decode(0, 1, 0, 10**7)
