import random

import pytest

from mimir_rw.ring import membership
from mimir_rw.ring.desc import EMPTY, InstanceState, RingDesc
from mimir_rw.ring.membership import Identity, nobody
from mimir_rw.ring.tokens import RandomTokens
from tests.unit.ring.rings import NOW_S, OURS, instance

S = InstanceState
ME = Identity(id="me", addr="new:9095", zone="z", versions=OURS, tokens_count=4)
PEER = instance("peer", tokens=[100, 200])


def generator():
    return RandomTokens(rng=random.Random(1))


def stepped(step, *members, own=None):
    ring = RingDesc([PEER, *members])
    own, stored = step(ring, own if own is not None else ring.get("me", nobody(ME)), NOW_S)
    assert stored is None or stored["me"] == own
    assert stored is None or own.tokens == tuple(sorted(set(own.tokens) - {100, 200}))
    return own


@pytest.mark.parametrize(
    ("from_file", "state"),
    [((), S.PENDING), ((1, 2), S.PENDING), ((1, 2, 3, 4), S.ACTIVE), ((1, 2, 3, 4, 5), S.ACTIVE)],
)
def test_register_without_an_entry(from_file, state):
    own = stepped(membership.register(ME, generator(), from_file))
    assert (own.state, own.tokens, own.registered_s, own.timestamp_s) == (state, from_file, NOW_S, NOW_S)
    assert (own.addr, own.zone, own.versions) == ("new:9095", "z", OURS)


@pytest.mark.parametrize(
    ("before", "tokens", "state", "count"),
    [
        (S.JOINING, [1, 2], S.PENDING, 2),
        (S.LEAVING, [1, 2], S.ACTIVE, 4),
        (S.LEAVING, [1, 2, 3, 4], S.ACTIVE, 4),
        (S.LEAVING, [1, 2, 3, 4, 5, 6], S.ACTIVE, 4),
        (S.ACTIVE, [1, 2], S.ACTIVE, 2),
        (S.PENDING, [], S.PENDING, 0),
    ],
)
def test_register_with_an_entry(before, tokens, state, count):
    entry = instance("me", "old", tokens, state=before, registered_s=7, read_only=True, read_only_updated_s=9)
    own = stepped(membership.register(ME, generator(), (50, 60)), entry)
    assert (own.state, len(own.tokens)) == (state, count)
    assert set(own.tokens) <= set(tokens) or set(tokens) <= set(own.tokens)
    assert (own.registered_s, own.read_only, own.read_only_updated_s) == (7, True, 9)
    assert (own.addr, own.zone) == ("new:9095", "z")
    assert own.timestamp_s > entry.timestamp_s


def test_join_takes_what_is_missing():
    own = stepped(membership.join(ME, generator(), S.JOINING), instance("me", tokens=[7], state=S.PENDING))
    assert own.state is S.JOINING
    assert len(own.tokens) == 4
    assert 7 in own.tokens


def test_settle_looks_whether_the_tokens_survived():
    written = instance("me", tokens=[1, 2, 3, 4], state=S.JOINING)
    own = stepped(membership.settle(ME, generator()), written, own=written)
    assert (own.state, own.tokens) == (S.ACTIVE, (1, 2, 3, 4))
    robbed = instance("me", tokens=[1, 2, 3], state=S.JOINING)
    own = stepped(membership.settle(ME, generator()), robbed, own=written)
    assert own.state is S.JOINING
    assert len(own.tokens) == 4
    assert {1, 2, 3} < set(own.tokens)


def test_heartbeat():
    mine = instance("me", tokens=[1, 2], registered_s=5, read_only=True)
    own = stepped(membership.heartbeat, instance("me", tokens=[1], state=S.LEAVING), own=mine)
    assert (own.state, own.tokens, own.timestamp_s) == (S.ACTIVE, (1,), NOW_S + 1)
    back = stepped(membership.heartbeat, own=mine)
    assert (back.tokens, back.registered_s, back.read_only, back.timestamp_s) == ((1, 2), 5, True, NOW_S)


def test_a_heartbeat_may_forget_others():
    old = [instance("old", timestamp_s=NOW_S - 601), instance("late", timestamp_s=NOW_S - 600)]
    mine = instance("me", timestamp_s=NOW_S - 9999)
    _, stored = membership.heartbeat_forgetting(600)(RingDesc([*old, mine]), mine, NOW_S)
    assert set(stored) == {"late", "me"}


def test_state_and_read_only():
    mine = instance("me", tokens=[1])
    assert stepped(membership.change_state(S.LEAVING), mine, own=mine).state is S.LEAVING
    assert membership.change_state(S.ACTIVE)(RingDesc([mine]), mine, NOW_S) == (mine, None)
    changed = stepped(membership.set_read_only(True), mine, own=mine)
    assert (changed.read_only, changed.read_only_updated_s) == (True, NOW_S)
    assert membership.set_read_only(False)(RingDesc([mine]), mine, NOW_S) == (mine, None)


def test_leave():
    mine = instance("me")
    assert membership.leave(RingDesc([mine, PEER]), mine, NOW_S) == (mine, RingDesc([PEER]))
    assert membership.leave(EMPTY, mine, NOW_S) == (mine, None)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (instance("o", tokens=[1]), None),
        (instance("o", tokens=[1], timestamp_s=NOW_S - 61), "instance o past heartbeat timeout"),
        (instance("o", tokens=[1], state=S.LEAVING), "instance o in state LEAVING"),
        (instance("o"), "instance o owns no tokens"),
    ],
)
def test_problems_of_others(other, text):
    assert membership.problem(RingDesc([instance("me", state=S.JOINING), other]), "me", 60, NOW_S) == text
