import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mimir_rw.components.query_scheduler.core import (
    Closed,
    Ended,
    Handed,
    Recalled,
    SchedulerCore,
    querier_shard,
)
from mimir_rw.components.query_scheduler.queue import key_of
from mimir_rw.model.errors import BadRequest, RateLimited, Unavailable
from mimir_rw.rpc.contracts.scheduler import QueuedQuery
from mimir_rw.rpc.transport import Message


def query(name, tenant="t", timeout_s=60.0, frontend="f", avoid=()):
    return QueuedQuery(name, frontend, tenant, "", timeout_s, Message(), tuple(avoid))


def scheduler(*, waiting=10, forget_s=0.0, queriers_max=0):
    return SchedulerCore(
        waiting_per_tenant_max=waiting, forget_delay_s=forget_s, queriers_max=lambda tenant: queriers_max
    )


def handed(effects):
    return [(effect.connection, effect.query.query_id) for effect in effects if isinstance(effect, Handed)]


def ended(effects):
    return [(effect.key[1], effect.error is not None) for effect in effects if isinstance(effect, Ended)]


def closed(effects):
    return [effect.connection for effect in effects if isinstance(effect, Closed)]


def test_a_query_goes_to_whoever_has_a_free_slot_and_otherwise_waits():
    core = scheduler()
    assert core.enqueue(query("a"), 0.0) == []
    assert handed(core.connect(1, "q", 1, 0.0)) == [(1, "a")]
    assert core.enqueue(query("b"), 0.0) == []
    effects = core.finished("q", ("f", "a"), 0.0)
    assert (ended(effects), handed(effects)) == ([("a", False)], [(1, "b")])
    assert core.finished("q", ("f", "a"), 0.0) == []


def test_the_emptiest_querier_first_and_in_turn_among_equals():
    core = scheduler()
    core.connect(1, "p", 3, 0.0)
    core.connect(2, "q", 2, 0.0)
    got = [handed(core.enqueue(query(str(n)), 0.0))[0][0] for n in range(5)]
    assert got == [1, 2, 1, 2, 1]


def test_what_is_left_of_the_deadline_is_handed_on():
    core = scheduler()
    core.enqueue(query("a", timeout_s=10.0), 100.0)
    core.enqueue(query("late", timeout_s=1.0), 100.0)
    effects = core.connect(1, "q", 5, 104.0)
    (first,) = [effect for effect in effects if isinstance(effect, Handed)]
    assert (first.query.timeout_s, first.waited_s) == (6.0, 4.0)
    assert ended(effects) == [("late", False)]


def test_a_full_queue_refuses():
    core = scheduler(waiting=1)
    core.enqueue(query("a"), 0.0)
    with pytest.raises(RateLimited):
        core.enqueue(query("b"), 0.0)


def test_a_query_is_here_once():
    core = scheduler()
    core.enqueue(query("a"), 0.0)
    with pytest.raises(BadRequest):
        core.enqueue(query("a"), 0.0)
    core.connect(1, "q", 1, 0.0)
    with pytest.raises(BadRequest):
        core.enqueue(query("a"), 0.0)


def test_cancelling_takes_it_from_the_queue_or_recalls_it():
    core = scheduler()
    core.connect(1, "q", 1, 0.0)
    core.enqueue(query("running"), 0.0)
    core.enqueue(query("waiting"), 0.0)
    assert core.cancel(("f", "waiting")) == []
    (recalled,) = core.cancel(("f", "running"))
    assert isinstance(recalled, Recalled)
    assert recalled.query.query_id == "running"
    assert core.enqueue(query("next"), 0.0) == [], "its slot is taken until the querier says finished"
    assert handed(core.finished("q", ("f", "running"), 0.0)) == [(1, "next")]


def test_a_lost_querier_loses_its_queries_and_others_go_on():
    core = scheduler()
    core.connect(1, "p", 1, 0.0)
    core.enqueue(query("a"), 0.0)
    core.connect(2, "q", 1, 0.0)
    core.enqueue(query("b"), 0.0)
    assert ended(core.disconnect(1, 0.0)) == [("a", False)]
    assert core.disconnect(1, 0.0) == []
    assert core.finished("p", ("f", "a"), 0.0) == []
    assert core.running == 1


def test_a_later_pull_replaces_the_earlier_one():
    core = scheduler()
    core.connect(1, "q", 2, 0.0)
    core.enqueue(query("a"), 0.0)
    assert closed(core.connect(2, "q", 1, 0.0)) == []
    assert handed(core.enqueue(query("b"), 0.0)) == [(2, "b")]
    assert closed(core.finished("q", ("f", "a"), 0.0)) == [1]
    assert closed(core.connect(3, "q", 1, 0.0)) == []
    assert closed(core.connect(4, "q", 1, 0.0)) == [3]


