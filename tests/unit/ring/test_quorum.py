import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw.model.errors import BadRequest, Unavailable
from mimir_rw.ring.operations import READ, WRITE_NO_EXTEND
from mimir_rw.ring.quorum import BatchTracker, ReadTracker
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import ring_view
from tests.unit.ring.rings import NOW_S, random_ring

SETTINGS = RingSettings(replication_factor=3, zone_awareness=True)


def placed(ring, rows, seed=1):
    keys = np.random.default_rng(seed).integers(0, 1 << 32, rows, dtype=np.uint32)
    return ring_view(ring, SETTINGS).replication_sets(keys, WRITE_NO_EXTEND, now_s=NOW_S)


class PlainItem:
    """One row, counted as section 4.3 says."""

    def __init__(self, replicas):
        self.ids, self.max_errors = set(replicas.ids), replicas.max_errors
        self.needed = len(self.ids) - self.max_errors
        self.stored = self.client = self.other = self.answers = 0
        self.last = self.verdict = None
        self.refusals = []

    def answer(self, error):
        self.answers += 1
        if error is None:
            self.stored += 1
        elif error.client_fault:
            self.client, self.last = self.client + 1, error
            self.refusals.append(error)
        else:
            self.other, self.last = self.other + 1, error
        if self.verdict is not None:
            return
        if self.stored >= self.needed:
            self.verdict = "stored"
        elif self.client > self.max_errors or self.other > self.max_errors or self.answers == len(self.ids):
            self.verdict = self.last


@settings(max_examples=150)
@given(st.integers(0, 10**6))
def test_a_batch_is_decided_as_rows_one_by_one(seed):
    draw = random.Random(seed)
    placement = placed(random_ring(draw.randrange(5), per_zone=draw.choice([1, 2]), tokens=3), 12, seed)
    tracker = BatchTracker(placement)
    items = [PlainItem(placement.sets[number]) for number in placement.set_of_row.tolist()]
    held = {share.instance.id: share.rows for share in placement.by_instance()}
    order = sorted(held)
    draw.shuffle(order)
    for id in order:
        rows = list(range(12)) if held[id] is None else held[id].tolist()
        kind = draw.choice(["stored", "refused", "client", "other"])
        before = tracker.outcome
        if kind in ("client", "other"):
            error = (BadRequest if kind == "client" else Unavailable)(id)
            errors = dict.fromkeys(rows, error)
            tracker.failed(id, error)
        else:
            refused = [row for row in rows if kind == "refused" and draw.random() < 0.4]
            errors = {row: BadRequest(f"{id}/{row % 2}") for row in refused}
            causes = {str(error): error for error in errors.values()}
            errors = {row: causes[str(error)] for row, error in errors.items()}
            grouped = [
                (np.array([row for row in refused if errors[row] is cause], dtype=np.uint32), cause)
                for cause in causes.values()
            ]
            tracker.answered(id, grouped)
        for row in rows:
            items[row].answer(errors.get(row))
        if before is not None:
            assert tracker.outcome is before
            continue
        verdicts = [item.verdict for item in items]
        failed = [v for v in verdicts if v not in (None, "stored") and not v.client_fault]
        if failed:
            assert tracker.outcome.error in failed
            return
        if None in verdicts:
            assert tracker.outcome is None
            continue
        assert tracker.outcome.error is None
        found = {int(row): part.cause for part in tracker.outcome.refused for row in part.rows}
        assert set(found) == {row for row, verdict in enumerate(verdicts) if verdict != "stored"}
        assert all(cause in items[row].refusals for row, cause in found.items())
    assert tracker.outcome is not None


def three():
    return BatchTracker(placed(random_ring(1, per_zone=1), 4))


def test_two_of_three_are_enough():
    tracker = three()
    assert tracker.answered("i-a-0") is None
    outcome = tracker.answered("i-b-0")
    assert (outcome.error, outcome.refused) == (None, ())
    tracker.failed("i-c-0", Unavailable("late"))
    assert tracker.outcome is outcome


def test_families_of_errors():
    client, server = BadRequest("c"), Unavailable("s")
    tracker = three()
    tracker.failed("i-a-0", client)
    assert tracker.failed("i-b-0", server) is None
    assert tracker.answered("i-c-0").error is server
    tracker = three()
    tracker.failed("i-a-0", server)
    assert tracker.failed("i-b-0", Unavailable("t")).error.args == ("t",)
    tracker = three()
    tracker.failed("i-a-0", server)
    tracker.answered("i-b-0")
    (refused,) = tracker.failed("i-c-0", client).refused
    assert (refused.rows.tolist(), refused.cause) == ([0, 1, 2, 3], client)


def test_refused_rows_do_not_end_the_others():
    tracker = three()
    one = np.array([1], dtype=np.uint32)
    assert tracker.answered("i-a-0", [(one, "old")]) is None
    outcome = tracker.answered("i-c-0", [(one, "older")])
    assert [(r.rows.tolist(), r.cause) for r in outcome.refused] == [([1], "older")]


