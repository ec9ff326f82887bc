"""Equality of numbers as scripts mean it."""

from __future__ import annotations

import math
import sys

TOLERANCE = 1e-6
_NORMAL_MIN = sys.float_info.min


def almost_equal(a: float, b: float) -> bool:
    """Equal within a relative tolerance of 1e-6; NaN equals NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if a == b:
        return True
    total = abs(a) + abs(b)
    if a == 0 or b == 0 or total < _NORMAL_MIN:
        return abs(a - b) < TOLERANCE * _NORMAL_MIN
    return abs(a - b) / min(total, sys.float_info.max) < TOLERANCE
