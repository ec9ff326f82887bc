from __future__ import annotations

import pytest

from mimir_rw.kv.memberlist.broadcasts import BroadcastQueue, retransmit_limit


def take(queue: BroadcastQueue, bytes_max: int = 1000, nodes: int = 9) -> list[bytes]:
    return queue.take(bytes_max=bytes_max, nodes=nodes)


@pytest.mark.parametrize(("nodes", "limit"), [(0, 0), (1, 4), (9, 4), (10, 8), (99, 8), (100, 12)])
def test_limits(nodes: int, limit: int) -> None:
    assert retransmit_limit(4, nodes) == limit


def test_a_message_is_sent_so_often_and_no_more() -> None:
    queue = BroadcastQueue(factor=4, entries_max=10)
    queue.add(b"a", subject="x")
    assert [take(queue) for _ in range(6)] == [[b"a"]] * 4 + [[]] * 2
    assert (len(queue), queue.size) == (0, 0)


def test_newer_news_replace_what_they_cover() -> None:
    queue = BroadcastQueue(factor=4, entries_max=10)
    queue.add(b"1", subject="k", names=frozenset("ab"))
    queue.add(b"2", subject="k", names=frozenset("c"))
    queue.add(b"3", subject="other", names=frozenset("a"))
    queue.add(b"4", subject="k", names=frozenset("abd"))
    assert sorted(take(queue)) == [b"2", b"3", b"4"]
    assert queue.holds("k")


def test_the_least_sent_goes_first_and_what_does_not_fit_waits() -> None:
    queue = BroadcastQueue(factor=4, entries_max=10)
    queue.add(b"old", subject="1")
    assert take(queue) == [b"old"]
    queue.add(b"new", subject="2")
    assert take(queue, bytes_max=5) == [b"new"]
    queue.add(b"x" * 100, subject="3")
    assert take(queue, bytes_max=12) == [b"new", b"old"]


def test_what_others_send_too_counts_as_sent() -> None:
    queue = BroadcastQueue(factor=4, entries_max=10)
    queue.add(b"a", subject="1")
    queue.add(b"b", subject="2")
    for _ in range(2):
        queue.heard(b"a", nodes=9)
    queue.heard(b"c", nodes=9)
    assert [sorted(take(queue)) for _ in range(5)] == [[b"a", b"b"]] * 2 + [[b"b"]] * 2 + [[]]
    queue.add(b"a", subject="1")
    for _ in range(4):
        queue.heard(b"a", nodes=9)
    assert len(queue) == 0


def test_the_queue_is_bounded() -> None:
    queue = BroadcastQueue(factor=4, entries_max=2)
    queue.add(b"a", subject="a")
    queue.add(b"b", subject="b")
    take(queue, bytes_max=3)
    queue.add(b"c", subject="c")
    assert queue.dropped == 1
    assert sorted(take(queue)) == [b"a", b"c"]
