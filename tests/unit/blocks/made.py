"""Blocks of a few hundred series, and what stands in them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mimir_rw._native import BlockBuilder, BlockStats, LabelFrame, SampleColumns
from mimir_rw.formats.block_meta import BlockCompaction, BlockMeta
from mimir_rw.formats.block_meta import BlockStats as MetaStats
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.storage.contract import SeriesSet

START_MS = 1_600_000_000_000
STEP_MS = 15_000
ULID = "01EJ0000000000000000000001"

Labels = dict[str, str]
Samples = list[tuple[int, float]]
Content = dict[str, Samples]


def label_sets(count: int) -> list[Labels]:
    """Labels of many values, of few, in some series only, and one that all have."""
    sets = []
    for i in range(count):
        labels = {"__name__": f"metric_{i % 7}", "pod": f"pod-{i // 7:04}", "all": "ü"}
        if i % 3 == 0:
            labels["zone"] = f"z{i % 4}"
        if i % 11 == 0:
            labels["rare"] = "x"
        sets.append(labels)
    return sets


def samples_of(row: int, rng: random.Random) -> Samples:
    """Some rows begin late, some end early; values repeat, and jump."""
    first, last = row % 5 * 40, 600 - row % 3 * 150
    values = [rng.choice([0.0, 1.5, float(row), rng.uniform(-1e9, 1e9)]) for _ in range(first, last)]
    return [(START_MS + (first + i) * STEP_MS, value) for i, value in enumerate(values)]


def columns(rows: Sequence[Samples]) -> SampleColumns:
    offsets = np.cumsum([0, *(len(row) for row in rows)])
    flat = [sample for row in rows for sample in row]
    times = np.array([t for t, _ in flat], dtype=np.int64)
    return SampleColumns(offsets.astype(np.int64), times, np.array([v for _, v in flat], dtype=np.float64))


class Made:
    """A block in `directory`/ULID, with its meta.json."""

    def __init__(self, directory: Path, count: int, *, segment_bytes: int = 512 << 20) -> None:
        rng = random.Random(count)
        self.sets = label_sets(count)
        self.samples = [samples_of(row, rng) for row in range(count)]
        self.path = directory / ULID
        self.path.mkdir(parents=True)
        builder = BlockBuilder()
        half = count // 2
        for part in (slice(half, None), slice(0, half)):
            builder.add(LabelFrame.from_rows(self.sets[part]), columns(self.samples[part]))
        self.stats = builder.write(str(self.path), segment_bytes=segment_bytes)
        (self.path / "meta.json").write_bytes(meta_of(self.stats).encode())

    def matching(self, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[int]:
        """Rows that match and have a sample within the range."""
        rows = [row for row, labels in enumerate(self.sets) if all(passes(m, labels) for m in matchers)]
        return [row for row in rows if any(mint <= t <= maxt for t, _ in self.samples[row])]

    def content(self, rows: Sequence[int], mint: int, maxt: int) -> Content:
        frame = LabelFrame.from_rows(self.sets)
        return {
            frame.format_row(row): [sample for sample in self.samples[row] if mint <= sample[0] <= maxt] for row in rows
        }


def meta_of(stats: BlockStats) -> BlockMeta:
    assert stats.mint is not None
    assert stats.maxt is not None
    counts = MetaStats(
        samples=stats.samples,
        floats=stats.floats,
        histograms=stats.histograms,
        series=stats.series,
        chunks=stats.chunks,
    )
    compaction = BlockCompaction(level=1, sources=(ULID,))
    return BlockMeta(ULID, stats.mint, stats.maxt + 1, counts, compaction)


def passes(matcher: Matcher, labels: Labels) -> bool:
    value = labels.get(matcher.name, "")
    kinds: dict[MatchType, Callable[[], bool]] = {
        MatchType.EQUAL: lambda: value == matcher.value,
        MatchType.NOT_EQUAL: lambda: value != matcher.value,
        MatchType.REGEX: lambda: re.fullmatch(matcher.value, value) is not None,
        MatchType.NOT_REGEX: lambda: re.fullmatch(matcher.value, value) is None,
    }
    return kinds[matcher.type]()


def read(series: SeriesSet, mint: int, maxt: int) -> Content:
    """Rows with samples in the range."""
    rows = len(series.labels)
    found = series.decode(0, rows, mint, maxt)
    assert found.sample_count <= series.sample_count_max(0, rows)
    offsets, ts, values = found.offsets.tolist(), found.ts.tolist(), found.values.tolist()
    runs = [slice(*offsets[row : row + 2]) for row in range(rows)]
    content = {
        series.labels.format_row(row): list(zip(ts[run], values[run], strict=True)) for row, run in enumerate(runs)
    }
    return {labels: samples for labels, samples in content.items() if samples}


SELECTORS: tuple[tuple[tuple[MatchType, str, str], ...], ...] = (
    (),
    ((MatchType.EQUAL, "__name__", "metric_3"),),
    ((MatchType.EQUAL, "__name__", "metric_3"), (MatchType.EQUAL, "pod", "pod-0002")),
    ((MatchType.EQUAL, "__name__", "none"),),
    ((MatchType.EQUAL, "absent", "x"),),
    ((MatchType.EQUAL, "absent", ""), (MatchType.EQUAL, "__name__", "metric_1")),
    ((MatchType.NOT_EQUAL, "absent", "x"), (MatchType.EQUAL, "__name__", "metric_1")),
    ((MatchType.NOT_EQUAL, "absent", ""),),
    ((MatchType.EQUAL, "zone", ""),),
    ((MatchType.NOT_EQUAL, "zone", ""),),
    ((MatchType.NOT_EQUAL, "zone", "z1"),),
    ((MatchType.NOT_EQUAL, "zone", "z1"), (MatchType.NOT_EQUAL, "zone", "")),
    ((MatchType.REGEX, "zone", "z[12]|"),),
    ((MatchType.REGEX, "zone", "z[12]"),),
    ((MatchType.REGEX, "zone", ".*"),),
    ((MatchType.REGEX, "zone", ".+"), (MatchType.EQUAL, "rare", "x")),
    ((MatchType.NOT_REGEX, "zone", ".+"), (MatchType.EQUAL, "rare", "x")),
    ((MatchType.NOT_REGEX, "zone", "z[12]"),),
    ((MatchType.NOT_REGEX, "zone", ".*"),),
    ((MatchType.REGEX, "pod", "pod-000[1-9]"),),
    ((MatchType.REGEX, "pod", "pod-00.*"), (MatchType.NOT_REGEX, "pod", ".*[13579]")),
    ((MatchType.REGEX, "pod", ".*1.*"), (MatchType.EQUAL, "rare", "x")),
    ((MatchType.NOT_REGEX, "pod", ".*1.*"), (MatchType.EQUAL, "__name__", "metric_0"), (MatchType.EQUAL, "rare", "x")),
    ((MatchType.REGEX, "pod", "pod-0001|pod-0004|pod-9999|"),),
    ((MatchType.NOT_REGEX, "pod", "pod-0001|pod-0004|pod-9999"), (MatchType.EQUAL, "all", "ü")),
    ((MatchType.EQUAL, "all", "ü"),),
    ((MatchType.EQUAL, "all", "ü"), (MatchType.EQUAL, "rare", "x"), (MatchType.NOT_EQUAL, "all", "x")),
)
"""Selectors of every kind, over labels of every kind."""
RANGES = (
    (-(1 << 62), 1 << 62),
    (START_MS, START_MS + 20 * STEP_MS),
    (START_MS + 599 * STEP_MS, START_MS + 599 * STEP_MS),
    (START_MS - 10, START_MS - 1),
)


def selectors() -> list[list[Matcher]]:
    return [[Matcher(kind, name, value) for kind, name, value in selector] for selector in SELECTORS]


def tuples(matchers: Sequence[Matcher]) -> list[tuple[int, str, str]]:
    return [matcher.as_tuple() for matcher in matchers]
