"""Messages, streams, pairs, compression: what is encoded decodes; what is damaged is a WireError, nothing else."""

from __future__ import annotations

import contextlib
from random import Random

import msgpack
import pytest
import snappy
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw.kv.memberlist import lzw, srv, wire
from mimir_rw.kv.memberlist.addresses import parse_endpoint
from mimir_rw.kv.memberlist.messages import (
    PROTOCOL_VERSIONS,
    Ack,
    Alive,
    Dead,
    Endpoint,
    ErrorReply,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    PushPull,
    RemoteNode,
    Suspect,
    User,
    WireError,
    decode,
    encode,
    pack_fields,
)
from mimir_rw.kv.memberlist.pairs import Pair, decode_pair, encode_pair, join_pairs, split_pairs

HERE = Endpoint(bytes((10, 0, 0, 1)), 7946)
SIX = Endpoint(bytes(range(16)), 7946)
MESSAGES: list[Message] = [
    Ping(7, "b"),
    Ping(1 << 31, "b", HERE, "a"),
    IndirectPing(3, SIX, "c", nack=True, source=HERE, source_node="a"),
    IndirectPing(3, HERE, "c", nack=False),
    Ack(4),
    Nack(5),
    Suspect(1, "b", "a"),
    Dead((1 << 32) - 1, "b", "b"),
    Alive(2, "n" * 300, HERE, b"meta", PROTOCOL_VERSIONS),
    User(b"\x00anything"),
]
NODE = RemoteNode("a", HERE, b"", 1, NodeState.SUSPECT, PROTOCOL_VERSIONS)
STREAMS: list[wire.StreamMessage] = [
    PushPull((), join=True, user_state=b""),
    PushPull((NODE, NODE), join=False, user_state=bytes(1000)),
    Ping(7, "b", HERE, "a"),
    Ack(7),
    ErrorReply("no"),
]
BYTES_MAX = 1 << 20


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_come_back(message: Message) -> None:
    assert decode(encode(message)) == message


def test_only_the_old_raw_form_is_written() -> None:
    body = encode(Alive(1, "n" * 40, HERE, bytes(40), PROTOCOL_VERSIONS))
    assert b"\xda\x00\x28" + b"n" * 40 in body
    assert b"\xda\x00\x28" + bytes(40) in body


def test_other_forms_of_msgpack_are_read() -> None:
    """Of a newer encoder: text and bytes told apart, keys in any order, fields nobody knows, and some missing."""
    body = msgpack.packb({"Node": "b", "Later": [b"x"], "Incarnation": 3}, use_bin_type=True)
    assert decode(b"\x03" + body + b"trailing") == Suspect(3, "b", "")


def test_an_ipv4_address_in_sixteen_bytes_is_the_same() -> None:
    mapped = bytes(10) + b"\xff\xff" + HERE.addr
    data = encode(Alive(1, "a", Endpoint(mapped, 7946), b"", PROTOCOL_VERSIONS))
    message = decode(data)
    assert message.endpoint == HERE
    assert encode(message) == data, "it is passed on in the form it came in"


@pytest.mark.parametrize(
    "fields",
    [
        {"Node": ""},
        {"Node": b"\xff", "Addr": bytes(4)},
        {"Node": "a", "Addr": bytes(5)},
        {"Node": "a", "Addr": bytes(4), "Port": 65536},
        {"Node": "a", "Addr": bytes(4), "Port": -1},
        {"Node": "a", "Addr": bytes(4), "Incarnation": 1 << 32},
        {"Node": "a", "Addr": bytes(4), "Incarnation": True},
        {"Node": "a", "Addr": bytes(4), "Meta": bytes(513)},
        {"Node": "a", "Addr": bytes(4), "Vsn": bytes(5)},
        {"Node": "a", "Addr": 4},
    ],
)
def test_fields_out_of_bounds_are_refused(fields: dict) -> None:
    with pytest.raises(WireError):
        decode(b"\x04" + pack_fields(fields))


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("label", ["", "dev"])
@pytest.mark.parametrize("message", STREAMS, ids=lambda m: type(m).__name__)
def test_streams_come_back_whole_and_byte_by_byte(message: wire.StreamMessage, label: str, compression: bool) -> None:
    data = wire.encode_stream(message, label=label, compression=compression)
    whole = wire.StreamDecoder(bytes_max=BYTES_MAX).feed(data)
    assert whole == wire.StreamResult(label, message, len(data))
    slow = wire.StreamDecoder(bytes_max=BYTES_MAX)
    answers = [slow.feed(data[i : i + 1]) for i in range(len(data))]
    assert answers[-1] == whole
    assert answers[:-1] == [None] * (len(data) - 1)


