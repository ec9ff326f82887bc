"""Exemplars: single observations that a series points to, most often by the id of a trace."""

from __future__ import annotations

from dataclasses import dataclass

Labels = tuple[tuple[str, str], ...]
"""Name and value, in order of names."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """ts: int ms."""

    labels: Labels
    value: float
    ts: int


@dataclass(frozen=True, slots=True)
class SeriesExemplars:
    """exemplars: at least one, in order of time."""

    series: Labels
    exemplars: tuple[Exemplar, ...]
