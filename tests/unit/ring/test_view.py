import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.desc import InstanceDesc, InstanceState, RingDesc
from mimir_rw.ring.operations import READ, REPORTING, WRITE, WRITE_NO_EXTEND
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import ring_view
from tests.unit.ring.rings import NOW_S, STATES, instance, plain_set, random_ring

ZONES3 = RingSettings(replication_factor=3, zone_awareness=True)


@st.composite
def rings(draw):
    count = draw(st.integers(1, 9))
    zones = draw(st.sampled_from([["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"], ["", "a", "b"], [""]]))
    free = draw(st.permutations(range(40)))
    members = []
    for n in range(count):
        tokens = [free.pop() for _ in range(draw(st.integers(0, 4)))]
        members.append(instance(f"i{n}", draw(st.sampled_from(zones)), tokens, state=draw(st.sampled_from(STATES))))
    return RingDesc(members)


@given(rings(), st.sampled_from([WRITE, WRITE_NO_EXTEND, READ, REPORTING]), st.integers(1, 4), st.booleans())
def test_sets_are_those_of_the_walk(ring, op, factor, zone_aware):
    view = ring_view(ring, RingSettings(replication_factor=factor, zone_awareness=zone_aware))
    if not any(i.tokens for i in ring.values()):
        return
    keys = np.arange(42, dtype=np.uint32)
    table = view.topology.sets(op)
    sets = table.sets_of(keys).tolist()
    ids = np.array(view.topology.ids)
    for key in keys.tolist():
        expected = plain_set(ring, key, op, factor=factor, zone_aware=zone_aware)
        assert ids[table.members[:, sets[key]]].tolist() == sorted(expected)


def test_the_whole_key_space_equals_the_walk():
    ring = random_ring(3, per_zone=3, tokens=32)
    view = ring_view(ring, ZONES3)
    draw = random.Random(1)
    edges = [t for i in ring.values() for t in i.tokens]
    keys = [draw.randrange(1 << 32) for _ in range(300)] + edges + [t - 1 for t in edges] + [0, (1 << 32) - 1]
    placement = view.replication_sets(np.array(keys, dtype=np.uint32), WRITE_NO_EXTEND, now_s=NOW_S)
    sets = placement.sets
    for key, number in zip(keys, placement.set_of_row.tolist(), strict=True):
        assert list(sets[number].ids) == sorted(plain_set(ring, key, WRITE_NO_EXTEND, factor=3, zone_aware=True))


def test_unhealthy_replicas_are_left_out_and_cost_errors():
    members = [instance(z, z, [n + 1], timestamp_s=NOW_S) for n, z in enumerate("abc")]
    view = ring_view(RingDesc(members), ZONES3)
    held = view.replication_set(0, WRITE_NO_EXTEND, now_s=NOW_S + 60)
    assert (held.ids, held.max_errors) == (("a", "b", "c"), 1)
    stale = ring_view(RingDesc([*members, instance("b", "b", [2], timestamp_s=NOW_S - 1)]), ZONES3, view)
    assert stale.topology is view.topology
    held = stale.replication_set(0, WRITE_NO_EXTEND, now_s=NOW_S + 60)
    assert (held.ids, held.max_errors) == (("a", "c"), 0)
    with pytest.raises(Unavailable, match="at least 2 live replicas required, could only find 0"):
        stale.replication_set(0, WRITE_NO_EXTEND, now_s=NOW_S + 61)
    one = ring_view(stale.desc, RingSettings(replication_factor=3, zone_awareness=True, ignore_unhealthy=True))
    assert one.replication_set(0, WRITE_NO_EXTEND, now_s=NOW_S + 60).max_errors == 1
    with pytest.raises(Unavailable, match="at least 1 live"):
        one.replication_set(0, WRITE_NO_EXTEND, now_s=NOW_S + 61)


def test_only_rows_of_the_batch_matter():
    members = [instance("a", "", [100]), instance("b", "", [200], state=InstanceState.LEAVING)]
    view = ring_view(RingDesc(members), RingSettings())
    assert view.replication_sets(np.array([5], np.uint32), WRITE_NO_EXTEND, now_s=NOW_S).sets[0].ids in {("a",), ("b",)}
    with pytest.raises(Unavailable, match=r"unhealthy instances: b:9095"):
        view.replication_sets(np.array([5, 150], np.uint32), WRITE_NO_EXTEND, now_s=NOW_S)


def test_an_empty_ring_serves_nothing():
    view = ring_view(RingDesc(), ZONES3)
    for ask in (
        lambda: view.replication_set(1, WRITE, now_s=1),
        lambda: view.query_set(READ, now_s=1),
        lambda: view.shuffle_shard("t", 3).query_set(READ, now_s=1),
    ):
        with pytest.raises(Unavailable, match="empty ring"):
            ask()
    assert view.owned_ranges("a").shape == (0, 2)


def test_rows_by_instance():
    ring = random_ring(9)
    view = ring_view(ring, ZONES3)
    keys = np.random.default_rng(3).integers(0, 1 << 32, 500, dtype=np.uint32)
    placement = view.replication_sets(keys, WRITE_NO_EXTEND, now_s=NOW_S)
    held = {share.instance.id: share.rows.tolist() for share in placement.by_instance()}
    for id in ring:
        mine = [n for n, s in enumerate(placement.set_of_row.tolist()) if id in placement.sets[s].ids]
        assert held.get(id, []) == mine
    three = ring_view(random_ring(9, per_zone=1), ZONES3).replication_sets(keys, WRITE_NO_EXTEND, now_s=NOW_S)
    assert [share.rows for share in three.by_instance()] == [None, None, None]


