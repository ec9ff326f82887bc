"""Key-value semantics of ring-and-gossip.md 12, of stores that are shown each other's messages."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw.kv.memberlist.pairs import Pair, decode_pair, encode_pair, join_pairs
from mimir_rw.kv.memberlist.store import Broadcast, Store
from tests.kv_values import ENTRIES, Entries, Entry

NOW_MS = 1_000_000_000


def make(**bounds: int) -> Store:
    given_bounds = {"keys_max": 100, "value_bytes_max": 10_000} | bounds
    return Store([ENTRIES], tombstones_kept_s=300, deleted_kept_s=30, **given_bounds)


def write(store: Store, key: str, change, now_ms: int = NOW_MS) -> Broadcast | None:
    value, version = store.visible(key)
    attempt = store.compare_and_set(key, ENTRIES.id, version, change(value or Entries()), now_ms)
    assert not attempt.conflict
    return attempt.broadcast


def put(name: str, at_s: int, text: str = ""):
    return lambda value: value.put(name, at_s, text)


def told(news: Broadcast | None) -> Entries:
    assert news is not None
    return ENTRIES.decode(decode_pair(news.message).value)


def test_only_what_changed_is_told() -> None:
    store = make()
    write(store, "k", put("a", 1))
    news = write(store, "k", put("b", 2))
    assert told(news) == Entries({"b": Entry(2)})
    assert news.names == {"b"}
    assert store.visible("k") == (Entries({"a": Entry(1), "b": Entry(2)}), 2)


def test_what_arrives_is_passed_on_as_far_as_it_is_news() -> None:
    store = make()
    write(store, "k", put("a", 5))
    pair = Pair("k", ENTRIES.encode(Entries({"a": Entry(1), "b": Entry(2)})), ENTRIES.id)
    assert told(store.receive(encode_pair(pair), NOW_MS)) == Entries({"b": Entry(2)})
    assert store.receive(encode_pair(pair), NOW_MS) is None
    assert store.visible("k")[1] == 2


def test_what_was_merged_is_not_decoded_again(monkeypatch) -> None:
    store, decoded = make(), []
    decode = type(ENTRIES).decode
    monkeypatch.setattr(type(ENTRIES), "decode", lambda self, data: decoded.append(data) or decode(self, data))
    pairs = [encode_pair(Pair("k", ENTRIES.encode(Entries({"a": Entry(n)})), ENTRIES.id)) for n in (1, 2)]
    news = [store.receive(pair, NOW_MS) for pair in pairs for _ in range(3)]
    assert [n is not None for n in news] == [True, False, False, True, False, False]
    assert len(decoded) == 2


def test_another_version_is_a_conflict() -> None:
    store = make()
    write(store, "k", put("a", 1))
    assert store.compare_and_set("k", ENTRIES.id, 0, Entries(), NOW_MS).conflict
    assert store.compare_and_set("k", ENTRIES.id, 2, Entries(), NOW_MS).conflict
    assert store.visible("k")[1] == 1


def test_a_change_that_does_not_show_is_told_to_nobody() -> None:
    store = make()
    write(store, "k", put("a", 5))
    assert write(store, "k", put("a", 4)) is None
    assert store.visible("k") == (Entries({"a": Entry(5)}), 1)


def test_removed_entries_are_tombstones_that_clients_do_not_see() -> None:
    store = make()
    write(store, "k", lambda v: v.put("a", 1).put("b", 1))
    news = write(store, "k", lambda v: v.drop("a"))
    assert told(news) == Entries({"a": Entry(NOW_MS // 1000, left=True)})
    assert store.visible("k")[0] == Entries({"b": Entry(1)})
    assert "a" in store.current("k").value.by_name


def test_old_tombstones_are_forgotten_and_not_taken_back() -> None:
    store, other = make(), make()
    write(store, "k", lambda v: v.put("a", 1).put("b", 1))
    write(store, "k", lambda v: v.drop("a"))
    state = store.state()
    later_ms = NOW_MS + 301_000
    write(store, "k", put("c", 1), later_ms)
    assert sorted(store.current("k").value.by_name) == ["b", "c"]
    news = store.receive_state(state, later_ms)
    assert sorted(store.current("k").value.by_name) == ["b", "c"]
    assert news == []
    only_dead = ENTRIES.encode(Entries({"a": Entry(NOW_MS // 1000, left=True)}))
    assert other.receive(encode_pair(Pair("k", only_dead, ENTRIES.id)), later_ms) is None
    assert len(other) == 0


def test_deleted_keys() -> None:
    one, two = make(), make()
    two.receive(write(one, "k", put("a", 1)).message, NOW_MS)
    news = one.delete("k", NOW_MS + 1)
    assert one.visible("k") == (None, 2)
    assert one.keys() == []
    assert one.delete("k", NOW_MS + 2) is None
    assert two.receive(news.message, NOW_MS) is not None, "it is passed on"
    assert two.receive(news.message, NOW_MS) is None
    assert two.keys() == []
    one.expire(NOW_MS + 30_000)
    assert one.all_keys() == ["k"]
    one.expire(NOW_MS + 30_001)
    assert one.all_keys() == []
    assert one.receive(news.message, NOW_MS) is None, "the deletion of a key that is not known"
    assert one.counts.dropped == 0


def test_a_deleted_key_comes_back_everywhere() -> None:
    one, two = make(), make()
    two.receive(write(one, "k", put("a", 1)).message, NOW_MS)
    two.receive(one.delete("k", NOW_MS).message, NOW_MS)
    news = write(one, "k", put("b", 2), NOW_MS)
    assert one.visible("k")[0] == Entries({"b": Entry(2)})
    two.receive(news.message, NOW_MS)
    assert "b" in two.visible("k")[0].by_name


def test_the_older_of_two_decisions_on_deleting_loses() -> None:
    store = make()
    write(store, "k", put("a", 1))
    store.delete("k", NOW_MS)
    stale = Pair("k", b"", ENTRIES.id, deleted=False, update_time_ms=NOW_MS - 1)
    store.receive(encode_pair(stale), NOW_MS)
    assert store.current("k").deleted


def test_what_is_damaged_unknown_or_too_large_is_counted() -> None:
    store = make(keys_max=1, value_bytes_max=50)
    good = ENTRIES.encode(Entries({"a": Entry(1)}))
    store.receive(b"\xff", NOW_MS)
    store.receive(encode_pair(Pair("k", b"damaged", ENTRIES.id)), NOW_MS)
    assert store.counts.invalid == 2
    store.receive(encode_pair(Pair("k", b"", "unknown")), NOW_MS)
    store.receive(encode_pair(Pair("k", bytes(51), ENTRIES.id)), NOW_MS)
    store.receive(encode_pair(Pair("k", good, ENTRIES.id)), NOW_MS)
    store.receive(encode_pair(Pair("l", good, ENTRIES.id)), NOW_MS)
    assert store.counts.dropped == 3
    assert store.keys() == ["k"]


def test_good_pairs_before_a_cut_are_taken() -> None:
    store = make()
    pair = encode_pair(Pair("k", ENTRIES.encode(Entries({"a": Entry(1)})), ENTRIES.id))
    assert len(store.receive_state(join_pairs([pair]) + b"\x00\x00\x00\xff", NOW_MS)) == 1
    assert store.counts.invalid == 1


def test_the_encoded_state_follows_the_value() -> None:
    store, other = make(), make()
    for at_s in (1, 2):
        write(store, "k", put("a", at_s))
        other.receive_state(store.state(), NOW_MS)
        assert other.visible("k")[0] == store.visible("k")[0]
    assert store.encoded("k") is store.encoded("k")


steps = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.integers(1, 5), st.booleans()), min_size=1, max_size=12
)


@given(steps=steps, order=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_stores_that_have_heard_everything_agree(steps, order) -> None:
    """Whatever the order in which news arrive, and however often."""
    stores = [make() for _ in range(3)]
    news: list[bytes] = []
    for clock, (who, name, at_s, drop) in enumerate(steps):
        change = (lambda v, n=name: v.drop(n)) if drop else put(name, at_s, f"{who}")
        broadcast = write(stores[who], "k", change, NOW_MS + 1000 * clock)
        if broadcast is not None:
            news.append(broadcast.message)
    for store in stores:
        heard = news * 2
        order.shuffle(heard)
        for message in heard:
            store.receive(message, NOW_MS)
    values = [store.visible("k")[0] for store in stores]
    assert all(a == b for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("prefix", ["", "a", "ab", "b"])
def test_keys(prefix: str) -> None:
    store = make()
    for key in ("b", "ab", "aa"):
        write(store, key, put("x", 1))
    assert store.keys(prefix) == [k for k in ("aa", "ab", "b") if k.startswith(prefix)]
