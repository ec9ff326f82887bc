"""What `mimir-rw query` shows of an answer: tables, and words for series, times and sizes. Pure: decoded JSON in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

_BARS = "▁▂▃▄▅▆▇█"
_BARS_MAX = 40
_TIMES_WIDTH_MIN = 100
# Okabe and Ito's colours, which people with any kind of colour vision tell apart, without black.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999")


def colour(series: int) -> str:
    return _COLOURS[series % len(_COLOURS)]


def tables(data: Mapping[str, Any], width: int, marks: str = "") -> list[Table | str]:
    """What to print for a result of any type, so many characters wide. marks: of a drawing's series, the first ones."""
    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        return [str(result[1])]
    if not result:
        return ["empty result"]
    return [_vector(result) if kind == "vector" else _matrix(result, marks, width)]


def _vector(result: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("series", "value")
    for each in result:
        value = str(each["value"][1]) if "value" in each else histogram_text(each["histogram"][1])
        table.add_row(Text(series_text(each["metric"])), value)
    return table


def _matrix(result: Sequence[Mapping[str, Any]], marks: str, width: int) -> Table:
    """Columns in order of importance, as many as fit; a drawing above stands for the small ones in the table."""
    values, times = ("min", "max", "last"), ("samples", "from", "to") if width >= _TIMES_WIDTH_MIN else ()
    small = () if marks or width < _TIMES_WIDTH_MIN else ("",)
    table = _table(*(("",) if marks else ()), "series", *times, *values, *small)
    for number, each in enumerate(result):
        summary = _summary(each)
        cells: list[str | Text] = [
            Text(series_text(each["metric"])),
            *(summary[name] for name in (*times, *values, *small)),
        ]
        if marks:
            cells.insert(0, Text(marks[number], colour(number)) if number < len(marks) else "")
        table.add_row(*cells)
    return table


def _summary(series: Mapping[str, Any]) -> dict[str, str]:
    """Cells by column."""
    points, histograms = series.get("values", []), series.get("histograms", [])
    at = [time for time, _ in (*points, *histograms)] or [0]
    cells = {"samples": str(len(points) + len(histograms)), "from": clock(min(at)), "to": clock(max(at))}
    if not points:
        last = histogram_text(histograms[-1][1]) if histograms else ""
        return cells | {"min": "", "max": "", "last": last, "": ""}
    values = [float(value) for _, value in points]
    real = [value for value in values if not math.isnan(value)] or [math.nan]
    least, most, last = (f"{value:.6g}" for value in (min(real), max(real), values[-1]))
    return cells | {"min": least, "max": most, "last": last, "": bars(values)}


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        text = column in ("series", "from", "to", "")
        table.add_column(column, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    return table


def series_text(metric: Mapping[str, str]) -> str:
    labels = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in metric.items() if name != "__name__"
    )
    name = metric.get("__name__", "")
    return f"{name}{{{labels}}}" if labels or not name else name


def histogram_text(histogram: Mapping[str, Any]) -> str:
    return f"histogram: count {histogram['count']}, sum {histogram['sum']}"


def bars(values: Sequence[float]) -> str:
    """A small drawing of the values; those that are not finite are left blank."""
    shown = [values[i * len(values) // _BARS_MAX] for i in range(_BARS_MAX)] if len(values) > _BARS_MAX else values
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    return "".join(_bar(value, low, high) if math.isfinite(value) else " " for value in shown)


def _bar(value: float, low: float, high: float) -> str:
    """Halves: the difference of two finite numbers need not be finite."""
    share = (value / 2 - low / 2) / (high / 2 - low / 2) if high / 2 > low / 2 else 0.0
    return _BARS[round(share * (len(_BARS) - 1))]


def clock(seconds: float) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return f"{seconds:g}"


def size_text(size: float) -> str:
    """Bytes in the largest unit that leaves at least one."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def duration_text(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds:.0f} s"
    return f"{seconds * 1e6:.0f} µs"
