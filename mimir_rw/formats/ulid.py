"""ULIDs, the names of blocks: 48 bits of wall-clock ms, then 80 random bits, as 26 characters of Crockford's base 32.

Text order is byte order is time order. Upper case only, as Prometheus and Mimir write and list them.
"""

from __future__ import annotations

import re

from mimir_rw.model.errors import BadRequest

ULID_CHARS = 26
ENTROPY_BYTES = 10
TIME_MS_MAX = (1 << 48) - 1
ZERO_ULID = "0" * ULID_CHARS
"""The parent that a block cut from out-of-order samples names; it stands for nothing."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGIT = {char: value for value, char in enumerate(_ALPHABET)}
# The first character carries three bits only: 26 * 5 = 130 = 128 + 2.
_ULID = re.compile(f"[0-7][{_ALPHABET}]{{{ULID_CHARS - 1}}}")


def make_ulid(now_ms: int, entropy: bytes) -> str:
    """now_ms: wall clock, 0 to TIME_MS_MAX. entropy: ENTROPY_BYTES bytes."""
    assert 0 <= now_ms <= TIME_MS_MAX
    assert len(entropy) == ENTROPY_BYTES
    return _text((now_ms << 80) | int.from_bytes(entropy, "big"))


def is_ulid(text: str) -> bool:
    return _ULID.fullmatch(text) is not None


def ulid_time_ms(text: str) -> int:
    """When it was made. Raises BadRequest if it is no ULID."""
    return _number(text) >> 80


def ulid_bytes(text: str) -> bytes:
    """The 16 bytes that it stands for. Raises BadRequest if it is no ULID."""
    return _number(text).to_bytes(16, "big")


def _number(text: str) -> int:
    if not is_ulid(text):
        raise BadRequest(f"{text[:100]!r} is not a ULID")
    number = 0
    for char in text:
        number = number << 5 | _DIGIT[char]
    return number


def _text(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (ULID_CHARS - 1), -1, -5))