def test_a_querier_that_leaves_gets_nothing_more_and_is_closed_when_done():
    core = scheduler()
    core.connect(1, "q", 2, 0.0)
    core.enqueue(query("a"), 0.0)
    assert closed(core.leave("q", 0.0)) == []
    assert core.enqueue(query("b"), 0.0) == []
    assert closed(core.finished("q", ("f", "a"), 0.0)) == [1]
    assert handed(core.connect(2, "other", 1, 0.0)) == [(2, "b")]


def test_a_stopping_scheduler_serves_what_is_queued():
    core = scheduler()
    core.connect(1, "q", 1, 0.0)
    core.enqueue(query("a"), 0.0)
    core.enqueue(query("b"), 0.0)
    assert core.drain() == []
    with pytest.raises(Unavailable, match="shutting down"):
        core.enqueue(query("c"), 0.0)
    assert handed(core.finished("q", ("f", "a"), 0.0)) == [(1, "b")]
    assert not core.idle
    assert closed(core.finished("q", ("f", "b"), 0.0)) == [1]
    assert core.idle


def test_a_stopping_scheduler_hands_back_what_nobody_will_serve():
    core = scheduler()
    core.enqueue(query("a"), 0.0)
    assert ended(core.drain()) == [("a", True)]
    late = scheduler()
    late.connect(1, "q", 1, 0.0)
    late.enqueue(query("running"), 0.0)
    late.enqueue(query("waiting"), 0.0)
    late.drain()
    assert ended(late.disconnect(1, 0.0)) == [("running", False), ("waiting", True)]


def test_giving_up_ends_everything():
    core = scheduler()
    core.connect(1, "q", 1, 0.0)
    core.enqueue(query("running"), 0.0)
    core.enqueue(query("waiting"), 0.0)
    effects = core.give_up()
    assert sorted(ended(effects)) == [("running", True), ("waiting", True)]
    assert closed(effects) == [1]
    assert core.idle
    assert ended(core.disconnect(1, 0.0)) == [("running", False)]


class TestFailedBefore:
    def test_another_querier_gets_it(self):
        core = scheduler()
        core.connect(1, "p", 20, 0.0)
        core.connect(2, "q", 1, 0.0)
        for n in range(5):
            assert handed(core.enqueue(query(str(n), avoid="p"), 0.0)) == ([(2, "0")] if n == 0 else [])
        assert handed(core.finished("q", ("f", "0"), 0.0)) == [(2, "1")]

    def test_it_holds_nobody_else_up(self):
        core = scheduler()
        core.connect(1, "p", 1, 0.0)
        core.connect(2, "q", 1, 0.0)
        core.enqueue(query("a", avoid="p"), 0.0)
        assert handed(core.enqueue(query("b", avoid="p"), 0.0)) == []
        assert handed(core.enqueue(query("c"), 0.0)) == [(1, "c")]

    def test_without_another_it_is_tried_again(self):
        core = scheduler()
        core.connect(1, "p", 1, 0.0)
        assert handed(core.enqueue(query("a", avoid="p"), 0.0)) == [(1, "a")]

    @pytest.mark.parametrize("how", ["leaves", "is lost"])
    def test_when_the_other_goes_it_is_tried_again(self, how):
        core = scheduler(forget_s=60.0)
        core.connect(1, "p", 1, 0.0)
        core.connect(2, "q", 1, 0.0)
        core.enqueue(query("a", avoid="p"), 0.0)
        core.enqueue(query("b", avoid="p"), 0.0)
        effects = core.leave("q", 1.0) if how == "leaves" else core.disconnect(2, 1.0)
        assert handed(effects) == [(1, "b")]

    def test_when_all_have_failed_any_may_try_again(self):
        core = scheduler()
        core.connect(1, "p", 1, 0.0)
        core.connect(2, "q", 1, 0.0)
        got = [handed(core.enqueue(query(name, avoid="pq"), 0.0)) for name in "ab"]
        assert got == [[(1, "a")], [(2, "b")]]

    def test_one_that_may_not_serve_the_tenant_is_no_other(self):
        core = scheduler(queriers_max=1)
        home = min(querier_shard("t", ["p", "q"], 1))
        core.connect(1, home, 1, 0.0)
        core.connect(2, "q" if home == "p" else "p", 1, 0.0)
        assert handed(core.enqueue(query("a", avoid=home), 0.0)) == [(1, "a")]

    def test_who_had_it_is_told(self):
        core = scheduler()
        core.connect(1, "p", 2, 0.0)
        core.enqueue(query("a"), 0.0)
        core.enqueue(query("b"), 0.0)
        core.enqueue(query("c"), 0.0)
        over = [*core.finished("p", ("f", "a"), 0.0), *core.disconnect(1, 0.0), *core.drain()]
        assert {effect.key[1]: effect.querier for effect in over if isinstance(effect, Ended)} == {
            "a": "p",
            "b": "p",
            "c": "p",
        }


