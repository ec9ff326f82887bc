from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.components.distributor.group_queue import GroupQueue, QueueBounds


@dataclass(frozen=True)
class Job:
    name: str
    tenant: str = "t"
    size: int = 10
    rows: int = 1
    key: bytes = b""


def queue(**bounds: int) -> GroupQueue[Job]:
    return GroupQueue(QueueBounds(**{"bytes_max": 1000, "rows_max": 1000, **bounds}))


def offer(q: GroupQueue[Job], *jobs: Job) -> None:
    assert all(q.offer(job) for job in jobs)


def names(jobs: list[Job]) -> str:
    return " ".join(job.name for job in jobs)


def end(q: GroupQueue[Job], jobs: list[Job]) -> None:
    for job in jobs:
        q.done(job)
    q.message_ended(jobs)


def test_what_arrives_while_a_message_is_on_the_way_joins_the_next() -> None:
    q = queue()
    offer(q, Job("1"))
    first = q.take()
    offer(q, Job("2"), Job("3"))
    assert names(first) == "1"
    assert q.take() == []
    end(q, first)
    assert names(q.take()) == "2 3"


def test_tenants_do_not_wait_for_each_other_but_share_when_messages_are_few() -> None:
    q = queue(messages_max=2)
    offer(q, Job("a1", "a"))
    a = q.take()
    offer(q, Job("b1", "b"))
    b = q.take()
    offer(q, Job("c1", "c"), Job("d1", "d"), Job("a2", "a"))
    assert q.take() == []
    end(q, b)
    assert names(q.take()) == "c1 d1"
    end(q, a)
    assert names(q.take()) == "a2"


def test_a_message_is_bounded_and_the_tenant_that_waited_longest_comes_first() -> None:
    q = queue(message_bytes_max=30)
    offer(q, Job("a1", "a"), Job("a2", "a"), Job("a3", "a"), Job("a4", "a"), Job("b1", "b"))
    first = q.take()
    assert names(first) == "a1 a2 a3"
    assert names(q.take()) == "b1"
    end(q, first)
    assert names(q.take()) == "a4"


def test_a_job_larger_than_a_message_goes_alone() -> None:
    q = queue(message_bytes_max=30)
    offer(q, Job("a1", "a", size=100), Job("a2", "a"), Job("b1", "b", size=31))
    assert names(q.take()) == "a1"
    assert names(q.take()) == "b1"


def test_a_message_has_one_key_for_each_tenant() -> None:
    q = queue()
    offer(q, Job("a1", "a"), Job("a2", "a", key=b"new"), Job("b1", "b", key=b"new"))
    first = q.take()
    assert names(first) == "a1 b1"
    end(q, first)
    assert names(q.take()) == "a2"


def test_bounds_hold_for_what_waits_and_what_is_on_the_way() -> None:
    q = queue(bytes_max=30, rows_max=100)
    offer(q, Job("1"), Job("2"))
    jobs = q.take()
    offer(q, Job("3"))
    assert not q.offer(Job("4"))
    end(q, jobs)
    offer(q, Job("4"))
    assert (q.bytes, q.rows) == (20, 2)
    narrow = queue(rows_max=5)
    offer(narrow, Job("large", rows=50))
    assert not narrow.offer(Job("small"))


def test_drain_takes_what_waits_not_what_is_on_the_way() -> None:
    q = queue()
    offer(q, Job("1"))
    jobs = q.take()
    offer(q, Job("2"), Job("b", "b"))
    assert names(q.drain()) == "2 b"
    end(q, jobs)
    assert q.take() == []
