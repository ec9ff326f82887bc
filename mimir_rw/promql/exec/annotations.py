"""Warnings and infos that an evaluation collects: texts as Prometheus gives them, each once, in order of appearance.

A text that comes from several places is shown with the place that was evaluated last, the outermost of nested ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mimir_rw.promql.ast import Span, position
from mimir_rw.promql.exec.number_text import general

SHOWN_MAX = 10


@dataclass(frozen=True, slots=True)
class Extent:
    """Of an info that tells about samples: told from several places, it is one that covers all of them.

    buckets, times_ms: the lowest and the highest. samples: as counted, an int64.
    """

    buckets: tuple[float, float]
    difference: float
    samples: int
    times_ms: tuple[int, int]

    def joined(self, other: Extent) -> Extent:
        return Extent(
            (min(self.buckets[0], other.buckets[0]), max(self.buckets[1], other.buckets[1])),
            max(self.difference, other.difference),
            wrapped(self.samples + other.samples),
            (min(self.times_ms[0], other.times_ms[0]), max(self.times_ms[1], other.times_ms[1])),
        )

    def __str__(self) -> str:
        first, last = (np.datetime64(ms // 1000, "s") for ms in self.times_ms)
        low, high = map(general, self.buckets)
        return (
            f", from buckets {low} to {high}, with a max diff of {self.difference:.2g}, over {self.samples} samples "
            f"from {first}Z to {last}Z"
        )


def wrapped(count: int) -> int:
    """As an int64 holds it."""
    return (count + (1 << 63)) % (1 << 64) - (1 << 63)


class Annotations:
    """Mutable; owned by one evaluation."""

    def __init__(self, *, query: str) -> None:
        self._query = query
        self._warnings: dict[str, Span] = {}
        self._infos: dict[str, Span] = {}
        self._extents: dict[str, Extent] = {}

    def warn(self, text: str, span: Span) -> None:
        """`text` without its prefix and without the position."""
        self._warnings[text] = span

    def info(self, text: str, span: Span) -> None:
        self._infos[text] = span

    def info_of(self, text: str, span: Span, extent: Extent) -> None:
        """An info with an extent stays where it was found first."""
        self._infos.setdefault(text, span)
        known = self._extents.get(text)
        self._extents[text] = extent if known is None else known.joined(extent)

    def beside(self) -> Annotations:
        """Empty ones for a part of the same query; see `absorb`."""
        return Annotations(query=self._query)

    def absorb(self, part: Annotations, places: Mapping[Span, Span]) -> None:
        """Add those of a part. places: what stands elsewhere than where the part had it."""
        self._warnings |= {text: places.get(span, span) for text, span in part._warnings.items()}
        for text, span in part._infos.items():
            extent = part._extents.get(text)
            if extent is None:
                self.info(text, places.get(span, span))
            else:
                self.info_of(text, places.get(span, span), extent)

    def mentions(self, word: str) -> bool:
        return any(word in text for text in (*self._warnings, *self._infos))

    @property
    def warnings(self) -> list[str]:
        return self._texts("warning", self._warnings)

    @property
    def infos(self) -> list[str]:
        return self._texts("info", self._infos)

    def _texts(self, kind: str, found: dict[str, Span]) -> list[str]:
        return [
            f"PromQL {kind}: {text}{self._extents.get(text, '')} ({position(self._query, span.start)})"
            for text, span in found.items()
        ]


def shown(texts: list[str], kind: str) -> list[str]:
    """At most SHOWN_MAX of them, and how many were left out. kind: "warning" or "info"."""
    if len(texts) <= SHOWN_MAX:
        return texts
    return [*texts[:SHOWN_MAX], f"{len(texts) - SHOWN_MAX} more {kind} annotations omitted"]
