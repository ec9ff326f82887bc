import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.kv.contract import CodecError
from mimir_rw.ring.codec import RING_CODEC, decode_desc, encode_desc
from mimir_rw.ring.desc import EMPTY, InstanceDesc, InstanceState, RingDesc, merge, without_tombstones
from tests.unit.ring.rings import NOW_S, instance, random_ring

# ring-and-gossip.md section 2.
EXAMPLE = bytes.fromhex(
    "0a420a0a696e6765737465722d301234"
    "0a0d31302e302e302e313a393039351080a0f8fa053203"
    "01ac02"
    "3a067a6f6e652d61409898f8fa054a0a696e6765737465722d30"
)
# Section 12: the value of the example pair.
EXAMPLE_BLOCK = bytes.fromhex(
    "44ec0a420a0a696e6765737465722d3012340a0d31302e302e302e313a393039351080a0f8fa05320301ac023a"
    "067a6f6e652d61409898f8fa054a0a696e1c6765737465722d30"
)
EXAMPLE_RING = RingDesc(
    [
        InstanceDesc(
            id="ingester-0", addr="10.0.0.1:9095", timestamp_s=1600000000, tokens=(1, 300), zone="zone-a",
            registered_s=1599999000,
        )
    ]
)  # fmt: skip

numbers = st.integers(-(1 << 63), (1 << 63) - 1)
instances = st.builds(
    InstanceDesc,
    id=st.text(max_size=8),
    addr=st.text(max_size=8),
    zone=st.text(max_size=4),
    state=st.sampled_from(InstanceState),
    timestamp_s=numbers,
    registered_s=numbers,
    read_only=st.booleans(),
    read_only_updated_s=numbers,
    tokens=st.lists(st.integers(0, (1 << 32) - 1), max_size=6, unique=True).map(lambda t: tuple(sorted(t))),
    versions=st.dictionaries(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), max_size=2),
)


def test_the_recorded_bytes():
    assert encode_desc(EXAMPLE_RING) == EXAMPLE
    assert decode_desc(EXAMPLE) == EXAMPLE_RING
    assert RING_CODEC.encode(EXAMPLE_RING) == EXAMPLE_BLOCK
    assert RING_CODEC.decode(EXAMPLE_BLOCK) == EXAMPLE_RING


@given(st.lists(instances, max_size=4).map(RingDesc))
def test_what_is_written_is_read(ring):
    assert RING_CODEC.decode(RING_CODEC.encode(ring)) == ring


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data):
    for decode in (RING_CODEC.decode, decode_desc):
        try:
            decode(data)
        except CodecError:
            continue


def test_damaged_bytes_decode_or_are_refused():
    draw = random.Random(5)
    whole = encode_desc(random_ring(1))
    for _ in range(3000):
        data = bytearray(whole[: draw.randrange(1, len(whole))] if draw.random() < 0.3 else whole)
        for _ in range(draw.randrange(4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            decode_desc(bytes(data))
        except CodecError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff\x0f\x00",  # declares 4 GiB
        b"\x80",
        b"\x05\x00",
    ],
)
def test_blocks_that_are_refused(data):
    with pytest.raises(CodecError):
        RING_CODEC.decode(data)


def test_no_bytes_are_an_empty_ring():
    assert RING_CODEC.decode(b"") == EMPTY
    assert RING_CODEC.is_empty(EMPTY)


def test_unknown_fields_are_skipped():
    unknown = bytes([0x78, 0x05]) + bytes([0x7D, 1, 2, 3, 4]) + bytes([0x79] + [0] * 8) + bytes([0x7A, 1, 0])
    inner = unknown + b"\x0a\x01x"
    entry = b"\x0a\x01a\x12" + bytes([len(inner)]) + inner
    assert decode_desc(unknown + b"\x0a" + bytes([len(entry)]) + entry)["a"].addr == "x"


def merged(values, now_s=NOW_S):
    ours = None
    for value in values:
        ours, _ = merge(ours, value, local_cas=False, now_s=now_s)
    return ours


@st.composite
def histories(draw):
    """What instances said at different times, in parts. The tokens of each are its own throughout, or (conflicts) they
    overlap and nobody changes state."""
    conflicts = draw(st.booleans())
    parts = []
    for n in range(draw(st.integers(1, 4))):
        own = set(draw(st.lists(st.integers(0, 9), max_size=4))) if conflicts else {10 * n, 10 * n + 1}
        steady = draw(st.sampled_from([InstanceState.ACTIVE, InstanceState.LEAVING]))
        for at in range(draw(st.integers(1, 3))):
            state = steady if conflicts else draw(st.sampled_from(list(InstanceState)))
            parts.append(instance(f"i{n}", tokens=own, state=state, timestamp_s=at))
            if not conflicts and draw(st.booleans()):
                parts.append(instance(f"i{n}", state=InstanceState.LEFT, timestamp_s=at))
    return [RingDesc([part]) for part in parts]


@given(histories(), st.randoms(use_true_random=False))
def test_merge_does_not_depend_on_the_order(history, chance):
    one = merged(history)
    shuffled = list(history)
    chance.shuffle(shuffled)
    assert merged(shuffled) == one
    assert merged([*shuffled, *history]) == one


@given(histories(), histories())
def test_a_change_says_all_that_changed(first, second):
    ours = merged(first)
    for incoming in second:
        result, change = merge(ours, incoming, local_cas=False, now_s=NOW_S)
        assert (change is None) == (result == ours)
        if change is not None:
            assert {id: i for id, i in result.items() if i != ours.get(id)} == dict(change)
        ours = result


def test_what_the_writer_lacks_has_left():
    ours = RingDesc([instance("a", tokens=[1]), instance("b", tokens=[2])])
    result, change = merge(ours, ours.without(["b"]), local_cas=True, now_s=NOW_S + 5)
    assert result["b"] == instance("b", state=InstanceState.LEFT, timestamp_s=NOW_S + 5)
    assert list(change) == ["b"]
    assert merge(ours, ours.without(["b"]), local_cas=False, now_s=NOW_S + 5) == (ours, None)


@pytest.mark.parametrize(
    ("left", "right", "winner"),
    [
        (InstanceState.ACTIVE, InstanceState.ACTIVE, "a"),
        (InstanceState.LEAVING, InstanceState.ACTIVE, "b"),
        (InstanceState.LEAVING, InstanceState.LEAVING, "a"),
        (InstanceState.JOINING, InstanceState.LEAVING, "a"),
        (InstanceState.LEFT, InstanceState.ACTIVE, "b"),
    ],
)
def test_a_token_has_one_owner(left, right, winner):
    parts = [RingDesc([instance("a", tokens=[7], state=left)]), RingDesc([instance("b", tokens=[7], state=right)])]
    for order in itertools.permutations(parts):
        ring = merged(order)
        assert [i.id for i in ring.values() if 7 in i.tokens] == [winner]


def test_tombstones_go_when_they_are_old():
    ring = RingDesc([instance("a"), instance("b", state=InstanceState.LEFT, timestamp_s=100)])
    assert set(without_tombstones(ring, 100)) == {"a", "b"}
    assert set(without_tombstones(ring, 101)) == {"a"}
    assert set(without_tombstones(ring, None)) == {"a"}


def test_incoming_tokens_are_put_in_order():
    odd = InstanceDesc(id="a", tokens=(5, 1, 5), timestamp_s=1)
    assert merge(None, RingDesc([odd]), local_cas=False, now_s=1)[0]["a"].tokens == (1, 5)
