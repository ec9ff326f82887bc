"""Parameters of the Prometheus API: times, durations, limits, names of labels.

Texts of the errors are Prometheus' own, because people and tools look for them. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from urllib.parse import unquote

from mimir_rw.model.errors import BadRequest
from mimir_rw.promql.quoting import quote

POINTS_MAX = 11_000

_NS_MAX = (1 << 63) - 1
_TIME_MS_MAX = 1 << 53
"""Beyond it the times of answers, JSON numbers, are not exact."""
_MIN_TIME_MS = -(2**63) // 1_000_000
_MAX_TIME_MS = (2**63 - 1) // 1_000_000
_UNBOUNDED = {
    "-292273086-05-16T16:47:06Z": _MIN_TIME_MS,
    "292277025-08-18T07:12:54.999999999Z": _MAX_TIME_MS,
}
_DIGITS = r"\d+(?:_\d+)*"
_FLOAT = re.compile(rf"[+-]?({_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})([eE][+-]?{_DIGITS})?", re.ASCII)
_HEX = r"[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*"
_HEX_FLOAT = re.compile(rf"[+-]?0[xX]_?({_HEX}\.?(?:{_HEX})?|\.{_HEX})[pP][+-]?{_DIGITS}", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?inf(inity)?|nan", re.IGNORECASE)
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_DAYS_OF_400_YEARS = 146_097
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_INTEGER_CHARACTERS_MAX = 1000
"""Leading zeros among them."""
_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>\d+){unit})?" for unit in _UNITS_MS), re.ASCII)

Params = Mapping[str, list[str]]


def first(params: Params, name: str) -> str:
    """The first value, "" when there is none."""
    values = params.get(name)
    return values[0] if values else ""


def parse_float(text: str) -> float | None:
    """A number as Go reads it (`1_000`, `0x1p4`, `Inf`); None for what is none, or too large."""
    if _FLOAT.fullmatch(text):
        value = float(text.replace("_", ""))
        return value if math.isfinite(value) else None
    if _HEX_FLOAT.fullmatch(text):
        try:
            return float.fromhex(text.replace("_", ""))
        except OverflowError:
            return None
    return float(text) if _NOT_FINITE.fullmatch(text) else None


def parse_time_ns(text: str) -> int:
    """Float seconds (rounded to ms) or RFC 3339 → int ns. Raises ValueError with Prometheus' text."""
    seconds = parse_float(text)
    if seconds is not None:
        if math.isfinite(seconds):
            fraction, whole = math.modf(seconds)
            millis = math.floor(abs(fraction) * 1000 + 0.5)
            return int(whole) * 1_000_000_000 + int(math.copysign(millis, fraction)) * 1_000_000
    elif (parts := _RFC3339.fullmatch(text)) is not None and (at := _rfc3339_ns(parts)) is not None:
        return at
    elif text in _UNBOUNDED:
        return _UNBOUNDED[text] * 1_000_000
    raise ValueError(f"cannot parse {quote(text)} to a valid timestamp")


def parse_time_ms(text: str) -> int:
    """As `parse_time_ns`, cut to ms, and not beyond what answers can tell exactly."""
    ms = _ns_to_ms(parse_time_ns(text))
    if abs(ms) > _TIME_MS_MAX:
        raise ValueError(f"cannot parse {quote(text)} to a valid timestamp")
    return ms


def _rfc3339_ns(parts: re.Match[str]) -> int | None:
    year, month, day, hour, minute, second = (int(part) for part in parts.groups()[:6])
    fraction, sign, zone_hour, zone_minute = parts.groups()[6:]
    zone_s = int(zone_hour or 0) * 3600 + int(zone_minute or 0) * 60
    if hour > 23 or minute > 59 or second > 59 or int(zone_hour or 0) > 24 or int(zone_minute or 0) > 60:
        return None
    try:  # There is no year 0 in Python; leap years come round every 400 years.
        days = date(year or 400, month, day).toordinal() - (0 if year else _DAYS_OF_400_YEARS)
    except ValueError:
        return None
    seconds = (days - date(1970, 1, 1).toordinal()) * 86_400 + hour * 3600 + minute * 60 + second
    seconds -= -zone_s if sign == "-" else zone_s
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0")[:9])


def _ns_to_ms(ns: int) -> int:
    """Cut toward zero."""
    return ns // 1_000_000 if ns >= 0 else -(-ns // 1_000_000)


def parse_duration_ns(text: str) -> int:
    """Float seconds or a Prometheus duration such as 1h30m → int ns. Raises ValueError with Prometheus' text."""
    seconds = parse_float(text)
    if seconds is not None:
        if math.isnan(seconds):
            return -_NS_MAX
        if abs(seconds * 1e9) > _NS_MAX:
            raise ValueError(f"cannot parse {quote(text)} to a valid duration. It overflows int64")
        return int(seconds * 1e9)
    parts = _DURATION.fullmatch(text)
    if text == "" or parts is None:
        raise ValueError(f"cannot parse {quote(text)} to a valid duration")
    millis = sum(int(count) * _UNITS_MS[unit] for unit, count in parts.groupdict().items() if count)
    if millis * 1_000_000 > _NS_MAX:
        raise ValueError(f"cannot parse {quote(text)} to a valid duration")
    return millis * 1_000_000


