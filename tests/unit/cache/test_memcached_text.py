import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.cache.memcached_text import (
    KEY_BYTES_MAX,
    MemcachedError,
    get_request,
    read_values,
    set_request,
    wire_key,
)


async def values(data, *keys):
    reader = asyncio.StreamReader(limit=4096)
    reader.feed_data(data)
    reader.feed_eof()
    return await read_values(reader, keys, value_bytes_max=100)


def test_requests():
    assert get_request([b"a", b"b"]) == b"get a b\r\n"
    assert set_request(b"a", b"xy", 1.5) == b"set a 0 1 2\r\nxy\r\n"
    assert set_request(b"a", b"", 0) == b"set a 0 1 0\r\n\r\n"
    assert set_request(b"a", b"", 1e9) == b"set a 0 2592000 0\r\n\r\n"


@given(st.text())
def test_keys_are_such_that_memcached_takes_them(key):
    wire = wire_key(key)
    assert 0 < len(wire) <= KEY_BYTES_MAX or key == ""
    assert all(0x21 <= byte <= 0x7E for byte in wire)


def test_long_keys_stay_apart():
    assert wire_key("x" * 300) != wire_key("x" * 301)
    assert wire_key("x" * 250) == b"x" * 250


async def test_values_are_read():
    data = b"VALUE a 0 2\r\n\r\n\r\nVALUE b 7 0\r\n\r\nEND\r\n"
    assert await values(data, b"a", b"b", b"c") == {b"a": b"\r\n", b"b": b""}
    assert await values(b"END\r\n", b"a") == {}


@pytest.mark.parametrize(
    "data",
    [
        b"ERROR\r\n",
        b"SERVER_ERROR out of memory\r\n",
        b"VALUE a 0\r\n",
        b"VALUE a 0 -1\r\n",
        b"VALUE a 0 101\r\n",
        b"VALUE z 0 1\r\nx\r\nEND\r\n",
        b"VALUE a 0 1\r\nxyz\r\nEND\r\n",
    ],
    ids=lambda data: data.decode(),
)
async def test_answers_that_are_none(data):
    with pytest.raises(MemcachedError):
        await values(data, b"a")


@pytest.mark.parametrize("data", [b"", b"VALUE a 0 5\r\nxy", b"VALUE a 0 2\r\nxy\r\n", b"END"])
async def test_answers_that_are_cut_short(data):
    with pytest.raises(EOFError):
        await values(data, b"a")
