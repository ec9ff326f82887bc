"""Setting values as text: how each kind is read from a flag or a YAML scalar, and how it is shown.

Reading is total: a value or ValueError with a short reason. Durations are int milliseconds everywhere inside.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal

from mimir_rw.config.errors import quoted

DURATION_MS_MAX = 2**63 // 1_000_000
"""Go's longest duration (292 years), which Mimir uses for "never"."""
INT_MAX = 2**63 - 1

_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
    "d": 86_400 * 1_000_000_000,
    "w": 7 * 86_400 * 1_000_000_000,
    "y": 365 * 86_400 * 1_000_000_000,
}
_DURATION_PART = re.compile(r"([0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(ns|us|µs|μs|ms|s|m|h|d|w|y)")
_SHOWN_UNITS = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_TRUE = frozenset(("true", "yes", "on", "t", "y", "1"))
_FALSE = frozenset(("false", "no", "off", "f", "n", "0"))
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F_]{1,16}|0[oO][0-7_]{1,22}|0[bB][01_]{1,64}|[0-9][0-9_]{0,30})")
_FLOAT = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,4})?")


def parse_duration(text: str) -> int:
    """Go and Prometheus durations (`1h30m`, `1.5h`, `100ms`, `13h`, `1d`, `0`), optionally signed, in milliseconds.

    What is finer than a millisecond is cut off, but a positive duration never becomes zero.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total_ns = Decimal(0)
    at = 0
    while at < len(rest) and at < 200:
        part = _DURATION_PART.match(rest, at)
        if part is None:
            break
        total_ns += Decimal(part[1]) * _UNIT_NS[part[2]]
        at = part.end()
    if at == 0 or at != len(rest):
        raise ValueError('not a duration such as "1h30m", "10s" or "100ms"')
    ms = int(total_ns // 1_000_000)
    if ms == 0 and total_ns > 0:
        ms = 1
    if ms > DURATION_MS_MAX:
        raise ValueError("longer than 292 years")
    return sign * ms


def format_duration(ms: int) -> str:
    """The shortest text that `parse_duration` reads as `ms`: `13h`, `1h30m`, `1m36s`, `0s`."""
    if ms == 0:
        return "0s"
    text, left = ("-" if ms < 0 else ""), abs(ms)
    for unit, size in _SHOWN_UNITS:
        count, rest = divmod(left, size)
        if count and (unit not in "wd" or rest == 0):
            text, left = f"{text}{count}{unit}", rest
    return text


def parse_boolean(text: str) -> bool:
    folded = text.lower()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    raise ValueError("neither true nor false")


def parse_integer(text: str) -> int:
    """A 64-bit integer: decimal, `0x`, `0o`, `0b`, with `_` between digits, or a float without a fraction (`1e6`)."""
    value: int | None = None
    if _INTEGER.fullmatch(text):
        try:
            value = int(text, 0)
        except ValueError:
            value = int(text) if text.lstrip("+-").isdigit() else None
    elif _FLOAT.fullmatch(text) and math.isfinite(number := float(text)) and number.is_integer():
        value = int(number)
    if value is None:
        raise ValueError("not a whole number")
    if abs(value) > INT_MAX:
        raise ValueError("out of the range of 64 bits")
    return value


def parse_number(text: str) -> float:
    """A finite float."""
    value = math.nan
    if _FLOAT.fullmatch(text):
        value = float(text)
    elif _INTEGER.fullmatch(text):
        value = float(parse_integer(text))
    if not math.isfinite(value):
        raise ValueError("not a number")
    return value


def format_number(value: float) -> str:
    """Without a needless fraction or exponent: `250000`, `0.5`."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def parse_names(text: str) -> tuple[str, ...]:
    """A comma separated list; blanks around names and empty names are dropped."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def check_choice(value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        known = ", ".join(choice if choice else quoted("") for choice in choices)
        raise ValueError(f"must be one of {known}")
