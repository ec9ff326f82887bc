"""Numbers as label values and in messages, and label values as numbers, the way Go writes and reads them."""

from __future__ import annotations

import math
import re

import numpy as np

_FLOAT = re.compile(
    r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|0[xX][\da-fA-F]*\.?[\da-fA-F]*[pP][+-]?\d+|inf(?:inity)?|nan)",
    re.IGNORECASE | re.ASCII,
)


def parse_float(text: str) -> float | None:
    """None where Go would not read a number."""
    if not _FLOAT.fullmatch(text):
        return None
    return float.fromhex(text) if "x" in text.lower() else float(text)


def plain_decimal(value: float) -> str:
    """Shortest digits that read back as the same number, never with an exponent: `1`, `0.5`, `NaN`, `+Inf`."""
    special = _special(value)
    if special is not None:
        return special
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, exponent = text.split("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits, point = whole + fraction, len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def fixed(value: float) -> str:
    """Six decimals."""
    return _special(value) or f"{value:f}"


def general(value: float) -> str:
    """Go's %g with shortest digits: an exponent of at least two digits below 1e-4 and from 1e6 on."""
    special = _special(value)
    if special is not None:
        return special
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return plain_decimal(value)
    return np.format_float_scientific(value, trim="-", exp_digits=2)


def openmetrics(value: float) -> str:
    """As a `quantile` label: always with a point or an exponent: `0.5`, `1.0`."""
    text = general(value)
    return text if any(c in text for c in ".eNI") else text + ".0"


def _special(value: float) -> str | None:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return None
