"""Series notation of test scripts: `name{label="value"} 0+10x5 _ stale {{count:1}}x2` and start timestamp lines."""

from __future__ import annotations

import re
from collections.abc import Callable

from mimir_rw.promql.lexer import scan_string
from mimir_rw.promql.literals import parse_duration_ms, parse_number
from mimir_rw.promql.quoting import unquote
from mimir_rw.promql.script.commands import HistogramLiteral, HistogramPoint, Labels, Marker, Point

POINTS_MAX = 1_000_000
"""Points that one item may expand to."""

_NUMBER = r"(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[iI][nN][fF]|[nN][aA][nN]"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SPACE = re.compile(r"\s*")
_FLOATS = re.compile(rf"([+-]?(?:{_NUMBER}))(?:([+-](?:{_NUMBER}))?x([0-9]+))?(?=\s|$)")
_BLANK = re.compile(r"_(?:x([0-9]+))?(?=\s|$)")
_STALE = re.compile(r"stale(?=\s|$)")
_HISTOGRAM = re.compile(r"\{\{(.*?)\}\}")
_HISTOGRAM_TAIL = re.compile(r"(?:([+-])\{\{(.*?)\}\})?x([0-9]+)(?=\s|$)")
_FIELD = re.compile(r"\s*([a-z_]+):(\[[^\]]*\]|[^\s\]]+)")
_DURATION = r"[0-9]+(?:ms|[smhdwy])?"
_START = re.compile(rf"([+-]?{_DURATION})(?:([+-]{_DURATION})?x([0-9]+))?$")
_HINTS = ("unknown", "reset", "not_reset", "gauge")


def parse_series(text: str) -> tuple[Labels, tuple[Point, ...]]:
    """Labels and points of one line. Raises ValueError."""
    labels, end = _labels(text)
    if end < len(text) and not text[end].isspace():
        raise ValueError(f"expected a space before the points, got {text[end:]!r}")
    return labels, parse_points(text[end:])


def parse_labels(text: str) -> Labels:
    """A lone series name with labels. Raises ValueError."""
    labels, end = _labels(text)
    if end != len(text):
        raise ValueError(f"unexpected text after the labels: {text[end:]!r}")
    return labels


def _labels(text: str) -> tuple[Labels, int]:
    pairs: dict[str, str] = {}
    name = _NAME.match(text)
    pos = name.end() if name else 0
    if text[pos : pos + 1] == "{" and not text.startswith("{{", pos):
        pos = _label_list(text, pos + 1, pairs)
    elif not name:
        raise ValueError(f"expected a series, got {text!r}")
    if name:
        pairs["__name__"] = name.group()
    return tuple(sorted((label, value) for label, value in pairs.items() if value)), pos


def _label_list(text: str, pos: int, pairs: dict[str, str]) -> int:
    while True:
        pos = _skip(text, pos)
        if text[pos : pos + 1] == "}":
            return pos + 1
        label, pos = _label_name(text, pos)
        pos = _skip(text, pos)
        if text[pos : pos + 1] == "=":
            pairs[label], pos = _quoted(text, _skip(text, pos + 1))
        else:
            pairs["__name__"] = label
        pos = _skip(text, pos)
        if text[pos : pos + 1] == ",":
            pos += 1
        elif text[pos : pos + 1] != "}":
            raise ValueError(f"expected , or }} in the labels, got {text[pos:]!r}")


def _label_name(text: str, pos: int) -> tuple[str, int]:
    if text[pos : pos + 1] in ('"', "'", "`"):
        return _quoted(text, pos)
    name = _LABEL.match(text, pos)
    if not name:
        raise ValueError(f"expected a label name, got {text[pos:]!r}")
    return name.group(), name.end()


def _quoted(text: str, pos: int) -> tuple[str, int]:
    if text[pos : pos + 1] not in ('"', "'", "`") or pos >= len(text):
        raise ValueError(f"expected a quoted string, got {text[pos:]!r}")
    end, problem = scan_string(text, pos)
    if problem:
        raise ValueError(problem)
    return unquote(text[pos:end]), end


def _skip(text: str, pos: int) -> int:
    space = _SPACE.match(text, pos)
    return space.end() if space else pos


def parse_points(text: str) -> tuple[Point, ...]:
    """Points separated by white space, expanded. Raises ValueError."""
    points: list[Point] = []
    pos = _skip(text, 0)
    while pos < len(text):
        more, pos = _item(text, pos)
        points += more
        pos = _skip(text, pos)
    return tuple(points)