@pytest.mark.parametrize(
    ("count", "down", "factor", "errors"),
    [(3, 0, 3, 1), (3, 1, 3, 0), (3, 2, 3, None), (6, 1, 3, 0), (6, 2, 3, None), (1, 0, 1, 0), (1, 0, 3, None)],
)
def test_query_set_without_zones(count, down, factor, errors):
    members = [instance(f"i{n}", "", [n], timestamp_s=NOW_S - 99 * (n < down)) for n in range(count)]
    view = ring_view(RingDesc(members), RingSettings(replication_factor=factor))
    if errors is None:
        with pytest.raises(Unavailable, match="too many unhealthy instances in the ring"):
            view.query_set(READ, now_s=NOW_S)
        return
    found = view.query_set(READ, now_s=NOW_S)
    assert (len(found.instances), found.max_errors, found.zone_aware) == (count - down, errors, False)


@pytest.mark.parametrize(
    ("zones", "down", "spare", "left"),
    [
        ("abc", "", 1, 6),
        ("abc", "a", 0, 4),
        ("abc", "ab", None, 0),
        ("ab", "", 0, 4),
        ("ab", "a", None, 0),
        ("a", "", None, 0),
        ("abcd", "d", 0, 6),
        ("abcd", "", 1, 8),
    ],
)
def test_query_set_with_zones(zones, down, spare, left):
    members = [
        instance(f"{z}{n}", z, [ord(z) * 10 + n], timestamp_s=NOW_S - 99 * (z in down and n == 0))
        for z in zones
        for n in range(2)
    ]
    view = ring_view(RingDesc(members), ZONES3)
    if spare is None:
        with pytest.raises(Unavailable, match="too many unhealthy"):
            view.query_set(READ, now_s=NOW_S)
        return
    found = view.query_set(READ, now_s=NOW_S)
    assert (found.max_unavailable_zones, len(found.instances), found.zone_aware) == (spare, left, True)
    assert not set(found.zones()) & set(down)


def test_states_that_may_take_part():
    members = [instance(state.name, "", [n], state=state) for n, state in enumerate(STATES)]
    view = ring_view(RingDesc(members), RingSettings())
    able = {op: {i.id for i in view.healthy_instances(op, now_s=NOW_S)} for op in (WRITE, READ, REPORTING)}
    assert able == {
        WRITE: {"ACTIVE"}, READ: {"ACTIVE", "LEAVING", "PENDING"}, REPORTING: {s.name for s in STATES},
    }  # fmt: skip
    assert view.healthy("LEAVING", READ, now_s=NOW_S)
    assert not view.healthy("LEAVING", READ, now_s=NOW_S + 61)
    assert not view.healthy("nobody", READ, now_s=NOW_S)


def test_foreign_instances_take_no_part():
    ring = RingDesc([instance("ours", "", [10]), InstanceDesc(id="theirs", tokens=(5,), timestamp_s=NOW_S)])
    view = ring_view(ring, RingSettings())
    assert [i.id for i in view.foreign] == ["theirs"]
    assert [i.id for i in view.instances] == ["ours"]
    assert view.replication_set(0, WRITE, now_s=NOW_S).ids == ("ours",)


def test_instances_of_excluded_zones_take_no_part():
    ring = random_ring(3, per_zone=1, tokens=4)
    zone = sorted(i.zone for i in ring.values())[0]
    view = ring_view(ring, RingSettings(replication_factor=3, zone_awareness=True, excluded_zones=(zone,)))
    assert len(view) == 2
    assert zone not in view.zones
    assert len(view.desc) == 3


def test_heartbeats_keep_the_topology_and_all_else_makes_a_new_one():
    ring = random_ring(1)
    view = ring_view(ring, ZONES3)
    first = next(iter(ring.values()))
    later = ring.with_instance(instance(first.id, first.zone, first.tokens, timestamp_s=NOW_S + 9))
    again = ring_view(later, ZONES3, view)
    assert again.topology is view.topology
    assert again.desc[first.id].timestamp_s == again.instances[0].timestamp_s == NOW_S + 9
    leaving = later.with_instance(instance(first.id, first.zone, first.tokens, state=InstanceState.LEAVING))
    assert ring_view(leaving, ZONES3, again).topology is not view.topology
    assert ring_view(ring.without([first.id]), ZONES3, again).topology is not view.topology


@given(rings(), st.integers(1, 3), st.booleans())
def test_owned_ranges_hold_what_the_instance_is_a_replica_of(ring, factor, zone_aware):
    view = ring_view(ring, RingSettings(replication_factor=factor, zone_awareness=zone_aware))
    keys = [*range(42), (1 << 32) - 1]
    for id in ring:
        ranges = view.owned_ranges(id).tolist()
        for key in keys:
            inside = any(
                start <= key < (end or 1 << 32) if start < (end or 1 << 32) else key >= start or key < end
                for start, end in ranges
            )
            holders = plain_set(ring, key, WRITE_NO_EXTEND, factor=factor, zone_aware=zone_aware)
            assert inside == (id in holders)


def test_ownership_adds_up():
    view = ring_view(random_ring(4), ZONES3)
    assert sum(view.ownership().values()) == pytest.approx(1)
    alone = ring_view(RingDesc([instance("a", "", [77])]), RingSettings())
    assert alone.ownership() == {"a": 1.0}
    two = ring_view(RingDesc([instance("a", "", [0]), instance("b", "", [1 << 30])]), RingSettings())
    assert two.ownership() == {"a": 0.75, "b": 0.25}
