"""One tenant's samples in this process, as one: head and local blocks.

A block is there before the head forgets what it has. So whoever asks the head first, and only then looks which blocks
there are, misses nothing; what both have is put together once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mimir_rw._native import DataDamaged, EncodedSeriesSet, Head, HeadSeriesSet, LabelFrame, merge_series_sets
from mimir_rw.storage.contract import SeriesSet
from mimir_rw.tsdb.local_blocks import BlockReader, LocalBlocks

T = TypeVar("T")
MatcherTuples = list[tuple[int, str, str]]


class LocalData:
    """For one question, in one thread. Raises ValueError for a bad regex, DataDamaged, OSError."""

    def __init__(self, head: Head, blocks: LocalBlocks) -> None:
        self.head = head
        self._blocks = blocks
        self.damaged: list[tuple[str, str]] = []
        """Blocks that cannot be read, and why: the answer is without them."""

    def select(self, matchers: MatcherTuples, mint: int, maxt: int) -> SeriesSet:
        newest = self.head.select(matchers, mint, maxt)
        older = self._ask(mint, maxt, lambda block: block.select(matchers, mint, maxt))
        sets: list[HeadSeriesSet | EncodedSeriesSet] = [found for found in older if len(found.labels)]
        if len(newest.labels) or not sets:
            sets.insert(0, newest)
        return sets[0] if len(sets) == 1 else merge_series_sets(sets)

    def series(self, matcher_sets: Sequence[MatcherTuples], mint: int, maxt: int) -> LabelFrame:
        newest = self.head.series(matcher_sets, mint, maxt)
        older = self._ask(mint, maxt, lambda block: block.series(matcher_sets, mint, maxt))
        return LabelFrame.union_sorted([newest, *older]) if older else newest

    def label_names(self, matchers: MatcherTuples, mint: int, maxt: int) -> list[str]:
        newest = self.head.label_names(matchers, mint, maxt)
        return _union(newest, self._ask(mint, maxt, lambda block: block.label_names(matchers, mint, maxt)))

    def label_values(self, name: str, matchers: MatcherTuples, mint: int, maxt: int) -> list[str]:
        newest = self.head.label_values(name, matchers, mint, maxt)
        return _union(newest, self._ask(mint, maxt, lambda block: block.label_values(name, matchers, mint, maxt)))

    def _ask(self, mint: int, maxt: int, question: Callable[[BlockReader], T]) -> list[T]:
        answers = []
        for block in self._blocks.blocks:
            if not block.overlaps(mint, maxt):
                continue
            try:
                answers.append(question(block.reader))
            except DataDamaged as error:
                self.damaged.append((block.ulid, str(error)))
        return answers


def _union(newest: list[str], older: Iterable[list[str]]) -> list[str]:
    found = set(newest).union(*older)
    return newest if len(found) == len(newest) else sorted(found)