def test_a_stream_is_bounded() -> None:
    message = PushPull((), join=False, user_state=bytes(5000))
    for compression in (False, True):
        data = wire.encode_stream(message, label="", compression=compression)
        with pytest.raises(WireError):
            wire.StreamDecoder(bytes_max=1000).feed(data)


def test_a_declared_size_is_looked_at_before_the_bytes_are_there() -> None:
    header = b"\x06" + pack_fields({"Nodes": 0, "UserStateLen": (1 << 32) - 1, "Join": False})
    with pytest.raises(WireError, match="declares"):
        wire.StreamDecoder(bytes_max=BYTES_MAX).feed(header)
    header = b"\x06" + pack_fields({"Nodes": (1 << 20) + 1, "UserStateLen": 0, "Join": False})
    with pytest.raises(WireError, match="Nodes"):
        wire.StreamDecoder(bytes_max=BYTES_MAX).feed(header)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x00\xdd\xff\xff\xff\xff",
        b"\x00\xdf\xff\xff\xff\xff",
        b"\x00\xdb\xff\xff\xff\xff",
        b"\x00" + b"\x91" * 100_000,
        b"\x00" + b"\x81\xa0" * 100_000,
        b"\x00" + b"\xdd\x00\x01\x00\x00" * 10_000,
    ],
    ids=["array", "map", "bytes", "nested arrays", "nested maps", "nested large arrays"],
)
def test_bombs_of_msgpack(bomb: bytes) -> None:
    with pytest.raises(WireError):
        decode(bomb)


def test_a_snappy_bomb_is_refused_by_what_it_declares() -> None:
    bomb = b"\xff\xff\xff\xff\x0f" + bytes(10)
    packet = b"\x09" + pack_fields({"Algo": 1, "Buf": bomb})
    with pytest.raises(WireError, match="more than"):
        wire.unseal(packet, label="", verify_label=True, bytes_max=BYTES_MAX)


def test_snappy_is_understood() -> None:
    packet = b"\x09" + pack_fields({"Algo": 1, "Buf": snappy.compress(encode(Ack(9)))})
    assert wire.unseal(packet, label="", verify_label=True, bytes_max=BYTES_MAX) == [encode(Ack(9))]


def test_packets_are_compressed_when_that_pays() -> None:
    large = encode(User(bytes(wire.PACKET_COMPRESS_MIN)))
    sealed = wire.seal(large, label="", crc=True, compression=True)
    assert len(sealed) < len(large) // 4
    assert wire.unseal(sealed, label="", verify_label=True, bytes_max=BYTES_MAX) == [large]
    assert wire.seal(large, label="", crc=False, compression=False) == large


def test_compounds_are_split_by_count_and_by_size() -> None:
    small, large = encode(Ack(1)), encode(User(bytes(70_000)))
    packed = wire.compound([small, large, *[small] * 300])
    assert packed[0] == large
    assert len(packed) == 3
    unpacked = [m for p in packed for m in wire.unseal(p, label="", verify_label=True, bytes_max=BYTES_MAX)]
    assert unpacked == [large, *[small] * 301]


@given(st.binary(max_size=3000))
def test_lzw_comes_back(data: bytes) -> None:
    assert lzw.decompress(lzw.compress(data), bytes_max=BYTES_MAX) == data


@given(st.integers(1, 20_000), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=30)
def test_lzw_of_long_and_repetitive_data_comes_back(size: int, letters: int, seed: int) -> None:
    data = bytes(Random(seed).choices(range(letters), k=size))
    assert lzw.decompress(lzw.compress(data), bytes_max=BYTES_MAX) == data


