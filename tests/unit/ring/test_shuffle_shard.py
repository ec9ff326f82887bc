"""Shards of tenants: the algorithm of section 7.1 written plainly beside ours, and what it promises."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.ring.go_rand import GoRand
from mimir_rw.ring.hashes import shard_seed
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import ring_view
from tests.unit.ring.rings import NOW_S, instance, random_ring

ZONES3 = RingSettings(replication_factor=3, zone_awareness=True)


def plain_shard(ring, identifier, size, *, zone_aware, lookback_s=0, now_s=0):
    until = now_s - lookback_s

    def admitted(i):
        if not i.read_only:
            return True
        return lookback_s > 0 and not 0 < i.read_only_updated_s < until

    if size <= 0 or size >= len(ring):
        return {i.id for i in ring.values() if admitted(i)}
    if lookback_s > 0 and min(i.registered_s for i in ring.values()) >= until:
        return set(ring)
    zones = sorted({i.zone for i in ring.values()}) if zone_aware else [""]
    per_zone = -(-size // len(zones))
    shard = set()
    for zone in zones:
        members = [i for i in ring.values() if not zone_aware or i.zone == zone]
        if per_zone >= len(members):
            shard |= {i.id for i in members if admitted(i)}
            continue
        tokens = sorted((token, i.id) for i in members for token in i.tokens)
        generator = GoRand(shard_seed(identifier, zone))
        for _ in range(per_zone):
            key = generator.uint32()
            start = next((n for n, (token, _) in enumerate(tokens) if token > key), 0)
            stopped = False
            for _, id in tokens[start:] + tokens[:start]:
                i = ring[id]
                if id in shard or not admitted(i):
                    continue
                shard.add(id)
                if lookback_s > 0 and (i.registered_s >= until or i.read_only or i.read_only_updated_s >= until):
                    continue
                stopped = True
                break
            if not stopped:
                break
    return shard


@st.composite
def cases(draw):
    zones = draw(st.sampled_from([("a",), ("a", "b"), ("a", "b", "c")]))
    ring = random_ring(draw(st.integers(0, 50)), zones=zones, per_zone=draw(st.integers(1, 5)), tokens=4)
    times = st.sampled_from([0, NOW_S - 5000, NOW_S - 100, NOW_S - 50, NOW_S])
    for i in list(ring.values()):
        changed = dataclasses.replace(
            i, registered_s=draw(times), read_only=draw(st.booleans()), read_only_updated_s=draw(times)
        )
        ring = ring.with_instance(changed)
    return ring


@given(cases(), st.integers(0, 12), st.booleans(), st.sampled_from([0, 60, 100, 1000]), st.text(max_size=3))
def test_shards_are_those_of_the_plain_algorithm(ring, size, zone_aware, lookback_s, tenant):
    view = ring_view(ring, RingSettings(replication_factor=3, zone_awareness=zone_aware))
    for now_s in (NOW_S, NOW_S + 61, NOW_S):
        shard = view.shuffle_shard(tenant, size, lookback_s=lookback_s, now_s=now_s)
        expected = plain_shard(ring, tenant, size, zone_aware=zone_aware, lookback_s=lookback_s, now_s=now_s)
        assert set(shard.topology.ids) == expected


def test_as_many_shards_are_remembered_as_may_be():
    view = ring_view(random_ring(1, per_zone=5, registered_s=1), dataclasses.replace(ZONES3, shards_cached_max=3))
    for n in (*range(10), 9, 8):
        view.shuffle_shard(f"tenant-{n}", 6)
    assert view.topology.shards_kept == 3


def test_a_shard_is_spread_over_zones_and_stable():
    ring = random_ring(1, per_zone=5, registered_s=1)
    view = ring_view(ring, ZONES3)
    again = ring_view(ring, ZONES3)
    for n in range(30):
        shard = view.shuffle_shard(f"tenant-{n}", 6)
        assert shard.topology.ids == again.shuffle_shard(f"tenant-{n}", 6).topology.ids
        assert [sum(i.zone == z for i in shard.instances) for z in "abc"] == [2, 2, 2]
    assert len({view.shuffle_shard(f"tenant-{n}", 6).topology.ids for n in range(30)}) > 20


@pytest.mark.parametrize("seed", range(5))
def test_one_instance_more_changes_one_member_at_most(seed):
    ring = random_ring(seed, per_zone=4, registered_s=1)
    whole = ring_view(ring, ZONES3)
    less = ring_view(ring.without(["i-b-2"]), ZONES3)
    for n in range(50):
        before, after = (set(v.shuffle_shard(f"t{n}", 6).topology.ids) for v in (less, whole))
        assert len(before ^ after) in (0, 2)
        assert (after - before) <= {"i-b-2"}


@pytest.mark.parametrize("seed", range(5))
def test_a_greater_shard_holds_the_smaller_one(seed):
    view = ring_view(random_ring(seed, per_zone=4, registered_s=1), ZONES3)
    for n in range(20):
        shards = [set(view.shuffle_shard(f"t{n}", size).topology.ids) for size in (3, 6, 9, 12)]
        assert all(small < great for small, great in itertools.pairwise(shards))


@pytest.mark.parametrize("seed", range(5))
def test_the_lookback_covers_what_was_written_before_an_instance_came(seed):
    old = random_ring(seed, per_zone=3, registered_s=1)
    newcomer = instance("i-a-9", "a", [n << 24 for n in range(5, 250, 16)], registered_s=NOW_S - 10)
    new = old.with_instance(newcomer)
    for n in range(40):
        wrote = set(ring_view(old, ZONES3).shuffle_shard(f"t{n}", 3).topology.ids)
        asked = ring_view(new, ZONES3).shuffle_shard(f"t{n}", 3, lookback_s=60, now_s=NOW_S)
        assert wrote <= set(asked.topology.ids)


def test_a_shard_sees_later_heartbeats_and_is_computed_once():
    ring = random_ring(2, per_zone=3, registered_s=1)
    view = ring_view(ring, ZONES3)
    shard = view.shuffle_shard("t", 3)
    beaten = dataclasses.replace(ring[shard.topology.ids[0]], timestamp_s=NOW_S + 30)
    later = ring_view(ring.with_instance(beaten), ZONES3, view).shuffle_shard("t", 3)
    assert later.topology is shard.topology
    assert later.instances[0].timestamp_s == NOW_S + 30


def test_read_only_instances_take_no_writes():
    ring = random_ring(2)
    ring = ring.with_instance(dataclasses.replace(ring["i-a-0"], read_only=True, read_only_updated_s=NOW_S - 500))
    view = ring_view(ring, ZONES3)
    assert "i-a-0" not in view.shuffle_shard("t", 0)
    assert len(view.shuffle_shard("t", 0)) == 5
    assert "i-a-0" in view.shuffle_shard("t", 0, lookback_s=600, now_s=NOW_S)
    assert "i-a-0" not in view.shuffle_shard("t", 0, lookback_s=400, now_s=NOW_S)
