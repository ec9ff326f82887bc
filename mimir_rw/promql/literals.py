"""Numbers and durations as PromQL writes them."""

from __future__ import annotations

import math
import re

from mimir_rw.promql.quoting import quote

_UNITS_NS = {
    "y": 365 * 86_400_000_000_000,
    "w": 7 * 86_400_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
}
_UNIT_ORDER = {unit: rank for rank, unit in enumerate(_UNITS_NS)}
_NS_MAX = (1 << 63) - 1
_COUNT_DIGITS_MAX = 20
_PART = re.compile(r"([0-9]+)([^0-9]+)")


def parse_number(text: str) -> float:
    """Value of a number token: decimal, hexadecimal, octal (leading zero), with `_` between digits, `inf`, `nan`.

    Raises ValueError with the message that users of Prometheus know.
    """
    value = _prefixed_integer(text) if text[0] == "0" and len(text) > 1 else None
    if value is not None:
        return value
    problem = f"error parsing number: strconv.ParseFloat: parsing {quote(text)}: "
    try:
        value = float(text)
    except ValueError:
        raise ValueError(problem + "invalid syntax") from None
    if math.isinf(value) and text.lower() != "inf":
        raise ValueError(problem + "value out of range")
    return value


def _prefixed_integer(text: str) -> float | None:
    """The value of a hexadecimal or octal literal that fits into 63 bits, else None."""
    base = 16 if text[1] in "xX" else 8
    try:
        value = int(text, 16) if base == 16 else int(text.replace("_", ""), 8)
    except ValueError:
        return None
    return float(value) if value <= _NS_MAX else None


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a duration such as `1h30m`: each unit once, from large to small.

    Raises ValueError with the message that users of Prometheus know.
    """
    if text == "0":
        return 0
    if not text:
        raise ValueError("empty duration string")
    total, rank, end = 0, -1, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        count, unit = part.groups()
        if len(count) > _COUNT_DIGITS_MAX:
            break
        if unit not in _UNITS_NS:
            raise ValueError(f"unknown unit {quote(unit)} in duration {quote(text)}")
        if _UNIT_ORDER[unit] <= rank:
            break
        rank, end = _UNIT_ORDER[unit], part.end()
        total += int(count) * _UNITS_NS[unit]
        if total > _NS_MAX:
            raise ValueError("duration out of range")
    if end != len(text):
        raise ValueError(f"not a valid duration string: {quote(text)}")
    return total


def parse_duration_ms(text: str) -> int:
    """As `parse_duration_ns`, in milliseconds."""
    return parse_duration_ns(text) // 1_000_000


def seconds_to_ms(seconds: float) -> int:
    """A duration in ms: rounded to nanoseconds first, then cut toward zero. |seconds| < 2^63 ns; not NaN."""
    ns = math.floor(abs(seconds) * 1e9 + 0.5)
    return ns // 1_000_000 if seconds >= 0 else -(ns // 1_000_000)


def duration_in_range(seconds: float) -> bool:
    """Whether a duration fits into 64-bit nanoseconds; NaN does not."""
    return -(2.0**63) / 1e9 <= seconds <= 2.0**63 / 1e9


def format_duration(ms: int) -> str:
    """`1h30m`: days and smaller as needed, years and weeks only where nothing is left over."""
    if ms == 0:
        return "0s"
    out = ["-"] if ms < 0 else []
    rest = abs(ms)
    for unit, ns in _UNITS_NS.items():
        size = ns // 1_000_000
        if unit in ("y", "w") and rest % size:
            continue
        count, rest_after = divmod(rest, size)
        if count:
            out.append(f"{count}{unit}")
            rest = rest_after
    return "".join(out)


def format_float(value: float) -> str:
    """Shortest decimal that reads back as `value`, never with an exponent; `NaN`, `+Inf`, `-Inf`, `-0`."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if exponent:
        return _without_exponent(mantissa, int(exponent))
    return text.removesuffix(".0")


def _without_exponent(mantissa: str, exponent: int) -> str:
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - len(whole))}{whole}{fraction.rstrip('0') if fraction != '0' else ''}"
    return f"{sign}{whole}{fraction.rstrip('0').ljust(exponent, '0')}"
