"""The bytes that ring-and-gossip.md records decode and encode to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimir_rw.kv.memberlist import lzw, wire
from mimir_rw.kv.memberlist.messages import Ack, Endpoint, Ping, WireError, decode, encode
from mimir_rw.kv.memberlist.pairs import Pair, decode_pair, encode_pair

RING_VALUE = bytes.fromhex(
    "44ec0a420a0a696e6765737465722d3012340a0d31302e302e302e313a3930393510"
    "80a0f8fa05320301ac023a067a6f6e652d61409898f8fa054a0a696e1c6765737465722d30"
)
RING_PAIR = bytes.fromhex(
    "0a0f636f6c6c6563746f72732f72696e67124744ec0a420a0a696e6765737465"
    "722d3012340a0d31302e302e302e313a393039351080a0f8fa05320301ac023a"
    "067a6f6e652d61409898f8fa054a0a696e1c6765737465722d301a0872696e67"
    "44657363"
)
PING = bytes.fromhex(
    "0085a44e6f6465a162a55365714e6f01aa536f7572636541646472a40a000001aa536f757263654e6f6465a161aa536f75726365506f7274cd1f0a"
)
CRC = bytes.fromhex("0c0deb8272")
LABEL = bytes.fromhex("f403646576")
FRAME = bytes.fromhex(
    "010d31302e302e302e313a37393436f4036465760c0deb82720085a44e6f6465"
    "a162a55365714e6f01aa536f7572636541646472a40a000001aa536f75726365"
    "4e6f6465a161aa536f75726365506f7274cd1f0a5610545c30a2717a4b1486f1"
    "98233de6"
)
ACK = bytes.fromhex("0282a75061796c6f6164c0a55365714e6f01")
COMPOUND = bytes.fromhex("0702003b0012") + PING + ACK

PING_MESSAGE = Ping(1, "b", Endpoint(bytes((10, 0, 0, 1)), 7946), "a")


def test_ring_pair() -> None:
    pair = Pair("collectors/ring", RING_VALUE, "ringDesc")
    assert decode_pair(RING_PAIR) == pair
    assert encode_pair(pair) == RING_PAIR


@pytest.mark.parametrize(("data", "message"), [(PING, PING_MESSAGE), (ACK, Ack(1))], ids=["ping", "ack"])
def test_messages(data: bytes, message: Ping | Ack) -> None:
    assert decode(data) == message
    assert encode(message) == data


def test_packet_with_label_crc_and_digest() -> None:
    payload = wire.seal(PING, label="dev", crc=True, compression=True)
    assert payload == LABEL + CRC + PING
    assert wire.encode_frame(b"10.0.0.1:7946", payload) == FRAME
    frame = wire.decode_frame(FRAME[1:])
    assert frame == wire.Frame("10.0.0.1:7946", payload, intact=True)
    assert wire.unseal(frame.payload, label="dev", verify_label=True, bytes_max=1 << 20) == [PING]


def test_compound() -> None:
    assert wire.compound([PING, ACK]) == [COMPOUND]
    assert wire.unseal(COMPOUND, label="", verify_label=True, bytes_max=1 << 20) == [PING, ACK]


def test_a_changed_digest_is_seen_and_the_payload_still_given() -> None:
    frame = wire.decode_frame(FRAME[1:-1] + b"\x00")
    assert not frame.intact
    assert frame.payload == LABEL + CRC + PING


def test_a_wrong_crc_is_refused() -> None:
    with pytest.raises(WireError, match="CRC"):
        wire.unseal(CRC + PING[:-1] + b"\x0b", label="", verify_label=True, bytes_max=1 << 20)


@pytest.mark.parametrize(
    ("found", "ours", "verify", "taken"),
    [
        ("dev", "dev", True, True),
        ("", "", True, True),
        ("prod", "dev", True, False),
        ("", "dev", True, False),
        ("dev", "", True, False),
        ("prod", "dev", False, True),
        ("", "dev", False, True),
        ("dev", "", False, False),
    ],
)
def test_labels(found: str, ours: str, verify: bool, taken: bool) -> None:
    payload = wire.label_header(found) + PING
    if taken:
        assert wire.unseal(payload, label=ours, verify_label=verify, bytes_max=1 << 20) == [PING]
    else:
        with pytest.raises(WireError, match="label"):
            wire.unseal(payload, label=ours, verify_label=verify, bytes_max=1 << 20)


GOLDEN = Path(__file__).parents[3] / "golden"
RECORDED = json.loads((GOLDEN / "dskit" / "connections.json").read_text())
CONNECTIONS = [(how, what, bytes.fromhex(data)) for how, kept in RECORDED.items() for what, data in kept.items()]


@pytest.mark.parametrize(
    ("how", "what", "data"), CONNECTIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_a_dskit_node_sent(how: str, what: str, data: bytes) -> None:
    """Every connection of a real node decodes, and what was decoded encodes to the same bytes."""
    if what.startswith("stream"):
        assert data[:1] == wire.STREAM_KIND
        result = wire.StreamDecoder(bytes_max=1 << 20).feed(data[1:])
        compressed = data[1 + len(LABEL)] == 9
        assert wire.encode_stream(result.message, label="dev", compression=compressed) == data[1:]
        return
    frame = wire.decode_frame(data[1:])
    assert frame.intact
    messages = wire.unseal(frame.payload, label="dev", verify_label=True, bytes_max=1 << 20)
    assert " ".join(str(m[0]) for m in messages) == what.removeprefix("packet ")
    (message,) = wire.compound([encode(decode(m)) for m in messages])
    inside = frame.payload[len(LABEL) :]
    if inside[0] == 12:
        inside = inside[5:]
    if inside[0] == 9:
        message = wire.compress(message)
    assert message == inside
    crc = frame.payload[len(LABEL)] == 12
    assert wire.encode_frame(frame.sender.encode(), wire.seal(message, label="dev", crc=crc, compression=False)) == data


@pytest.mark.parametrize("case", json.loads((GOLDEN / "go_lzw.json").read_text()), ids=lambda case: case["name"])
def test_compression_is_the_same_to_the_bit(case: dict[str, str]) -> None:
    raw, packed = bytes.fromhex(case["raw"]), bytes.fromhex(case["packed"])
    assert lzw.compress(raw) == packed
    assert lzw.decompress(packed, bytes_max=1 << 20) == raw