def _item(text: str, pos: int) -> tuple[list[Point], int]:
    if text.startswith("{{", pos):
        return _histograms(text, pos)
    blank = _BLANK.match(text, pos)
    if blank:
        return [None] * _count(blank.group(1) or "1"), blank.end()
    stale = _STALE.match(text, pos)
    if stale:
        return [Marker.STALE], stale.end()
    floats = _FLOATS.match(text, pos)
    if not floats:
        raise ValueError(f"not a point: {text[pos:].split(maxsplit=1)[0]!r}")
    first, step, times = floats.groups()
    value = _float(first)
    if times is None:
        return [value], floats.end()
    out: list[Point] = []
    for _ in range(_count(times) + 1):
        out.append(value)
        if step is not None:
            value += _float(step)
    return out, floats.end()


def _float(text: str) -> float:
    return -parse_number(text[1:]) if text[0] == "-" else parse_number(text.lstrip("+"))


def _count(text: str) -> int:
    if len(text) > len(str(POINTS_MAX)) or int(text) > POINTS_MAX:
        raise ValueError(f"{text} points in one item are too many")
    return int(text)


def _histograms(text: str, pos: int) -> tuple[list[Point], int]:
    first = _HISTOGRAM.match(text, pos)
    if not first:
        raise ValueError(f"unclosed histogram: {text[pos:]!r}")
    base = parse_histogram(first.group(1))
    tail = _HISTOGRAM_TAIL.match(text, first.end())
    if not tail:
        end = first.end()
        if end < len(text) and not text[end].isspace():
            raise ValueError(f"unexpected text after a histogram: {text[end:]!r}")
        return [HistogramPoint(base)], end
    sign, fields, times = tail.groups()
    count = _count(times) + 1
    if sign is None:
        return [HistogramPoint(base)] * count, tail.end()
    increment = parse_histogram(fields)
    weight = 1 if sign == "+" else -1
    return [HistogramPoint(base, increment, weight * i) for i in range(count)], tail.end()


def _floats(text: str) -> tuple[float, ...]:
    if not text.startswith("["):
        raise ValueError(f"expected a list in brackets, got {text!r}")
    return tuple(_float(item) for item in text[1:-1].split())


def _hint(text: str) -> str:
    if text not in _HINTS:
        raise ValueError(f"unknown counter_reset_hint {text!r}")
    return text


_FIELDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "schema": ("schema", int),
    "sum": ("sum", _float),
    "count": ("count", _float),
    "z_bucket": ("zero_count", _float),
    "z_bucket_w": ("zero_threshold", _float),
    "offset": ("offset", int),
    "buckets": ("buckets", _floats),
    "n_offset": ("negative_offset", int),
    "n_buckets": ("negative_buckets", _floats),
    "custom_values": ("custom_values", _floats),
    "counter_reset_hint": ("reset_hint", _hint),
}


def parse_histogram(text: str) -> HistogramLiteral:
    """The fields between `{{` and `}}`. Raises ValueError."""
    values: dict[str, object] = {}
    pos = 0
    for match in _FIELD.finditer(text):
        if match.start() != pos:
            break
        key, value = match.groups()
        if key not in _FIELDS:
            raise ValueError(f"unknown histogram field {key!r}")
        name, convert = _FIELDS[key]
        if name in values:
            raise ValueError(f"histogram field {key!r} appears twice")
        values[name] = convert(value)
        pos = match.end()
    if text[pos:].strip():
        raise ValueError(f"not a histogram field: {text[pos:].strip()!r}")
    return HistogramLiteral(**values)  # type: ignore[arg-type]


def parse_start_offsets(text: str) -> tuple[int | None, ...]:
    """Start timestamps as offsets in ms: `-30s-1mx2` is -30s, -1m30s, -2m30s. Raises ValueError."""
    out: list[int | None] = []
    for item in text.split():
        blank = _BLANK.fullmatch(item)
        if blank:
            out += [None] * _count(blank.group(1) or "1")
            continue
        match = _START.match(item)
        if not match:
            raise ValueError(f"not a start timestamp offset: {item!r}")
        first, step, times = match.groups()
        value, change = _duration(first), _duration(step) if step else 0
        out += [value + change * i for i in range(_count(times or "0") + 1)]
    return tuple(out)


def _duration(text: str) -> int:
    plain = text.lstrip("+-")
    ms = parse_duration_ms(plain) if not plain.isdigit() else int(plain) * 1000
    return -ms if text[0] == "-" else ms
