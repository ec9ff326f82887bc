"""Warnings and infos that an evaluation collects: texts as Prometheus gives them, each once, in order of appearance.

A text that comes from several places is shown with the place that was evaluated last, the outermost of nested ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from mimir_rw.promql.ast import Span, position

SHOWN_MAX = 10


class Annotations:
    """Mutable; owned by one evaluation."""

    def __init__(self, *, query: str) -> None:
        self._query = query
        self._warnings: dict[str, Span] = {}
        self._infos: dict[str, Span] = {}

    def warn(self, text: str, span: Span) -> None:
        """`text` without its prefix and without the position."""
        self._warnings[text] = span

    def info(self, text: str, span: Span) -> None:
        self._infos[text] = span

    def beside(self) -> Annotations:
        """Empty ones for a part of the same query; see `absorb`."""
        return Annotations(query=self._query)

    def absorb(self, part: Annotations, places: Mapping[Span, Span]) -> None:
        """Add those of a part. places: what stands elsewhere than where the part had it."""
        self._warnings |= {text: places.get(span, span) for text, span in part._warnings.items()}
        self._infos |= {text: places.get(span, span) for text, span in part._infos.items()}

    def mentions(self, word: str) -> bool:
        return any(word in text for text in (*self._warnings, *self._infos))

    @property
    def warnings(self) -> list[str]:
        return self._texts("warning", self._warnings)

    @property
    def infos(self) -> list[str]:
        return self._texts("info", self._infos)

    def _texts(self, kind: str, found: dict[str, Span]) -> list[str]:
        return [f"PromQL {kind}: {text} ({position(self._query, span.start)})" for text, span in found.items()]


def shown(texts: list[str], kind: str) -> list[str]:
    """At most SHOWN_MAX of them, and how many were left out. kind: "warning" or "info"."""
    if len(texts) <= SHOWN_MAX:
        return texts
    return [*texts[:SHOWN_MAX], f"{len(texts) - SHOWN_MAX} more {kind} annotations omitted"]
