"""Warnings and infos that an evaluation collects: texts as Prometheus gives them, each once, in order of appearance."""

from __future__ import annotations

from mimir_rw._native import LabelFrame
from mimir_rw.promql.ast import Span, position

SHOWN_MAX = 10


class Annotations:
    """Mutable; owned by one evaluation."""

    def __init__(self, *, query: str) -> None:
        self._query = query
        self._warnings: dict[str, None] = {}
        self._infos: dict[str, None] = {}

    def warn(self, text: str, span: Span) -> None:
        """`text` without its prefix and without the position."""
        self._warnings[f"PromQL warning: {text} ({position(self._query, span.start)})"] = None

    def info(self, text: str, span: Span) -> None:
        self._infos[f"PromQL info: {text} ({position(self._query, span.start)})"] = None

    @property
    def warnings(self) -> list[str]:
        return list(self._warnings)

    @property
    def infos(self) -> list[str]:
        return list(self._infos)


def metric_suffix(labels: LabelFrame, row: int) -> str:
    """` for metric name "m"`, or nothing where the row has no name."""
    name = labels.row(row).get("__name__")
    return f' for metric name "{name}"' if name else ""


def shown(texts: list[str], kind: str) -> list[str]:
    """At most SHOWN_MAX of them, and how many were left out. kind: "warning" or "info"."""
    if len(texts) <= SHOWN_MAX:
        return texts
    return [*texts[:SHOWN_MAX], f"{len(texts) - SHOWN_MAX} more {kind} annotations omitted"]