class TestShards:
    def test_a_tenant_uses_so_many_queriers(self):
        core = scheduler(queriers_max=1, waiting=100)
        for number, name in enumerate("pqr"):
            core.connect(number, name, 100, 0.0)
        homes = {}
        for n in range(30):
            tenant = f"t{n % 10}"
            (only,) = handed(core.enqueue(query(str(n), tenant), 0.0))
            homes.setdefault(tenant, set()).add(only[0])
        assert all(len(home) == 1 for home in homes.values())
        assert len(set().union(*homes.values())) > 1

    def test_few_change_when_a_querier_comes(self):
        before = {f"t{n}": querier_shard(f"t{n}", ["p", "q", "r"], 2) for n in range(200)}
        after = {f"t{n}": querier_shard(f"t{n}", ["p", "q", "r", "s"], 2) for n in range(200)}
        assert all(len(before[t] - after[t]) <= 1 for t in before)
        assert all("s" in after[t] for t in before if before[t] != after[t])

    def test_a_lost_querier_keeps_its_place_for_a_while(self):
        core = scheduler(queriers_max=1, forget_s=60.0)
        home = min(querier_shard("t", ["p", "q"], 1))
        other = "q" if home == "p" else "p"
        core.connect(1, home, 1, 0.0)
        core.connect(2, other, 1, 0.0)
        core.disconnect(1, 10.0)
        assert core.enqueue(query("deadly"), 11.0) == []
        assert handed(core.tick(69.0)) == []
        assert handed(core.tick(70.0)) == [(2, "deadly")]

    def test_one_that_left_in_order_is_forgotten_at_once(self):
        core = scheduler(queriers_max=1, forget_s=60.0)
        home = min(querier_shard("t", ["p", "q"], 1))
        core.connect(1, home, 1, 0.0)
        core.connect(2, "q" if home == "p" else "p", 1, 0.0)
        core.leave(home, 5.0)
        core.disconnect(1, 10.0)
        assert handed(core.enqueue(query("a"), 11.0)) == [(2, "a")]


class Everything(RuleBasedStateMachine):
    """Whatever happens: a query is with at most one querier, ends once, and none waits while a slot is free."""

    def __init__(self):
        super().__init__()
        self.core = scheduler(waiting=5)
        self.now = 0.0
        self.serial = 0
        self.waiting = set()
        self.avoid = {}
        self.at = {}
        self.slots = {}
        self.names = {}
        self.over = set()
        self.open = set()
        """Connections that no later one of the same querier has replaced."""

    def querier_at(self, key):
        return self.names[self.at[key]]

    def apply(self, effects):
        for effect in effects:
            match effect:
                case Handed(connection, taken, _):
                    key = key_of(taken)
                    assert key in self.waiting
                    self.waiting.discard(key)
                    self.at[key] = connection
                    assert connection in self.slots
                case Ended(key, _, querier):
                    assert querier == (self.querier_at(key) if key in self.at else "")
                    assert key not in self.over
                    self.over.add(key)
                    self.waiting.discard(key)
                    self.at.pop(key, None)

    @rule(tenant=st.sampled_from("abc"), avoid=st.sampled_from(["", "p", "q", "pq"]))
    def enqueue(self, tenant, avoid):
        self.serial += 1
        new = query(str(self.serial), tenant, avoid=avoid)
        self.waiting.add(key_of(new))
        self.avoid[key_of(new)] = avoid
        try:
            self.apply(self.core.enqueue(new, self.now))
        except RateLimited:
            self.waiting.discard(key_of(new))

    @rule(querier=st.sampled_from("pq"), slots=st.integers(1, 3))
    def connect(self, querier, slots):
        self.serial += 1
        self.open = {n for n in self.open if n in self.slots and self.slots[n][0] != querier} | {self.serial}
        self.slots[self.serial] = (querier, slots)
        self.names[self.serial] = querier
        self.apply(self.core.connect(self.serial, querier, slots, self.now))

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def disconnect(self, data):
        connection = data.draw(st.sampled_from(sorted(self.slots)))
        del self.slots[connection]
        mine = {key for key, at in self.at.items() if at == connection}
        effects = self.core.disconnect(connection, self.now)
        assert mine <= {effect.key for effect in effects if isinstance(effect, Ended)}
        self.apply(effects)

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def finish(self, data):
        key = data.draw(st.sampled_from(sorted(self.at)))
        self.apply(self.core.finished(self.slots[self.at[key]][0], key, self.now))
        assert key in self.over

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data):
        key = data.draw(st.sampled_from(sorted(self.waiting)))
        self.apply(self.core.cancel(key))
        self.waiting.discard(key)

    @invariant()
    def counts_agree(self):
        assert len(self.core.queue) == len(self.waiting)
        assert self.core.running == len(self.at)
        for connection, (_, slots) in self.slots.items():
            assert sum(at == connection for at in self.at.values()) <= slots

    @invariant()
    def nobody_waits_for_nothing(self):
        queriers = {self.slots[n][0] for n in self.open if n in self.slots}
        free = {
            name
            for n, (name, slots) in self.slots.items()
            if n in self.open and sum(at == n for at in self.at.values()) < slots
        }
        for key in self.waiting:
            assert not free & (queriers.difference(self.avoid[key]) or queriers)


TestEverything = Everything.TestCase
TestEverything.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
