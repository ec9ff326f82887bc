"""Answers of replicas as one."""

from __future__ import annotations

import math

from mimir_rw.model.exemplars import Exemplar, SeriesExemplars
from mimir_rw.storage.exemplars import merge_exemplars

A, B = (("__name__", "a"),), (("__name__", "b"),)


def at(ts: int, value: float = 1.0, trace: str = "x") -> Exemplar:
    return Exemplar((("trace_id", trace),), value, ts)


def test_series_and_exemplars_come_once_and_in_order() -> None:
    zone_a = [SeriesExemplars(B, (at(1), at(3)))]
    zone_b = [SeriesExemplars(A, (at(5),)), SeriesExemplars(B, (at(1), at(2), at(3, 2.0), at(3, trace="y")))]
    assert merge_exemplars([zone_a, zone_b]) == [
        SeriesExemplars(A, (at(5),)),
        SeriesExemplars(B, (at(1), at(2), at(3), at(3, 2.0), at(3, trace="y"))),
    ]


def test_not_a_number_is_one_observation() -> None:
    zones = [[SeriesExemplars(A, (at(1, float("nan")),))] for _ in range(2)]
    ((merged,)) = merge_exemplars(zones)
    assert len(merged.exemplars) == 1
    assert math.isnan(merged.exemplars[0].value)


def test_one_answer_is_the_answer() -> None:
    only = [SeriesExemplars(A, (at(1),))]
    assert merge_exemplars([only]) == only
    assert merge_exemplars([[], []]) == []
