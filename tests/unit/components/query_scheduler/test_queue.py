from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.components.query_scheduler.queue import FairQueue, key_of
from mimir_rw.model.errors import RateLimited
from mimir_rw.rpc.contracts.scheduler import QueuedQuery
from mimir_rw.rpc.transport import Message


def query(tenant, number, timeout_s=60.0):
    return QueuedQuery(f"{tenant}{number}", "frontend", tenant, "", timeout_s, Message())


def everyone(tenant):
    return True


def whatever(query):
    return True


def drained(queue):
    found = []
    while (taken := queue.take(everyone, whatever)) is not None:
        found.append(taken.query.query_id)
    return found


def test_first_in_first_out_within_a_tenant_and_in_turn_between_them():
    queue = FairQueue(waiting_per_tenant_max=10)
    for number in range(3):
        queue.add(query("a", number), 0)
    for tenant in ("b", "c"):
        queue.add(query(tenant, 0), 0)
    assert drained(queue) == ["a0", "b0", "c0", "a1", "a2"]
    assert len(queue) == 0


def test_a_tenant_may_have_so_many_and_no_more():
    queue = FairQueue(waiting_per_tenant_max=1)
    queue.add(query("a", 0), 0)
    with pytest.raises(RateLimited, match="too many outstanding requests"):
        queue.add(query("a", 1), 0)
    queue.add(query("b", 0), 0)
    assert queue.lengths() == [("a", 1), ("b", 1)]


def test_tenants_that_come_and_go_do_not_starve_one_that_waits():
    queue = FairQueue(waiting_per_tenant_max=10)
    for number in range(3):
        queue.add(query("patient", number), 0)
    served = []
    for number in range(6):
        for tenant in ("b", "c"):
            if (tenant, number) not in queue:
                queue.add(query(tenant, number), 0)
        served.append(queue.take(everyone, whatever).query.tenant)
    assert served.count("patient") == 2


def test_who_was_away_does_not_catch_up():
    queue = FairQueue(waiting_per_tenant_max=10)
    for number in range(8):
        queue.add(query("busy", number), 0)
    for _ in range(4):
        queue.take(everyone, whatever)
    for number in range(4):
        queue.add(query("late", number), 0)
    assert [queue.take(everyone, whatever).query.tenant for _ in range(4)] == ["late", "busy", "late", "busy"]


def test_only_eligible_tenants_are_served():
    queue = FairQueue(waiting_per_tenant_max=10)
    queue.add(query("a", 0), 0)
    queue.add(query("b", 0), 0)
    assert queue.take(lambda tenant: tenant == "b", whatever).query.tenant == "b"
    assert queue.take(lambda tenant: tenant == "b", whatever) is None
    assert drained(queue) == ["a0"]


def test_a_query_that_does_not_suit_is_passed_over_and_keeps_its_place():
    queue = FairQueue(waiting_per_tenant_max=10)
    for number in range(3):
        queue.add(query("a", number), 0)
    queue.add(query("b", 0), 0)
    assert queue.take(everyone, lambda query: query.query_id != "a0").query.query_id == "a1"
    assert queue.take(lambda tenant: tenant == "b", lambda query: False) is None
    assert drained(queue) == ["b0", "a0", "a2"]


def test_times_are_kept():
    queue = FairQueue(waiting_per_tenant_max=10)
    queue.add(query("a", 0, timeout_s=5.0), 2.0)
    taken = queue.take(everyone, whatever)
    assert (taken.since_s, taken.deadline_s) == (2.0, 7.0)


def test_nothing_is_kept_of_tenants_that_left():
    queue = FairQueue(waiting_per_tenant_max=10)
    for number in range(10):
        queue.add(query(f"tenant{number}", 0), 0)
        queue.add(query("other", number), 0)
    drained(queue)
    assert not queue._next_turn


TENANTS = st.sampled_from("abcd")
ACTIONS = st.lists(
    st.one_of(st.tuples(st.just("add"), TENANTS), st.just(("take", "")), st.tuples(st.just("remove"), TENANTS))
)


@given(ACTIONS)
def test_each_query_is_taken_once_or_removed_and_order_is_kept(actions):
    queue, added, gone, number = FairQueue(waiting_per_tenant_max=5), [], [], 0
    for action, tenant in actions:
        waiting = [q for q in added if q.query_id not in gone]
        if action == "add" and sum(q.tenant == tenant for q in waiting) < 5:
            added.append(query(tenant, number))
            queue.add(added[-1], 0)
            number += 1
        elif action == "take":
            taken = queue.take(everyone, whatever)
            assert (taken is None) == (not waiting)
            if taken is not None:
                first = next(q for q in waiting if q.tenant == taken.query.tenant)
                assert taken.query is first
                gone.append(first.query_id)
        elif action == "remove":
            mine = [q for q in waiting if q.tenant == tenant]
            if mine:
                assert queue.remove(key_of(mine[-1]))
                assert not queue.remove(key_of(mine[-1]))
                gone.append(mine[-1].query_id)
        assert len(queue) == len(added) - len(gone)
    left = drained(queue)
    assert sorted(left + gone) == sorted(q.query_id for q in added)


@given(st.lists(st.tuples(TENANTS, st.integers(0, 3)), min_size=1, max_size=60))
def test_tenants_that_wait_are_served_evenly(script):
    """While two tenants wait without a pause, their shares differ by one at most."""
    queue = FairQueue(waiting_per_tenant_max=1000)
    backlog, since = Counter(), Counter()
    for number, (tenant, takes) in enumerate(script):
        queue.add(query(tenant, number), 0)
        if not backlog[tenant]:
            for other in "abcd":
                since[other, tenant] = since[tenant, other] = 0
        backlog[tenant] += 1
        for _ in range(takes):
            taken = queue.take(everyone, whatever)
            if taken is None:
                break
            served = taken.query.tenant
            backlog[served] -= 1
            for other in "abcd":
                if other != served and backlog[other]:
                    since[served, other] += 1
                    assert since[served, other] - since[other, served] <= 1
