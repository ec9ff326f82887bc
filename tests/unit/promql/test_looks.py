"""A query that tells storage which histograms it looks at is answered as one that does not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mimir_rw._native import Head, KnownSeries, LabelFrame, Looks, SampleColumns, decode_remote_write, merge_series_sets
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.model.labels import Matcher
from mimir_rw.promql.engine import Engine, EngineOptions
from mimir_rw.promql.exec.values import Vector
from mimir_rw.promql.result import Result
from mimir_rw.storage.contract import SelectHints, SeriesSet
from mimir_rw.testing.remote_write import body
from tests.bench.head_bench import KEY, LIMITS, replay
from tests.differential.data import END_MS, START_MS, Written, series

NATIVE = ("duration_seconds", "sizes", "rescaled_seconds", "custom_.+", "blended", "kinds", "corners")
FUNCTIONS = (
    "avg_over_time", "changes", "count_over_time", "delta", "first_over_time", "idelta", "increase", "irate",
    "last_over_time", "present_over_time", "rate", "resets", "sum_over_time", "ts_of_first_over_time",
    "ts_of_last_over_time",
)  # fmt: skip
STEPS_MS = (15_000, 47_000, 300_000, 900_000)


@dataclass(frozen=True, slots=True)
class Whole:
    """A series set that looks at everything."""

    series: SeriesSet

    @property
    def labels(self) -> LabelFrame:
        return self.series.labels

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None) -> SampleColumns:
        return self.series.decode(start_row, end_row, mint, maxt)

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return self.series.sample_count_max(start_row, end_row)


class Replicas:
    """Merged selections of several heads."""

    def __init__(self, heads: Sequence[Head], *, whole: bool) -> None:
        self._heads = heads
        self._whole = whole

    async def select(self, matchers: Sequence[Matcher], hints: SelectHints) -> SeriesSet:
        asked = [matcher.as_tuple() for matcher in matchers]
        merged = merge_series_sets([head.select(asked, hints.mint, hints.maxt) for head in self._heads])
        return Whole(merged) if self._whole else merged

    async def label_names(self, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return []

    async def label_values(self, name: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        return []


def filled(directory: Path, written: list[Written]) -> Head:
    directory.mkdir()
    head, _ = replay(str(directory))
    for one in written:
        push = decode_remote_write(
            body(*one.runs()), tenant="t", key=KEY, known=KnownSeries(entries_max=0), limits=LIMITS,
            now_ms=END_MS, bytes_max=1 << 24,
        )  # fmt: skip
        assert not push.rejections
        head.append([push.batch])
    return head


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Head]]:
    """Two that have all, the second a little less of the end, and one with holes."""
    rng, directory = random.Random(5), tmp_path_factory.mktemp("heads")
    all_of = [one for one in series() if not all(isinstance(value, float) for _, value in one.points)]
    behind = [Written(one.labels, one.points[: len(one.points) - rng.randrange(9)]) for one in all_of]
    holed = [Written(one.labels, [p for p in one.points if rng.random() > 0.1]) for one in all_of]
    made = [filled(directory / str(i), written) for i, written in enumerate((all_of, behind, holed))]
    yield made
    for head in made:
        head.close()


def queries(rng: random.Random) -> Iterator[str]:
    for metric in NATIVE:
        selector = f'{{__name__=~"{metric}"}}'
        offset = rng.choice(("", " offset 40s", f" @ {(START_MS + END_MS) // 2000}"))
        yield selector + offset
        yield f"timestamp({selector})"
        yield f"histogram_count({selector}{offset})"
        yield f"sum by (job) ({selector})"
        yield f"rate({selector}[2m] smoothed)"
        for func in FUNCTIONS:
            window = rng.choice(("20s", "1m", "5m", "20m"))
            yield f"{func}({selector}[{window}]{offset})"
            yield f"histogram_sum({func}({selector}[{window}]))"


def told(result: Result) -> str:
    """Every bit of an answer, as text."""
    vector = result.value
    assert isinstance(vector, Vector)
    cells = vector.histograms
    parts = [(cell, repr(cells.column.part(cell))) for cell in cells.index[cells.index >= 0].tolist()] if cells else []
    values = vector.values[vector.mask].tobytes().hex()
    return repr(
        (vector.labels.rows(), vector.mask.tobytes(), values, [p for _, p in parts], result.warnings, result.infos)
    )


@pytest.mark.parametrize("replicas", [(0,), (0, 1), (2, 0)], ids=["one", "behind", "holes"])
def test_answers_do_not_depend_on_looks(heads: list[Head], replicas: tuple[int, ...]) -> None:
    rng = random.Random(len(replicas))
    engine = Engine(clock=SystemClock(), offload=InlineOffload(), options=EngineOptions())
    chosen = [heads[i] for i in replicas]

    def answer(query: str, step_ms: int, *, whole: bool) -> str:
        queryable = Replicas(chosen, whole=whole)
        if step_ms == 0:
            return told(asyncio.run(engine.instant(queryable, query, (START_MS + END_MS) // 2)))
        return told(asyncio.run(engine.range(queryable, query, START_MS + 7_000, END_MS, step_ms)))

    for query in queries(rng):
        step_ms = rng.choice((0, *STEPS_MS))
        assert answer(query, step_ms, whole=False) == answer(query, step_ms, whole=True), (query, step_ms)


def test_what_is_not_looked_at_is_not_built(heads: list[Head]) -> None:
    found = heads[0].select([(0, "__name__", "kinds"), (0, "kind", "exponential")], START_MS, END_MS)
    whole = found.decode(0, 1, START_MS, END_MS)
    looks = Looks("newest", START_MS, 300_000, 11, 300_000, bare=False)
    looked = found.decode(0, 1, START_MS, END_MS, looks)
    assert looked.histogram_ts.tolist() == whole.histogram_ts.tolist()
    built = [looked.histogram_column.part(i)[6][1] != [] for i in range(looked.histogram_count)]
    assert 11 <= sum(built) < 40 < len(built)
