"""The remote write kernel against the protobuf runtime, over valid requests in every odd encoding and over noise."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cramjam
import pytest
from google.protobuf.message import DecodeError as RuntimeDecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw._native import BodyTooLarge, DecodedPush, DecodeError, KnownSeries, PushLimits, decode_remote_write
from mimir_rw.testing import remote_write as build
from tests.unit.native import remote_write_twin as twin

LIMITS = PushLimits(
    label_names_max=twin.LABEL_NAMES_MAX,
    info_label_names_max=twin.LABEL_NAMES_MAX,
    label_name_bytes_max=1024,
    label_value_bytes_max=2048,
    metadata_bytes_max=1 << 20,
    future_grace_ms=0,
    past_grace_ms=0,
    utf8_names=False,
)


def decode(message: bytes, known: KnownSeries | None = None, bytes_max: int = 1 << 20) -> DecodedPush:
    return decode_remote_write(
        bytes(cramjam.snappy.compress_raw(message)),
        tenant="t",
        key=bytes(range(32)),
        known=KnownSeries(entries_max=0) if known is None else known,
        limits=LIMITS,
        now_ms=twin.FUTURE_MS,
        bytes_max=bytes_max,
    )


def seen(push: DecodedPush) -> tuple[list[twin.Row], dict[str, int], int]:
    batch = push.batch
    rows = [
        (batch.row_labels(i), [(ms, struct.pack("<d", value).hex()) for ms, value in batch.row_samples(i)])
        for i in range(batch.series_count)
    ]
    return rows, {error_id: count for error_id, count, _ in push.rejections}, push.metadata_received


def padded_varint(n: int, extra: int) -> bytes:
    """A varint that is `extra` bytes longer than need be."""
    plain = build.uvarint(n)
    if not extra or len(plain) + extra > 5:
        return plain
    return plain[:-1] + bytes([plain[-1] | 0x80]) + b"\x80" * (extra - 1) + b"\x00"


@st.composite
def fields(draw: st.DrawFn, number: int, payload: bytes) -> bytes:
    """A length-delimited field, now and then with long varints."""
    extra = draw(st.sampled_from([0, 0, 0, 1, 2]))
    return padded_varint(number << 3 | 2, 0) + padded_varint(len(payload), extra) + payload


UNKNOWN = st.sampled_from(
    [b"", b"", b"", b"\x78\x05", b"\x79" + b"x" * 8, b"\x7a\x02hi", b"\x7d" + b"x" * 4, b"\x7b\x08\x01\x7c"]
)
NAMES = st.sampled_from([b"__name__", b"__name__", b"a", b"b", b"job", b"le", b"1x", b"x-y", b"", b"\xff", b"n" * 200])
VALUES = st.sampled_from([b"up", b"up", b"x", b"", b"1", b"v" * 300, b"\xc3\xa9", b"\xc3", b"a:b", b"a b"])
TIMES = st.sampled_from(
    [0, 1, -1, -(1 << 63), 1 << 40, 1_600_000_000_000, twin.FUTURE_MS, twin.FUTURE_MS + 1, (1 << 63) - 1]
)


@st.composite
def labels(draw: st.DrawFn) -> bytes:
    parts = [draw(fields(1, draw(NAMES))), draw(fields(2, draw(VALUES))), draw(UNKNOWN)]
    if draw(st.integers(0, 9)) == 0:
        parts.append(draw(fields(1, draw(NAMES))))
    if draw(st.integers(0, 4)) == 0:
        parts = draw(st.permutations(parts))
    return draw(fields(1, b"".join(parts)))


@st.composite
def samples(draw: st.DrawFn) -> bytes:
    value = b"\x09" + draw(st.binary(min_size=8, max_size=8))
    time = b"\x10" + build.uvarint(draw(TIMES))
    parts = draw(st.permutations([value, time, draw(UNKNOWN)]))
    return draw(fields(2, b"".join(parts[: draw(st.integers(0, 3))])))


@st.composite
def series(draw: st.DrawFn) -> bytes:
    parts: Sequence[bytes] = draw(st.lists(labels(), max_size=6)) + draw(st.lists(samples(), max_size=3))
    if draw(st.booleans()):
        plain = {"__name__": "up", "job": draw(st.sampled_from("abc"))}
        parts = [*(build.label(n.encode(), v.encode()) for n, v in plain.items()), *parts[len(parts) // 2 :]]
    if draw(st.integers(0, 3)) == 0:
        parts = draw(st.permutations([*parts, draw(UNKNOWN)]))
    return draw(fields(1, b"".join(parts)))


METADATA = st.builds(
    build.metadata, st.sampled_from(["up", "x"]), st.integers(0, 9), st.text(max_size=20), st.sampled_from(["", "s"])
)
MESSAGES = st.lists(st.one_of(series(), series(), METADATA, UNKNOWN), max_size=6).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_equals_the_protobuf_runtime_with_and_without_known_series(messages: list[bytes]) -> None:
    known = KnownSeries(entries_max=8)
    for message in messages * 2:
        expected = twin.decode(message)
        if message and not twin.WriteRequest.FromString(message).timeseries and not expected[2]:
            with pytest.raises(DecodeError):
                decode(message)
            continue
        plain, cached = decode(message), decode(message, known)
        assert seen(plain) == expected
        assert seen(cached) == expected
        assert cached.rejections == plain.rejections
        assert cached.batch.tokens().tolist() == plain.batch.tokens().tolist()
        rows = range(plain.batch.series_count)
        assert [cached.batch.hash_bytes(i) for i in rows] == [plain.batch.hash_bytes(i) for i in rows]
        assert len(known) > 0 or not plain.batch.series_count


@settings(max_examples=150, deadline=None)
@given(MESSAGES.filter(bool), st.data())
def test_damaged_messages_are_errors_or_what_the_runtime_reads(message: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(message) - 1))
    damaged = data.draw(
        st.sampled_from([message[:at], message[:at] + b"\xff" + message[at + 1 :], message[:at] + message[at + 1 :]])
    )
    try:
        push = decode(damaged)
    except DecodeError:
        return
    try:
        expected = twin.decode(damaged)
    except RuntimeDecodeError:
        return  # The damage is in something that the kernel does not store, so it did not look.
    if push.exemplars_dropped == 0 and "invalid-native-histogram-schema" not in seen(push)[1]:
        assert seen(push) == expected


@given(st.binary(max_size=300))
def test_noise_is_an_error_or_a_push(noise: bytes) -> None:
    known = KnownSeries(entries_max=8)
    try:
        decode_remote_write(noise, tenant="t", key=bytes(32), known=known, limits=LIMITS, now_ms=0, bytes_max=1 << 20)
    except DecodeError:
        assert len(known) == 0


def test_threads_may_share_a_known_set() -> None:
    def message(n: int) -> bytes:
        return b"".join(build.series({"__name__": "up", "n": str(i * 7 % 900 + n)}, [(1, 1.0)]) for i in range(400))

    expected = [seen(decode(message(n))) for n in range(20)]
    known = KnownSeries(entries_max=500)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            pushes = pool.map(lambda n: seen(decode(message(n), known)), range(20))
            assert list(pushes) == expected
    assert 0 < len(known) <= 500


def test_over_the_bound() -> None:
    message = build.series({"__name__": "up"}, [(1, 1.0)])
    assert decode(message, bytes_max=len(message)).batch.sample_count == 1
    with pytest.raises(BodyTooLarge, match=r"set -distributor\.max-recv-msg-size or contact"):
        decode(message, bytes_max=len(message) - 1)


def test_key_must_have_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        decode_remote_write(
            b"", tenant="t", key=b"short", known=KnownSeries(entries_max=0), limits=LIMITS, now_ms=0, bytes_max=9
        )


def test_hash_depends_on_the_key_and_token_on_the_tenant() -> None:
    raw = build.body(build.series({"__name__": "up", "job": "a"}, [(1, 1.0)]))
    known = KnownSeries(entries_max=8)

    def decoded(tenant: str, key: bytes) -> tuple[bytes, int]:
        push = decode_remote_write(raw, tenant=tenant, key=key, known=known, limits=LIMITS, now_ms=9, bytes_max=1 << 20)
        return push.batch.hash_bytes(0), int(push.batch.tokens()[0])

    a, b, c = decoded("user-1", bytes(32)), decoded("user-1", bytes([1] * 32)), decoded("user-2", bytes(32))
    assert a[1] == b[1] == 4177082754
    assert a[0] != b[0]
    assert a[0] == c[0]
    assert a[1] != c[1]
