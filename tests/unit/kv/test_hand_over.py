import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.kit.service import ServiceState
from mimir_rw.kv.contract import CodecError
from mimir_rw.kv.hand_over import (
    NOTHING,
    RECORDS_MAX,
    STORE_KEY,
    HandOver,
    HandOverCodec,
    HandOverRecords,
    HandOvers,
    Phase,
)
from mimir_rw.kv.memberlist.store import Store
from mimir_rw.model.errors import Unavailable
from mimir_rw.model.stored_range import StoredRange

CODEC = HandOverCodec()
NOW_S = 1_000


def record(
    instance: str = "write-a-0",
    *ranges: StoredRange,
    phase: Phase = Phase.SERVING,
    updated_ms: int = 5,
    round_ms: int = 1,
    expires_s: int = NOW_S + 100,
) -> HandOver:
    return HandOver(instance, round_ms, phase, updated_ms, expires_s, ranges)


def range_(tenant: str = "t", mint: int = 0, maxt: int = 10, version: int = 7) -> StoredRange:
    return StoredRange(tenant, mint, maxt, version, 2)


texts = st.text(min_size=1, max_size=8)
numbers = st.integers(0, 1 << 40)
records = st.builds(
    HandOver,
    instance=st.sampled_from(["a", "b"]),
    round_ms=st.integers(0, 1),
    phase=st.sampled_from(Phase),
    updated_ms=st.integers(0, 2),
    expires_s=numbers,
    ranges=st.lists(st.builds(StoredRange, texts, st.integers(-9, 0), st.integers(0, 9), numbers, numbers)).map(tuple),
)
values = st.lists(records, max_size=4).map(HandOvers)


@given(values)
def test_bytes_and_back(value: HandOvers) -> None:
    assert CODEC.decode(CODEC.encode(value)) == value
    assert msgspec.json.encode(CODEC.show(value))


@given(st.binary())
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(CodecError):
        CODEC.decode(data)


@given(values, st.data())
def test_damaged_bytes_decode_or_are_refused(value: HandOvers, data: st.DataObject) -> None:
    whole = bytearray(CODEC.encode(value))
    for _ in range(data.draw(st.integers(1, 4)) if whole else 0):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CodecError):
        CODEC.decode(bytes(whole))


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ([["", 1, 2, 1, 1, []]], "too long or empty"),
        ([["i" * 1000, 1, 2, 1, 1, []]], "too long or empty"),
        ([["i", 1, 9, 1, 1, []]], "unknown phase 9"),
        ([["i", -1, 2, 1, 1, []]], "out of range"),
        ([["i", 1, 2, 1, 1 << 63, []]], "out of range"),
        ([["i", 1, 2, 1, 1, [["t", 5, 4, 1, 1]]]], "a range that is none"),
        ([["i", 1, 2, 1, 1, [["t", 5, 1 << 63, 1, 1]]]], "a range that is none"),
        ([["i", n, 2, 1, 1, []] for n in range(RECORDS_MAX + 1)], "more hand-over records"),
        ({"i": 1}, "no hand-over records"),
    ],
)
def test_what_no_record_can_be_is_refused(stored: object, says: str) -> None:
    with pytest.raises(CodecError, match=says):
        CODEC.decode(msgspec.msgpack.encode(stored))


def test_fields_of_later_versions_are_skipped() -> None:
    assert CODEC.decode(msgspec.msgpack.encode([["i", 1, 2, 3, 4, [], "new"]])) == HandOvers(
        [HandOver("i", 1, Phase.SERVING, 3, 4)]
    )


@given(st.lists(values, min_size=1, max_size=4))
def test_the_order_of_arrival_does_not_matter(parts: list[HandOvers]) -> None:
    outcomes = []
    for order in itertools.permutations(parts):
        ours: HandOvers | None = None
        for part in order:
            before = ours if ours is not None else NOTHING
            ours, change = CODEC.merge(ours, part, local_cas=False, now_s=NOW_S)
            assert (change is None) == (ours == before)
            if change is not None:  # what is told on is enough
                assert CODEC.merge(before, change, local_cas=False, now_s=NOW_S)[0] == ours
            assert CODEC.merge(ours, part, local_cas=False, now_s=NOW_S)[1] is None
        outcomes.append(ours)
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_a_later_version_of_a_record_wins_and_another_round_is_another_record() -> None:
    old = HandOvers([record(phase=Phase.LOADING, updated_ms=5)])
    serving, withdrawn = record(updated_ms=6), record(phase=Phase.WITHDRAWN, updated_ms=6)
    assert CODEC.merge(old, HandOvers([serving]), local_cas=False, now_s=0)[0] == HandOvers([serving])
    assert CODEC.merge(HandOvers([withdrawn]), HandOvers([serving]), local_cas=False, now_s=0)[1] is None
    again = record(round_ms=2)
    assert len(CODEC.merge(HandOvers([serving]), HandOvers([again]), local_cas=True, now_s=0)[0]) == 2


def test_what_a_change_of_our_own_lacks_stays() -> None:
    merged, change = CODEC.merge(HandOvers([record("a")]), HandOvers([record("b")]), local_cas=True, now_s=0)
    assert sorted(r.instance for r in merged.values()) == ["a", "b"]
    assert change == HandOvers([record("b")])


