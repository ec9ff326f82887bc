import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.formats.ulid import TIME_MS_MAX, ZERO_ULID, is_ulid, make_ulid, ulid_bytes, ulid_time_ms
from mimir_rw.model.errors import BadRequest


def test_worked_example():
    # tsdb-block.md, section 3
    text = make_ulid(1599875317760, bytes(9) + b"\x01")
    assert text == "01EJ0000000000000000000001"
    assert ulid_time_ms(text) == 1599875317760
    assert ulid_bytes(text) == bytes.fromhex("01748000000000000000000000000001")
    assert make_ulid(0, bytes(10)) == ZERO_ULID
    assert make_ulid(TIME_MS_MAX, b"\xff" * 10) == "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"


@given(st.lists(st.tuples(st.integers(0, TIME_MS_MAX), st.binary(min_size=10, max_size=10)), min_size=2))
def test_text_order_is_time_order(parts):
    made = [make_ulid(*part) for part in parts]
    assert sorted(made) == [make_ulid(*part) for part in sorted(parts)]
    assert [(ulid_time_ms(text), ulid_bytes(text)[6:]) for text in made] == parts


@pytest.mark.parametrize(
    "text",
    ["", "01EJ000000000000000000000", "01EJ00000000000000000000011", "81EJ0000000000000000000001",
     "01ej0000000000000000000001", "01EJ000000000000000000000I", "01EJ0000000000000000000001\n",
     "../../../../../../../etc12"],
)  # fmt: skip
def test_what_is_no_ulid(text):
    assert not is_ulid(text)
    with pytest.raises(BadRequest):
        ulid_time_ms(text)