def test_lzw_output_is_bounded() -> None:
    packed = lzw.compress(bytes(BYTES_MAX + 1))
    assert len(packed) < 10_000
    with pytest.raises(WireError, match="more than"):
        lzw.decompress(packed, bytes_max=BYTES_MAX)


pairs = st.builds(
    Pair,
    key=st.text(min_size=1, max_size=30),
    value=st.binary(max_size=100),
    codec_id=st.text(max_size=10),
    deleted=st.booleans(),
    update_time_ms=st.integers(-(1 << 63), (1 << 63) - 1),
)


@given(st.lists(pairs, max_size=4))
def test_pairs_come_back(given_pairs: list[Pair]) -> None:
    state = join_pairs([encode_pair(pair) for pair in given_pairs])
    assert [decode_pair(data) for data in split_pairs(state)] == given_pairs


def test_fields_of_later_versions_are_skipped() -> None:
    later = b"\x30\x05" + b"\x3a\x02xx" + b"\x45\x01\x02\x03\x04" + b"\x49" + bytes(8)
    assert decode_pair(later + encode_pair(Pair("k", b"v", "c"))) == Pair("k", b"v", "c")


SEEDS = [
    *map(encode, MESSAGES),
    *(wire.encode_stream(m, label="dev", compression=c) for m in STREAMS for c in (False, True)),
    wire.encode_frame(b"10.0.0.1:7946", wire.seal(encode(MESSAGES[0]), label="dev", crc=True, compression=True)),
    wire.compound([encode(MESSAGES[0]), encode(MESSAGES[8])])[0],
    encode_pair(Pair("key", b"value", "codec", deleted=True, update_time_ms=5)),
    join_pairs([encode_pair(Pair("key", b"value", "codec"))] * 2),
    lzw.compress(bytes(range(256)) * 3),
    srv.encode_query("_gossip._tcp.example.com"),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Good bytes with some of them changed, cut out or put in; or any bytes."""
    data = bytearray(draw(st.one_of(st.sampled_from(SEEDS), st.binary(max_size=200))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 4))
        data[at : at + cut] = draw(st.binary(max_size=4))
    return bytes(data)


def _stream(data: bytes) -> object:
    return wire.StreamDecoder(bytes_max=10_000).feed(data)


DECODERS = [
    decode,
    wire.decode_frame,
    wire.split_label,
    wire.split_compound,
    lambda data: wire.unseal(data, label="dev", verify_label=False, bytes_max=10_000),
    _stream,
    lambda data: lzw.decompress(data, bytes_max=10_000),
    decode_pair,
    lambda data: list(split_pairs(data)),
    srv.decode_answer,
]


@pytest.mark.parametrize("decoder", DECODERS)
@given(data=damaged())
def test_decoders_are_total(decoder, data: bytes) -> None:
    with contextlib.suppress(WireError):
        decoder(data)


@given(st.text(max_size=30))
def test_addresses_are_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_endpoint(text)


def test_srv_answers() -> None:
    query = srv.encode_query("_g._tcp.example")
    target = b"\x01a\x07example\x00"
    record = b"\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x3c" + (6 + len(target)).to_bytes(2, "big")
    record += b"\x00\x00\x00\x00" + (7946).to_bytes(2, "big") + target
    other = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01"
    answer = query[:2] + b"\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00" + query[12:] + other + record
    assert srv.decode_answer(answer) == [("a.example", 7946)]
    assert srv.decode_answer(query[:2] + b"\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00" + query[12:]) == []
    with pytest.raises(WireError, match="error 2"):
        srv.decode_answer(query[:2] + b"\x81\x82\x00\x01\x00\x00\x00\x00\x00\x00" + query[12:])


def test_a_name_that_points_at_itself_ends() -> None:
    record = b"\x00\x00\x21\x00\x01\x00\x00\x00\x00\x00\x08" + bytes(6) + b"\xc0\x1d"
    with pytest.raises(WireError, match="name"):
        srv.decode_answer(b"\x00\x01\x81\x80\x00\x00\x00\x01\x00\x00\x00\x00" + record)
