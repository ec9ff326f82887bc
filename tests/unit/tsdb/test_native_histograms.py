"""Native histograms and exemplars in the head, against what a Prometheus makes of the same pushes.

tests/golden/histograms has the pushes, and the logs that a Prometheus wrote of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir_rw._native import Head, SampleColumns, decode_series_set, merge_series_sets
from tests.unit.tsdb.histogram_heads import filled, opened, recorded

ALL = (-(1 << 62), 1 << 62)


def facts(columns: SampleColumns) -> list[object]:
    column = columns.histogram_column
    histograms = [column.part(number) for number in range(len(column))]
    arrays = (columns.offsets, columns.ts, columns.values, columns.histogram_offsets, columns.histogram_ts)
    return [*(array.tobytes() for array in arrays), repr(histograms)]


def everything(head: Head) -> list[object]:
    found = head.select([], *ALL)
    rows = (0, len(found.labels))
    sent = decode_series_set([found.encode(*rows)])
    sets = (found, sent, merge_series_sets([found, sent]))
    here, there, both = (facts(each.decode(*rows, *ALL)) for each in sets)
    assert here == there
    # Of late ones it matters which run they are read from: both replicas have the same runs.
    assert here == both
    return here


def exemplars(head: Head) -> list[list[object]]:
    found = head.exemplars([[(0, "__name__", "steady")], [(3, "__name__", "x.*")]], *ALL)
    assert found.labels.rows() == [{"__name__": "steady"}]
    assert found.offsets.tolist() == [0, len(found)]
    return [found.ts.tolist(), found.values.tolist(), found.exemplar_labels.rows()]


def test_what_is_pushed_is_selected_sent_merged_and_replayed(tmp_path: Path) -> None:
    head = filled(tmp_path)
    stats = head.stats()
    assert stats.histogram_samples_appended > 3_000
    assert stats.ooo_samples_appended > 20
    assert stats.exemplars == stats.exemplars_appended == len(exemplars(head)[0])
    again = opened(tmp_path)
    assert everything(again) == everything(head)
    assert exemplars(again) == exemplars(head)


def test_our_log_and_that_of_prometheus_replay_to_the_same(tmp_path: Path) -> None:
    ours, theirs = filled(tmp_path / "ours"), opened(recorded(tmp_path / "theirs"))
    assert everything(ours) == everything(theirs)
    # It does not log the exemplar of the first push of all.
    assert [column[1:] for column in exemplars(ours)] == exemplars(theirs)


@pytest.mark.parametrize("histograms", [True, False])
def test_a_reader_of_floats_gets_no_histograms(tmp_path: Path, histograms: bool) -> None:
    found = filled(tmp_path).select([(0, "__name__", "with_floats")], *ALL)
    columns = decode_series_set([found.encode(0, 1, histograms=histograms)]).decode(0, 1, *ALL)
    assert columns.sample_count > 100
    assert (columns.histogram_count > 0) == histograms
