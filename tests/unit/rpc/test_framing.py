"""Frames, headers and errors as bytes."""

from __future__ import annotations

import contextlib
import itertools
import random
import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw.model import errors as model
from mimir_rw.model.errors import BadRequest, Internal, MimirError, Unavailable
from mimir_rw.rpc import codec
from mimir_rw.rpc.errors import error_from_header, error_header
from mimir_rw.rpc.framing import HEAD_BYTES, FrameBounds, FrameDecoder, FramingError, Kind, frame_head

BOUNDS = FrameBounds(header_bytes_max=1000, payload_bytes_max=20_000)
Plain = tuple[int, int, int, bytes, bytes]

frames = st.lists(
    st.tuples(
        st.integers(0, 255),
        st.integers(0, 255),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=40),
        st.one_of(st.binary(max_size=40), st.integers(4000, 20_000).map(lambda n: b"p" * n)),
    ),
    max_size=6,
)


def encoded(plain: Plain) -> bytes:
    kind, flags, stream, header, payload = plain
    return frame_head(kind, stream, len(header), len(payload), flags) + header + payload


def fed(decoder: FrameDecoder, *chunks: bytes) -> list[Plain]:
    found = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    return [(f.kind, f.flags, f.stream, f.header, bytes(f.payload)) for f in found]


@given(sent=frames, cuts=st.lists(st.integers(0, 130_000), max_size=12))
def test_frames_survive_any_split(sent: list[Plain], cuts: list[int]) -> None:
    data = b"".join(map(encoded, sent))
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    decoder = FrameDecoder(BOUNDS)
    assert fed(decoder, *chunks) == sent
    assert decoder.held_bytes == 0


def test_frames_survive_single_bytes() -> None:
    sent = [(4, 1, 9, b"head", b"x" * 5000), (10, 0, 0, b"", b""), (5, 0, 9, b"", b"y")]
    data = b"".join(map(encoded, sent))
    assert fed(FrameDecoder(BOUNDS), *(data[i : i + 1] for i in range(len(data)))) == sent


@settings(max_examples=300)
@given(chunks=st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_are_frames_or_an_error(chunks: list[bytes]) -> None:
    decoder = FrameDecoder(BOUNDS)
    fed_bytes = 0
    for chunk in chunks:
        fed_bytes += len(chunk)
        try:
            decoder.feed(chunk)
        except FramingError:
            return
        assert decoder.held_bytes <= min(fed_bytes, HEAD_BYTES + 21_000)


@pytest.mark.parametrize(("header", "payload"), [(1001, 0), (0, 20_001), (2**32 - 1, 2**32 - 1)])
@pytest.mark.parametrize("step", [1, 7, 16, 100])
def test_a_frame_over_the_bounds_is_refused_at_its_head(header: int, payload: int, step: int) -> None:
    data = struct.pack("<BBHIII", 3, 0, 0, 1, header, payload) + bytes(84)
    decoder = FrameDecoder(BOUNDS)
    with pytest.raises(FramingError, match="is over"):
        fed(decoder, *(data[i : i + step] for i in range(0, len(data), step)))
    assert decoder.held_bytes <= HEAD_BYTES


def test_an_announced_payload_takes_no_memory_before_it_comes() -> None:
    decoder = FrameDecoder(FrameBounds(payload_bytes_max=1 << 30))
    tracemalloc.start()
    decoder.feed(frame_head(Kind.CALL, 1, 0, 1 << 30))
    decoder.feed(bytes(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_large_payload_that_came_in_one_piece_is_not_copied() -> None:
    data = frame_head(Kind.CALL, 1, 0, 10_000) + bytes(10_000)
    (frame,) = FrameDecoder(BOUNDS).feed(data)
    assert isinstance(frame.payload, memoryview)
    assert frame.payload.obj is data


DECODERS = [codec.HELLO, codec.HELLO_ACK, codec.CALL, codec.CREDIT, codec.ERROR, codec.GOAWAY]


@settings(max_examples=300)
@given(data=st.binary(max_size=200))
def test_any_header_bytes_decode_or_are_a_framing_error(data: bytes) -> None:
    for decoder in DECODERS:
        try:
            codec.decode_header(decoder, data)
        except FramingError:
            continue
    with contextlib.suppress(FramingError):
        codec.decode_message_header(data)


def test_mutated_headers_decode_or_are_a_framing_error() -> None:
    rng = random.Random(7)
    whole = codec.encode_header(codec.CallHeader("a.b", "tenant", "trace", 1.5, 9, {"x": [1, {"y": b"z"}], "u": "ü"}))
    for _ in range(5000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            codec.decode_header(codec.CALL, bytes(data[: rng.randrange(len(data) + 1)]))
        except FramingError:
            continue


@pytest.mark.parametrize(
    "data",
    [b"\x81\xa1a" + b"\x91" * 900_000, b"\x81\xa1a\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x81\xa1a\xa1\xff"],
    ids=["nested", "long array", "long map", "not UTF-8"],
)
def test_hostile_headers_are_a_framing_error(data: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(FramingError):
        codec.decode_message_header(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_headers_are_plain_msgpack_and_skip_what_they_do_not_know() -> None:
    header = codec.CallHeader("ingester.push", "t", timeout_s=2.0, header={"n": 1})
    as_map = msgpack.unpackb(codec.encode_header(header))
    assert as_map == {"method": "ingester.push", "tenant": "t", "timeout_s": 2.0, "header": {"n": 1}}
    newer = msgpack.packb({**as_map, "priority": {"of": "a later version"}})
    assert codec.decode_header(codec.CALL, newer) == header


KINDS = [c for c in vars(model).values() if isinstance(c, type) and issubclass(c, MimirError) and c is not MimirError]


@pytest.mark.parametrize("kind", KINDS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("error_id", [None, "label-invalid"])
def test_every_kind_of_error_crosses(kind: type[MimirError], error_id: str | None) -> None:
    error = kind("some text", error_id=error_id)
    for _ in range(2):  # twice, as through a frontend
        error = error_from_header(error_header(error))
    assert type(error) is kind
    assert (str(error), error.error_id) == (str(kind("some text", error_id=error_id)), error_id)


def test_unknown_kinds_and_subclasses_find_a_class() -> None:
    assert type(error_from_header(codec.ErrorHeader(kind="from-the-future", text="x"))) is Internal

    class Refined(BadRequest):
        pass

    assert type(error_from_header(error_header(Refined("x")))) is BadRequest
    assert type(error_from_header(error_header(MimirError("x")))) is Internal
    odd = error_from_header(codec.ErrorHeader(kind="unavailable", text="without the suffix", id="a-b"))
    assert (type(odd), str(odd), odd.error_id) == (Unavailable, "without the suffix", "a-b")