def test_readers_see_no_withdrawn_record_and_the_store_forgets_those_that_ended() -> None:
    value = HandOvers([record("a", expires_s=10), record("b", phase=Phase.WITHDRAWN, expires_s=20), record("c")])
    assert [r.instance for r in CODEC.without_tombstones(value, None).values()] == ["a", "c"]
    assert [r.instance for r in CODEC.without_tombstones(value, 15).values()] == ["b", "c"]
    assert CODEC.without_tombstones(value, 5) is value


def test_ranges_in_force() -> None:
    early, late = range_("t", 0, 10), range_("t", 20, 30)
    value = HandOvers(
        [
            record("a", late, range_("u")),
            record("b", early, phase=Phase.LOADING),
            record("c", range_("t", 5, 6), phase=Phase.WITHDRAWN),
            record("d", range_("t", 5, 6), expires_s=NOW_S),
        ]
    )
    assert value.served("t", NOW_S) == (late,)
    assert value.loaded("t", NOW_S) == (early, late)
    assert value.served("u", NOW_S) == (range_("u"),)
    assert value.served("v", NOW_S) == ()
    assert value.served("t", NOW_S + 100) == ()


def test_a_whole_state_told_by_gossip_brings_records_before_the_ingesters_ring() -> None:
    """Else a querier could hear that an ingester has left before it knows where its samples are."""
    store = Store([CODEC], tombstones_kept_s=300, deleted_kept_s=30, keys_max=9, value_bytes_max=1 << 20)
    for key in ("collectors/ring", f"collectors/{STORE_KEY}"):
        store.compare_and_set(key, CODEC.id, 0, HandOvers([record()]), now_ms=NOW_S * 1000)
    assert store.all_keys() == [f"collectors/{STORE_KEY}", "collectors/ring"]


def test_gossip_forgets_a_record_that_ended_and_does_not_bring_it_back() -> None:
    stores = [
        Store([CODEC], tombstones_kept_s=300, deleted_kept_s=30, keys_max=9, value_bytes_max=1 << 20) for _ in range(2)
    ]
    old = stores[0].compare_and_set("k", CODEC.id, 0, HandOvers([record("a", expires_s=NOW_S)]), NOW_S * 1000).broadcast
    assert old is not None
    stores[1].receive(old.message, NOW_S * 1000)
    later_ms = (NOW_S + 301) * 1000
    news = stores[0].compare_and_set("k", CODEC.id, 1, HandOvers([record("b", expires_s=NOW_S + 999)]), later_ms)
    assert news.broadcast is not None
    assert news.broadcast.names == frozenset({"b/1"})
    assert list(stores[0].visible("k")[0]) == ["b/1"]
    stores[0].receive_state(stores[1].state(), later_ms)
    assert list(stores[0].visible("k")[0]) == ["b/1"]


# -- the service ----------------------------------------------------------------------------------------------------


class FakeKV:
    def __init__(self, value: HandOvers | None = None, fail: int = 0) -> None:
        self.value = value
        self.fail = fail
        self.changed = asyncio.Event()

    def put(self, value: HandOvers) -> None:
        self.value = value
        self.changed.set()

    async def get(self, name: str) -> HandOvers | None:
        assert name == "collectors/hand-over"
        if self.fail:
            self.fail -= 1
            raise Unavailable("no store")
        return self.value

    async def cas(self, name: str, change: Callable[[HandOvers | None], HandOvers | None]) -> None:
        new = change(self.value)
        if new is not None:
            self.put(new)

    async def watch(self, name: str) -> AsyncIterator[HandOvers]:
        while True:
            self.changed.clear()
            if self.value is not None:
                yield self.value
            await self.changed.wait()


class Clock:
    def now_ms(self) -> int:
        return NOW_S * 1000

    def monotonic(self) -> float:
        return 0.0


@contextlib.asynccontextmanager
async def running(kv: FakeKV) -> AsyncIterator[HandOverRecords]:
    service = HandOverRecords(kv=kv, key="collectors/hand-over", clock=Clock())
    living = asyncio.create_task(service.live())
    assert await service.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING
    yield service
    service.request_stop()
    await living
    assert service.failure is None


async def test_records_are_known_before_it_runs_and_followed() -> None:
    kv = FakeKV(HandOvers([record("a")]))
    async with running(kv) as service:
        assert list(service.current()) == ["a/1"]
        heard: list[HandOvers] = []
        unwatch = service.watch(heard.append)
        kv.put(HandOvers([record("a"), record("b")]))
        await asyncio.sleep(0.01)
        assert list(service.current()) == ["a/1", "b/1"]
        assert heard == [service.current()]
        unwatch()
        kv.put(HandOvers([record("c")]))
        await asyncio.sleep(0.01)
        assert len(heard) == 1


async def test_a_store_that_cannot_be_read_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimir_rw.kv.hand_over._RETRY_S", 0.0)
    async with running(FakeKV(HandOvers([record("a")]), fail=2)) as service:
        assert list(service.current()) == ["a/1"]


async def test_a_record_that_is_written_is_known_at_once_and_an_older_one_changes_nothing() -> None:
    kv = FakeKV(HandOvers([record("gone", expires_s=NOW_S)]))
    async with running(kv) as service:
        await service.write(record("a"))
        assert list(service.current()) == ["a/1"]
        assert kv.value == HandOvers([record("a")])
        await service.write(replace(record("a"), updated_ms=4, phase=Phase.LOADING))
        assert service.current()["a/1"].phase is Phase.SERVING
        await service.write(replace(record("a"), updated_ms=6, phase=Phase.WITHDRAWN))
        assert service.current().served("t", NOW_S) == ()
