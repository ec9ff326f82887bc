from dataclasses import replace

import pytest

from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, InstanceState, RingDesc
from mimir_rw.ring.hashes import fnv1a
from mimir_rw.ring.owner import compactor_of, owner
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import ring_view

NOW_S = 1_000


def instance(name: str, *tokens: int, beat_s: int = NOW_S) -> InstanceDesc:
    return InstanceDesc(
        id=name,
        addr=f"{name}:9095",
        state=InstanceState.ACTIVE,
        tokens=tokens,
        timestamp_s=beat_s,
        versions={RPC_VERSION_KEY: 1},
    )


def test_the_hash_of_the_specification() -> None:
    assert fnv1a(b"user-1/ns/group") == 2450718566


@pytest.mark.parametrize(
    ("token", "name"), [(5, "a"), (9, "a"), (10, "b"), (19, "b"), (20, "a"), (30, "a"), (0, "a"), (1 << 31, "a")]
)
def test_a_key_belongs_to_the_first_token_after_it(token: int, name: str) -> None:
    found = owner([instance("a", 10, 30), instance("b", 20)], token)
    assert found is not None
    assert found.id == name


def test_nobody_owns_a_key_of_an_empty_ring() -> None:
    assert owner([], 1) is None
    assert owner([instance("a")], 1) is None


def test_work_of_one_that_shows_no_life_goes_to_others_and_comes_back() -> None:
    members = [instance(name, *range(at * (1 << 24), 1 << 32, 1 << 26)) for at, name in enumerate("abc")]
    rings = [RingDesc(members)]
    dead = replace(members[0], timestamp_s=NOW_S - 100)
    rings.append(RingDesc([dead, *members[1:]]))
    found = []
    for ring in rings:
        view = ring_view(ring, RingSettings(replication_factor=1, heartbeat_timeout_s=60))
        owners = [compactor_of(view, "t", shard_size=0, now_s=NOW_S, key=f"job-{n}") for n in range(200)]
        found.append([each.id if each is not None else "" for each in owners])
    assert set(found[0]) == set("abc")
    assert set(found[1]) == set("bc")
    assert all(before in ("a", after) for before, after in zip(*found, strict=True))
    leaving = RingDesc([replace(each, state=InstanceState.LEAVING) for each in members])
    assert compactor_of(ring_view(leaving, RingSettings()), "t", shard_size=0, now_s=NOW_S) is None
