from __future__ import annotations

from dataclasses import replace

import pytest

from mimir_rw.components.ingester.hand_over.answers import (
    Reply,
    distributors,
    distributors_waiting,
    index_waiting,
    queriers,
    queriers_waiting,
    refusal,
    store_gateways,
    store_gateways_waiting,
)
from mimir_rw.components.ingester.hand_over.core import TenantBlocks, Waiting
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, InstanceState, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import RingView, ring_view
from mimir_rw.rpc.contracts.hand_over import BlocksAsked, BlocksServed, ReadOnlySeen, RecordKnown

NOW_S = 1_000
S = InstanceState


def member(id: str, zone: str = "", state: InstanceState = S.ACTIVE, age_s: int = 5, **more: object) -> InstanceDesc:
    token = sum(map(ord, id))
    made = InstanceDesc(
        id, addr=f"{id}:9095", zone=zone, state=state, timestamp_s=NOW_S - age_s, tokens=(token,),
        versions={RPC_VERSION_KEY: 3},
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def view(*members: InstanceDesc, zones: bool = True, factor: int = 3) -> RingView:
    return ring_view(RingDesc(members), RingSettings(replication_factor=factor, zone_awareness=zones))


PEERS = [member("a-0", "a", read_only=True), member("b-0", "b"), member("c-0", "c")]


@pytest.mark.parametrize(
    ("peer", "refused"),
    [
        (member("a-1", "a"), False),
        (member("a-1", "a", age_s=61), True),
        (member("a-1", "a", read_only=True), True),
        (member("a-1", "a", state=S.JOINING), True),
        (member("a-1", "a", state=S.LEAVING), True),
        (member("a-1", "a", versions={}), True),
        (member("b-1", "b"), True),
    ],
)
def test_a_zone_keeps_an_ingester_that_takes_writes(peer: InstanceDesc, refused: bool) -> None:
    why = refusal(view(*PEERS, peer), "a-0", "a", now_s=NOW_S)
    assert (why is not None) is refused
    assert why is None or "the last ingester of a that takes writes" in why


@pytest.mark.parametrize(("others", "refused"), [(3, False), (2, True), (0, True)])
def test_without_zones_enough_for_the_copies_are_left(others: int, refused: bool) -> None:
    members = [member("x"), *(member(f"o-{n}") for n in range(others))]
    why = refusal(view(*members, zones=False), "x", "", now_s=NOW_S)
    assert (why is not None) is refused
    assert why is None or f"{others} other ingesters take writes, and 3 are needed" in why


def ids(members: tuple[InstanceDesc, ...]) -> list[str]:
    return [each.id for each in members]


def test_who_is_asked() -> None:
    everybody = view(
        member("alive"),
        member("foreign", versions={}),
        member("joining", state=S.JOINING),
        member("leaving", state=S.LEAVING),
        member("silent", age_s=61),
        zones=False,
        factor=1,
    )
    assert ids(distributors(everybody, now_s=NOW_S)) == ["alive", "joining", "leaving"]
    assert ids(store_gateways(everybody, now_s=NOW_S)) == ["alive"]
    assert ids(queriers(everybody)) == ["alive", "joining", "leaving", "silent"]


ONE, TWO = member("one"), member("two")


def test_distributors() -> None:
    replies = [
        Reply(member("well"), ReadOnlySeen(True)),
        Reply(member("blind"), ReadOnlySeen(False, 2)),
        Reply(member("busy"), ReadOnlySeen(True, 2)),
        Reply(member("dumb"), "no connection"),
    ]
    assert distributors_waiting(replies) == (
        Waiting("distributor blind (blind:9095)", "does not see yet that this ingester takes no more writes"),
        Waiting("distributor busy (busy:9095)", "2 pushes are still on their way here"),
        Waiting("distributor dumb (dumb:9095)", "no connection"),
    )
    assert distributors_waiting([]) == ()


ASKED = (
    BlocksAsked(StoredRange("t", 0, 9, 4, 2), ("b1", "b2")),
    BlocksAsked(StoredRange("u", 0, 9, 5, 1), ("b3",)),
)


def served(*answers: BlocksServed) -> Reply[object]:
    return Reply(ONE, answers)


def texts(*replies: Reply[object]) -> list[str]:
    return [str(each) for each in store_gateways_waiting(ASKED, replies)]  # type: ignore[arg-type]


def test_blocks_that_somebody_serves_or_nobody_need_serve() -> None:
    one = Reply(ONE, [BlocksServed("t", 4, 0, ("b1",)), BlocksServed("u", 6)])
    two = Reply(TWO, [BlocksServed("t", 4, 0, (), ("b2",)), BlocksServed("u", 5, 0, ("b3",))])
    assert texts(one, two) == []
    assert texts(one) == ["store-gateways: none of them serves blocks b2, b3"]
    assert texts() == ["store-gateways: there is none that works in their ring"]


def test_store_gateways_that_are_behind_are_named() -> None:
    old = Reply(ONE, [BlocksServed("t", 3, 0, ("b1", "b2")), BlocksServed("u", 5, 2)])
    assert texts(old) == [
        "store-gateway one (one:9095): has too old an index of tenant t",
        "store-gateway one (one:9095): has still to load 2 blocks of tenant u",
    ]
    assert texts(Reply(ONE, [])) == ["store-gateway one (one:9095): has too old an index of tenants t, u"]
    assert texts(Reply(ONE, "no connection")) == ["store-gateway one (one:9095): no connection"]


def test_what_is_served_by_an_older_index_does_not_count() -> None:
    old = Reply(ONE, [BlocksServed("t", 3, 0, ("b1", "b2")), BlocksServed("u", 5, 0, ("b3",))])
    new = Reply(TWO, [BlocksServed("t", 4, 0, ("b1", "b2")), BlocksServed("u", 5, 0, ("b3",))])
    assert texts(old, new) == ["store-gateway one (one:9095): has too old an index of tenant t"]


def test_queriers() -> None:
    replies = [
        Reply(member("well"), RecordKnown(True)),
        Reply(member("deaf"), RecordKnown(False)),
        Reply(member("behind"), RecordKnown(True, tuple("tuvwxyz"))),
        Reply(member("dumb"), "no connection"),
    ]
    assert [str(each) for each in queriers_waiting(replies)] == [
        "querier deaf (deaf:9095): has not heard yet where the samples are",
        "querier behind (behind:9095): has too old an index of tenants t, u, v, w, x and 2 more",
        "querier dumb (dumb:9095): no connection; if it will not come back, forget it on /querier/ring",
    ]


def test_an_index_that_lacks_blocks() -> None:
    waiting = index_waiting(TenantBlocks("t", 0, 1, ("b1",)), ONE, ("b1",))
    assert str(waiting) == "compactor one (one:9095): its index of tenant t lacks block b1"
