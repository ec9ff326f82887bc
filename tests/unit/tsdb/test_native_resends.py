"""What is sent again is stored once, whatever became of it the first time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from mimir_rw._native import Head, WriteBatch
from tests.unit.tsdb.batches import KEY, START_MS, batch, up

WINDOW_MS = 300_000
SERIES = 5


@pytest.fixture
def head(tmp_path: Path) -> Head:
    made = Head(str(tmp_path), tenant="t", hash_key=KEY)
    while True:
        done, total = made.replay_step(1 << 20)
        if done == total:
            return made


def request(seconds: Iterable[int], value: float = 0.0) -> WriteBatch:
    """A sample of each series at each of these seconds; its value is the second, and `value` more."""
    return batch(*(up(str(i), *((START_MS + s * 1000, s + value) for s in seconds)) for i in range(SERIES)))


def push(head: Head, what: WriteBatch) -> int:
    (result,) = head.append([what], ooo_window_ms=WINDOW_MS)
    assert not result.refused
    return result.samples_stored


def test_a_request_in_order_that_is_sent_again_and_again(head: Head) -> None:
    """Over closed chunks (120 samples each), the open one, and the newest sample."""
    whole = request(range(290))
    assert push(head, whole) == 290 * SERIES
    before = head.stats()
    for _ in range(20):
        assert push(head, whole) == 290 * SERIES
    after = head.stats()
    assert (after.samples_appended, after.ooo_samples_appended) == (290 * SERIES, 0)
    assert (after.memory_bytes, after.chunks) == (before.memory_bytes, before.chunks)


def test_a_gap_is_filled_once(head: Head) -> None:
    """What comes late for a gap closes many out-of-order chunks (32 samples each)."""
    push(head, request([0]))
    push(head, request([290]))
    gap = request(range(1, 290))
    for _ in range(20):
        assert push(head, gap) == 289 * SERIES
        # Requests that overlap both what was there and what came late.
        push(head, request(range(0, 291, 7)))
    stats = head.stats()
    assert stats.samples_appended == 291 * SERIES
    assert stats.ooo_samples_appended == 289 * SERIES


def test_another_value_at_a_time_of_an_older_chunk_is_kept_as_before(head: Head) -> None:
    push(head, request(range(200)))
    push(head, request([50], value=0.5))
    assert head.stats().ooo_samples_appended == SERIES
