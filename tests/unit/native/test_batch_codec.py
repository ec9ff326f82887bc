"""Batches between processes: what is encoded is decoded, whatever rows and labels go along; damage never panics."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw._native import DecodeError, SentSeries, WriteBatch, decode_batch
from tests.unit.tsdb.batches import KEY, START_MS, Row, batch, up

OTHER_KEY = bytes(range(1, 33))
ROWS = [up(str(i), *((START_MS + j * 15_000, i + j / 3) for j in range(1 + i % 3))) for i in range(20)]

samples = st.lists(st.tuples(st.integers(-(2**40), 2**40), st.floats(width=64)), min_size=1, max_size=4)
rows = st.lists(st.tuples(st.integers(0, 30), samples), max_size=12)


def u32(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(numbers, dtype=np.uint32)


def content(got: WriteBatch) -> list[tuple[bytes, list[tuple[str, str]], list[tuple[int, bytes]]]]:
    def bits(row: int) -> list[tuple[int, bytes]]:
        return [(ms, struct.pack("<d", value)) for ms, value in got.row_samples(row)]

    return [(got.hash_bytes(i), got.row_labels(i), bits(i)) for i in range(got.series_count)]


def decode(data: bytes | memoryview) -> WriteBatch:
    return decode_batch(data, tenant="t", key=KEY)


@settings(deadline=None)
@given(rows, st.data())
def test_what_is_encoded_is_decoded(given_rows: list[tuple[int, list[tuple[int, float]]]], data: st.DataObject) -> None:
    whole = batch(*(up(str(name), *row) for name, row in given_rows), metadata=[(1, "up", "Hélp", "s")])
    numbers = st.integers(0, max(0, whole.series_count - 1))
    chosen = data.draw(st.lists(numbers, unique=True, max_size=whole.series_count))
    labelled = data.draw(st.lists(st.sampled_from(chosen), unique=True)) if chosen else []
    got = decode(whole.encode(u32(*chosen), labelled=u32(*labelled), metadata=True))
    want = content(whole)
    assert content(got) == [(want[row][0], want[row][1] if row in labelled else [], want[row][2]) for row in chosen]
    assert got.has_labels().tolist() == [row in labelled for row in chosen]
    assert got.reference_rows == len(chosen) - len(labelled)
    tokens = whole.tokens()
    assert got.tokens().tolist() == [int(tokens[row]) if row in labelled else 0 for row in chosen]
    assert got.metadata_rows() == whole.metadata_rows()


def test_any_buffer_is_decoded() -> None:
    data = batch(*ROWS).encode()
    assert content(decode(memoryview(b"xx" + data)[2:])) == content(decode(data)) == content(batch(*ROWS))


def test_damage_anywhere_is_an_error_or_another_batch() -> None:
    data = batch(*ROWS[:6], metadata=[(1, "up", "help", "")]).encode(labelled=u32(1, 4), metadata=True)
    for at in range(len(data)):
        with pytest.raises(DecodeError):
            decode(data[:at])
        for flip in (0x01, 0x80, 0xFF):
            bad = bytearray(data)
            bad[at] ^= flip
            with contextlib.suppress(DecodeError):
                decode(bytes(bad)).encode(metadata=True)
    with pytest.raises(DecodeError):
        decode(data + b"\0")


def test_the_receivers_key_counts() -> None:
    whole = batch(*ROWS[:3])
    got = decode_batch(whole.encode(labelled=u32(1)), tenant="t", key=OTHER_KEY)
    assert got.hash_bytes(0) == got.hash_bytes(2) == bytes(16)
    assert got.hash_bytes(1) not in (bytes(16), whole.hash_bytes(1))
    with pytest.raises(ValueError, match="32 bytes"):
        decode_batch(whole.encode(), tenant="t", key=b"short")


def test_rows_out_of_range_are_refused() -> None:
    whole = batch(*ROWS[:3])
    for call in (
        lambda: whole.take(u32(3)),
        lambda: whole.encode(u32(3)),
        lambda: whole.encode(labelled=u32(3)),
        lambda: SentSeries(entries_max=9).missing(whole, u32(3)),
    ):
        with pytest.raises(IndexError):
            call()


def test_parts_of_a_batch_and_their_concatenation() -> None:
    whole = batch(*ROWS, metadata=[(1, "up", "help", "")])
    even, odd = whole.take(np.arange(0, 20, 2, dtype=np.uint32), metadata=True), whole.take(u32(*range(1, 20, 2)))
    assert content(even) == content(whole)[::2]
    assert (even.metadata_count, odd.metadata_count) == (1, 0)
    assert even.byte_size < whole.byte_size
    again = WriteBatch.concat([even, odd])
    assert content(again) == content(whole)[::2] + content(whole)[1::2]
    assert again.tokens().tolist() == [*even.tokens().tolist(), *odd.tokens().tolist()]
    assert again.metadata_rows() == whole.metadata_rows()
    assert WriteBatch.concat([]).series_count == 0
    other = decode_batch(odd.encode(), tenant="t", key=OTHER_KEY)
    with pytest.raises(ValueError, match="different keys"):
        WriteBatch.concat([even, other])


def test_what_was_sent_need_not_be_sent_again() -> None:
    sent, whole = SentSeries(entries_max=1000), batch(*ROWS)
    assert sent.missing(whole).tolist() == list(range(20))
    sent.add(whole, u32(3, 5, 7))
    assert (len(sent), sent.missing(whole, u32(7, 6, 5, 4)).tolist()) == (3, [6, 4])
    sent.remove(whole, u32(5))
    assert sent.missing(whole, u32(3, 5, 7)).tolist() == [5]
    sent.age()
    assert sent.missing(whole, u32(3)).tolist() == []
    sent.age()
    assert sent.missing(whole, u32(3, 7)).tolist() == [7]
    sent.clear()
    assert len(sent) == 0
    row: Row = up("3", (START_MS + 60_000, 1.0))
    sent.add(whole)
    assert sent.missing(batch(row)).size == 0
