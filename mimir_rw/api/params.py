"""Parameters of the Prometheus API: query string and form body, times, durations, limits, selectors.

Texts of the errors are Prometheus' own, because people and tools look for them. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl

from mimir_rw.model.errors import BadRequest

PARAMS_MAX = 10_000
"""Most names and values one request may have."""
POINTS_MAX = 11_000

_MIN_TIME_MS = -(2**63) // 1_000_000
_MAX_TIME_MS = (2**63 - 1) // 1_000_000
_UNBOUNDED = {
    "-292273086-05-16T16:47:06Z": _MIN_TIME_MS,
    "+292277025-08-18T07:12:54.999999999Z": _MAX_TIME_MS,
}
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>\d+){unit})?" for unit in _UNITS_MS), re.ASCII)

Params = Mapping[str, list[str]]


def parse_params(query_string: bytes, form: bytes = b"") -> dict[str, list[str]]:
    """All values by name; those of the form come before those of the query string. Raises BadRequest."""
    params: dict[str, list[str]] = {}
    for encoded in (form, query_string):
        if not encoded:
            continue
        try:
            pairs = parse_qsl(
                encoded.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMS_MAX
            )
        except UnicodeDecodeError:
            raise BadRequest("error parsing form values: invalid URL encoding") from None
        except ValueError:
            raise BadRequest(f"error parsing form values: more than {PARAMS_MAX} parameters") from None
        for name, value in pairs:
            params.setdefault(name, []).append(value)
    return params


def first(params: Params, name: str) -> str:
    """The first value, "" when there is none."""
    values = params.get(name)
    return values[0] if values else ""


def parse_time_ms(text: str) -> int:
    """Float seconds (rounded to ms) or RFC 3339 (cut to ms) → int ms. Raises ValueError with Prometheus' text."""
    if _FLOAT.fullmatch(text):
        millis = float(text) * 1000.0
        if math.isfinite(millis) and _MIN_TIME_MS <= millis <= _MAX_TIME_MS:
            return math.floor(millis + 0.5)
    elif (parts := _RFC3339.fullmatch(text)) is not None:
        seconds, fraction, zone = parts.groups()
        try:
            whole = datetime.fromisoformat(seconds + ("+00:00" if zone == "Z" else zone))
        except ValueError:
            raise ValueError(f'cannot parse "{text}" to a valid timestamp') from None
        return int(whole.timestamp()) * 1000 + int((fraction or "0").ljust(9, "0")[:3])
    elif text in _UNBOUNDED:
        return _UNBOUNDED[text]
    raise ValueError(f'cannot parse "{text}" to a valid timestamp')


def parse_duration_s(text: str) -> float:
    """Float seconds or a Prometheus duration such as 1h30m → seconds. Raises ValueError with Prometheus' text."""
    if _FLOAT.fullmatch(text):
        seconds = float(text)
        if abs(seconds) * 1e9 > 2**63 - 1:
            raise ValueError(f'cannot parse "{text}" to a valid duration. It overflows int64')
        return seconds
    parts = _DURATION.fullmatch(text)
    if text == "" or parts is None:
        raise ValueError(f'cannot parse "{text}" to a valid duration')
    millis = sum(int(count) * _UNITS_MS[unit] for unit, count in parts.groupdict().items() if count)
    if millis > _MAX_TIME_MS:
        raise ValueError(f'cannot parse "{text}" to a valid duration')
    return millis / 1000.0


def invalid(name: str, reason: object) -> BadRequest:
    return BadRequest(f'invalid parameter "{name}": {reason}')


def time_param(params: Params, name: str, default_ms: int | None) -> int:
    """The time in ms; default_ms when it is not given, unless that is None. Raises BadRequest."""
    text = first(params, name)
    if text == "" and default_ms is not None:
        return default_ms
    try:
        return parse_time_ms(text)
    except ValueError as error:
        reason = error if default_ms is None else f"invalid time value for '{name}': {error}"
        raise invalid(name, reason) from None


def duration_param(params: Params, name: str) -> float | None:
    """Seconds, None when not given. Raises BadRequest."""
    text = first(params, name)
    if text == "":
        return None
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise invalid(name, error) from None


def lookback_param(params: Params) -> int | None:
    """lookback_delta in ms; None when not given or zero. Raises BadRequest."""
    text = first(params, "lookback_delta")
    try:
        seconds = parse_duration_s(text) if text else 0
    except ValueError as error:
        raise BadRequest(f"error parsing lookback delta duration: {error}") from None
    return round(seconds * 1000) if seconds else None


def timeout_param(params: Params) -> float | None:
    """Seconds, None when not given. Raises BadRequest."""
    seconds = duration_param(params, "timeout")
    if seconds is not None and seconds <= 0:
        raise invalid("timeout", "a timeout must be positive")
    return seconds


def limit_param(params: Params, name: str = "limit") -> int:
    """0 means no limit. Raises BadRequest."""
    text = first(params, name)
    if text == "":
        return 0
    if not _INTEGER.fullmatch(text):
        raise invalid(name, f'strconv.Atoi: parsing "{text}": invalid syntax')
    limit = int(text)
    if limit < 0:
        raise invalid(name, "limit must be non-negative")
    return limit


def metadata_limit_param(params: Params, name: str) -> int:
    """0 and less mean no limit. Raises BadRequest."""
    text = first(params, name)
    if text and not _INTEGER.fullmatch(text):
        raise BadRequest(f"{name} must be a number")
    return max(0, int(text or 0))


def range_params(params: Params) -> tuple[int, int, int]:
    """start, end and step of a range query, in ms, checked as Prometheus does. Raises BadRequest."""
    start_ms = time_param(params, "start", None)
    end_ms = time_param(params, "end", None)
    if end_ms < start_ms:
        raise invalid("end", "end timestamp must not be before start time")
    try:
        step_ms = round(parse_duration_s(first(params, "step")) * 1000)
    except ValueError as error:
        raise invalid("step", error) from None
    if step_ms <= 0:
        raise invalid("step", "zero or negative query resolution step widths are not accepted. Try a positive integer")
    if (end_ms - start_ms) // step_ms > POINTS_MAX:
        raise BadRequest(
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return start_ms, end_ms, step_ms


def metadata_range(params: Params) -> tuple[int, int]:
    """start and end of a series or labels request, in ms; everything when not given. Raises BadRequest."""
    return time_param(params, "start", _MIN_TIME_MS), time_param(params, "end", _MAX_TIME_MS)


def unescape_label_name(name: str) -> str:
    """Undo the `U__` escaping of names that are not legacy ones (`U__a_2e_b` → `a.b`, `__` → `_`).

    A name that is not escaped, or not well, comes back as it is, as in Prometheus.
    """
    if not name.startswith("U__"):
        return name
    out: list[str] = []
    rest = name[3:]
    while rest:
        if rest[0] != "_":
            out.append(rest[0])
            rest = rest[1:]
        elif rest.startswith("__"):
            out.append("_")
            rest = rest[2:]
        else:
            code, end, rest = rest[1:].partition("_")
            if not end or not re.fullmatch(r"[0-9a-fA-F]{1,6}", code) or not _is_scalar(int(code, 16)):
                return name
            out.append(chr(int(code, 16)))
    return "".join(out)


def _is_scalar(code: int) -> bool:
    return code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