def test_a_row_refused_by_one_replica_is_stored_by_the_others():
    tracker = three()
    tracker.answered("i-a-0", [(np.array([1, 1], dtype=np.uint32), "old")])
    assert tracker.answered("i-b-0") is None
    assert tracker.answered("i-c-0").refused == ()


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_reads_end_when_enough_zones_are_whole(seed):
    """Any order of answers, failures and hedges, against counting zones from what was said."""
    draw = random.Random(seed)
    zone_aware = draw.random() < 0.7
    view = ring_view(random_ring(1, per_zone=draw.choice([1, 2])), RingSettings(3, zone_awareness=zone_aware))
    replicas = view.query_set(READ, now_s=NOW_S)
    tracker = ReadTracker(replicas, minimise=draw.random() < 0.5, rng=draw)
    group_of = {i.id: i.zone if zone_aware else i.id for i in replicas.instances}
    asked, answered, failed = [i.id for i in tracker.start()], set(), set()
    spare = replicas.max_unavailable_zones if zone_aware else replicas.max_errors
    while waiting := [id for id in asked if id not in answered | failed]:
        id, chance = draw.choice(waiting), draw.random()
        if chance < 0.1:
            asked += [i.id for i in tracker.hedge()]
            continue
        if chance < 0.7:
            answered.add(id)
            tracker.answered(id)
        else:
            failed.add(id)
            asked += [i.id for i in tracker.failed(id, Unavailable(id))]
        groups = set(group_of.values())
        whole = {g for g in groups if all(i in answered for i, its in group_of.items() if its == g)}
        done = len(whole) >= len(groups) - spare
        assert tracker.done == done
        if done:
            assert set(tracker.counted()) == {i for i, its in group_of.items() if its in whole}
            assert tracker.error is None
            return
        broken = len({group_of[i] for i in failed}) > spare
        assert (tracker.error is not None) == broken
        if broken:
            return
    raise AssertionError("neither done nor failed, and nobody is asked")


def test_an_empty_batch_is_decided():
    assert BatchTracker(placed(random_ring(1), 0)).outcome.error is None


def zones(minimise, prefer=""):
    ring = random_ring(1, per_zone=2)
    found = ring_view(ring, SETTINGS).query_set(READ, now_s=NOW_S)
    return ReadTracker(found, minimise=minimise, prefer=prefer, rng=random.Random(2))


def test_reads_ask_the_zones_they_need_and_their_own_first():
    for prefer in "abc":
        asked = zones(True, prefer).start()
        assert len(asked) == 4
        assert asked[0].zone == asked[1].zone == prefer
    assert len(zones(False).start()) == 6
    firsts = {fresh(seed).start()[0].zone for seed in range(20)}
    assert firsts == {"a", "b", "c"}


def fresh(seed):
    found = ring_view(random_ring(1, per_zone=2), SETTINGS).query_set(READ, now_s=NOW_S)
    return ReadTracker(found, minimise=True, rng=random.Random(seed))


def test_a_zone_counts_when_all_of_it_has_answered():
    tracker = zones(True, "a")
    asked = [i.id for i in tracker.start()]
    assert not any(tracker.answered(id) for id in asked[:3])
    assert tracker.answered(asked[3])
    assert tracker.counted() == tuple(sorted(asked))
    assert tracker.hedge() == ()


def test_a_failed_zone_is_replaced():
    tracker = zones(True, "a")
    tracker.start()
    tracker.answered("i-a-0")
    instead = tracker.failed("i-a-1", Unavailable("x"))
    assert len(instead) == 2
    assert tracker.useless() == ()
    assert not tracker.hedges
    others = [f"i-{zone}-{n}" for zone in "bc" for n in (0, 1)]
    assert [tracker.answered(id) for id in others] == [False, False, False, True]
    assert tracker.counted() == tuple(others)
    assert tracker.error is None


def test_a_zone_whose_last_instance_fails_does_not_count():
    found = ring_view(random_ring(1, per_zone=1), SETTINGS).query_set(READ, now_s=NOW_S)
    tracker = ReadTracker(found, minimise=True, prefer="a", rng=random.Random(2))
    first, second = (i.id for i in tracker.start())
    tracker.answered(first)
    (third,) = tracker.failed(second, Unavailable("x"))
    assert not tracker.done
    assert tracker.answered(third.id)
    assert tracker.counted() == tuple(sorted((first, third.id)))


def test_a_failure_after_the_end_changes_nothing():
    found = ring_view(random_ring(1, per_zone=1), SETTINGS).query_set(READ, now_s=NOW_S)
    tracker = ReadTracker(found, minimise=False, prefer="a", rng=random.Random(2))
    first, second, third = (i.id for i in tracker.start())
    tracker.answered(first)
    tracker.answered(second)
    assert tracker.failed(third, Unavailable("x")) == ()
    assert tracker.counted() == tuple(sorted((first, second)))
    assert tracker.error is None


def test_two_failed_zones_are_too_many():
    tracker = zones(False)
    tracker.start()
    tracker.failed("i-a-0", Unavailable("x"))
    assert set(tracker.useless()) == {"i-a-1"}
    assert tracker.failed("i-a-1", Unavailable("again")) == ()
    assert tracker.error is None
    last = Unavailable("y")
    tracker.failed("i-b-0", last)
    assert tracker.error is last


def test_hedging_asks_the_rest():
    tracker = zones(True, "a")
    first = tracker.start()
    spare = tracker.hedge()
    assert {i.zone for i in first} | {i.zone for i in spare} == set("abc")
    for i in spare:
        tracker.answered(i.id)
    assert not tracker.done
    for i in first[:2]:
        tracker.answered(i.id)
    assert tracker.done
    assert tracker.counted() == tuple(sorted(i.id for i in (*spare, *first[:2])))
    assert set(tracker.useless()) == {i.id for i in first[2:]}


@pytest.mark.parametrize(("minimise", "asked"), [(True, 5), (False, 6)])
def test_reads_without_zones(minimise, asked):
    ring = random_ring(1, per_zone=2)
    found = ring_view(ring, RingSettings(replication_factor=3)).query_set(READ, now_s=NOW_S)
    tracker = ReadTracker(found, minimise=minimise, prefer="", rng=random.Random(1))
    first = tracker.start()
    assert len(first) == asked
    assert len(tracker.failed(first[0].id, Unavailable("x"))) == 6 - asked
    done = [tracker.answered(id) for id in ring if id != first[0].id]
    assert done == [False] * 4 + [True]