def invalid(name: str, reason: object) -> BadRequest:
    return BadRequest(f'invalid parameter "{name}": {reason}')


def time_param(params: Params, name: str, default_ms: int) -> int:
    """The time in ms; default_ms when it is not given. Raises BadRequest."""
    text = first(params, name)
    try:
        return parse_time_ms(text) if text else default_ms
    except ValueError as error:
        raise _bad_time(name, error) from None


def _bad_time(name: str, error: ValueError) -> BadRequest:
    return invalid(name, f"invalid time value for '{name}': {error}")


def lookback_param(params: Params) -> int | None:
    """lookback_delta in ms, at least 1; None when not given or not positive. Raises BadRequest."""
    text = first(params, "lookback_delta")
    try:
        ns = parse_duration_ns(text) if text else 0
    except ValueError as error:
        raise BadRequest(f"error parsing lookback delta duration: {error}") from None
    return max(1, ns // 1_000_000) if ns > 0 else None


def timeout_param(params: Params) -> float | None:
    """Seconds, None when not given. What is not positive has passed already. Raises BadRequest."""
    text = first(params, "timeout")
    if text == "":
        return None
    try:
        return parse_duration_ns(text) / 1e9
    except ValueError as error:
        raise invalid("timeout", error) from None


def limit_param(params: Params, name: str = "limit") -> int:
    """0 means no limit. Raises BadRequest."""
    text = first(params, name)
    if text == "":
        return 0
    try:
        limit = _integer(text)
    except ValueError as error:
        raise invalid(name, error) from None
    if limit < 0:
        raise invalid(name, "limit must be non-negative")
    return limit


def switch_param(params: Params, name: str) -> bool:
    """Off when not given. Raises BadRequest."""
    text = first(params, name)
    if text not in ("", "true", "false"):
        raise invalid(name, f"{quote(text)} is neither true nor false")
    return text == "true"


def metadata_limit_param(params: Params, name: str) -> int:
    """0 and less mean no limit. Raises BadRequest."""
    text = first(params, name)
    try:
        return max(0, _integer(text or "0"))
    except ValueError:
        raise BadRequest(f"{name} must be a number") from None


def _integer(text: str) -> int:
    """Raises ValueError in Go's words."""
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    if len(text) > _INTEGER_CHARACTERS_MAX or not -_NS_MAX - 1 <= int(text) <= _NS_MAX:
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: value out of range")
    return int(text)


def range_params(params: Params) -> tuple[int, int, int]:
    """start, end and step of a range query, in ms, checked as Prometheus does. Raises BadRequest."""
    start, end = _bound(params, "start"), _bound(params, "end")
    if end < start:
        raise invalid("end", "end timestamp must not be before start time")
    try:
        step = parse_duration_ns(first(params, "step"))
    except ValueError as error:
        raise invalid("step", error) from None
    if step <= 0:
        raise _bad_step()
    if (end - start) // step > POINTS_MAX:
        raise BadRequest(
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    if step < 1_000_000:
        raise _bad_step()
    return _ns_to_ms(start), _ns_to_ms(end), step // 1_000_000


def _bound(params: Params, name: str) -> int:
    """In ns."""
    text = first(params, name)
    try:
        parse_time_ms(text)
        return parse_time_ns(text)
    except ValueError as error:
        raise invalid(name, error) from None


def _bad_step() -> BadRequest:
    return invalid("step", "zero or negative query resolution step widths are not accepted. Try a positive integer")


def metadata_range(params: Params) -> tuple[int, int]:
    """start and end of a series or labels request, in ms; what is not given, or far away, leaves out nothing. Raises
    BadRequest."""
    return _metadata_time(params, "start", _MIN_TIME_MS), _metadata_time(params, "end", _MAX_TIME_MS)


def _metadata_time(params: Params, name: str, default_ms: int) -> int:
    text = first(params, name)
    try:
        return max(_MIN_TIME_MS, min(_MAX_TIME_MS, _ns_to_ms(parse_time_ns(text)))) if text else default_ms
    except ValueError as error:
        raise _bad_time(name, error) from None


def label_name(segment: str) -> str:
    """The name that a percent-encoded path segment means. Raises BadRequest for one that no label has."""
    name = unescape_label_name(unquote(segment, errors="surrogateescape"))
    if name == "" or _SURROGATE.search(name):
        raise BadRequest(f"invalid label name: {quote(name)}")
    return name


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
