"""The native head and rows without labels, keys that change, series that the instance owns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimir_rw._native import Head, decode_batch
from tests.unit.tsdb.batches import KEY, START_MS, batch, up

OTHER_KEY = bytes(range(1, 33))
NONE = np.zeros(0, dtype=np.uint32)
ALL = (1 << 62) - 1


@pytest.fixture
def head(tmp_path: Path) -> Head:
    opened = Head(str(tmp_path), tenant="t", hash_key=KEY)
    while len(set(opened.replay_step(1 << 20))) != 1:
        pass
    return opened


def sample_count(head: Head) -> int:
    found = head.select([], -ALL, ALL)
    return found.decode(0, len(found.labels), -ALL, ALL).sample_count


def test_unresolved_rows_are_named_and_stored_once_resent(head: Head) -> None:
    rows = [up(str(i), (START_MS + i % 2, 1.0)) for i in range(6)]
    whole = batch(*rows)
    head.append([whole.take(np.array([1, 4], dtype=np.uint32))])
    (result,) = head.append([decode_batch(whole.encode(labelled=NONE), tenant="t", key=KEY)])
    assert (result.samples_stored, result.unresolved.tolist(), result.refused) == (2, [0, 2, 3, 5], [])
    resend = whole.encode(result.unresolved)
    (result,) = head.append([decode_batch(resend, tenant="t", key=KEY)])
    assert (result.samples_stored, result.unresolved.size) == (4, 0)
    assert sample_count(head) == 6


def test_refused_rows_are_numbered(head: Head) -> None:
    head.append([batch(up("a", (START_MS, 1.0)))])
    later = batch(up("b", (START_MS, 1.0)), up("a", (START_MS, 2.0), (START_MS - 1, 1.0)))
    (result,) = head.append([decode_batch(later.encode(np.array([1, 0], dtype=np.uint32)), tenant="t", key=KEY)])
    assert [(r.error_id, r.labels, r.rows.tolist()) for r in result.refused] == [
        ("sample-duplicate-timestamp", 'up{instance="a"}', [0]),
        ("sample-out-of-order", 'up{instance="a"}', [0]),
    ]


def test_a_head_that_changed_its_key_takes_batches_of_either(head: Head) -> None:
    head.append([batch(up("a", (START_MS, 1.0)))])
    head.rekey(OTHER_KEY)
    later = batch(up("a", (START_MS + 1, 1.0)))
    head.append([later])
    reference = decode_batch(later.encode(labelled=NONE), tenant="t", key=OTHER_KEY)
    (result,) = head.append([reference])
    assert result.unresolved.tolist() == [0]
    again = decode_batch(batch(up("a", (START_MS + 2, 1.0))).encode(), tenant="t", key=OTHER_KEY)
    reference = decode_batch(again.encode(labelled=NONE), tenant="t", key=OTHER_KEY)
    (result,) = head.append([reference])
    assert (result.samples_stored, head.stats().series, sample_count(head)) == (1, 1, 3)


def test_limits_count_owned_series(head: Head) -> None:
    whole = batch(*(up(str(i), (START_MS, 1.0)) for i in range(100)))
    tokens = np.sort(whole.tokens())
    half = int(tokens[50])
    ranges = np.array([[0, half]], dtype=np.uint32)
    head.set_owned_ranges(ranges)
    (result,) = head.append([whole], series_max=30)
    assert [(r.error_id, r.count) for r in result.refused] == [("max-series-per-user", 20)]
    assert (head.owned(), head.stats().owned_series, head.extent()[0]) == (30, 30, 80)
    wide = np.array([[half, 1 << 32]], dtype=np.int64)
    assert (head.owned_series(wide), head.owned()) == (50, 30)
    assert head.set_owned_ranges(np.array([[half, 0]], dtype=np.uint32)) == 50
    assert head.set_owned_ranges(np.zeros((0, 2), dtype=np.int64)) == 0
    assert head.set_owned_ranges(None) == 80


@pytest.mark.parametrize(
    "ranges",
    [np.zeros((1, 3), dtype=np.int64), np.array([[-1, 5]]), np.array([[0, 1 + (1 << 32)]])],
    ids=["three columns", "negative", "too far"],
)
def test_ranges_that_are_none(head: Head, ranges: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
    with pytest.raises(ValueError, match=r"ranges|range"):
        head.set_owned_ranges(ranges)
