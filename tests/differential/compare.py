"""Is our answer the reference's? Everything is compared bit for bit: values, times, texts and places of errors and
annotations. Rows are a set, except where the query itself puts them in order. What may differ is in `exceptions.py`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from tests.e2e.processes import Answer

TOLERANCE = 1e-12
KINDS = (
    "status", "errorType", "error", "warnings", "infos", "resultType", "twice", "series", "points", "time", "value",
    "inexact", "order",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """kind: one of KINDS; inexact: a number that is equal within the tolerance."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Text(str):
    """A JSON number as it was written."""

    __slots__ = ()


def decoded(answer: Answer) -> Any:
    return json.loads(answer.body, parse_float=Text, parse_int=Text)


def difference(
    ours: Any, theirs: Any, *, messages: bool, ordered: bool, tolerance: float = TOLERANCE
) -> Difference | None:
    """What differs between two decoded answers.

    messages: compare error texts and annotations too. ordered: the rows of a vector have their order from the query.
    """
    if ours["status"] != theirs["status"]:
        return Difference("status", f"{_said(ours)} / {_said(theirs)}")
    if ours["status"] == "error":
        if ours["errorType"] != theirs["errorType"]:
            return Difference("errorType", f"{_said(ours)} / {_said(theirs)}")
        same = not messages or ours["error"] == theirs["error"]
        return None if same else Difference("error", f"{ours['error']} / {theirs['error']}")
    if messages:
        for kind in ("warnings", "infos"):
            mine, other = _annotations(ours, kind), _annotations(theirs, kind)
            if mine != other:
                return Difference(kind, f"{mine} / {other}")
    x, y = ours["data"], theirs["data"]
    if x["resultType"] != y["resultType"]:
        return Difference("resultType", f"{x['resultType']} / {y['resultType']}")
    if x["result"] == y["result"]:
        return None
    if x["resultType"] in ("scalar", "string"):
        return _point(x["result"], y["result"], tolerance, "")
    return _rows(x["result"], y["result"], tolerance) or (_order(x["result"], y["result"]) if ordered else None)


def _said(answer: Any) -> str:
    return f"{answer['errorType']} {answer['error']}" if answer["status"] == "error" else "success"


def _annotations(answer: Any, kind: str) -> list[str]:
    """Sorted; which ten are told of more than ten follows no order, so only how many."""
    texts = answer.get(kind, [])
    return sorted(texts) if len(texts) <= 10 else [f"{len(texts)} texts"]


def _rows(mine: list[Any], other: list[Any], tolerance: float) -> Difference | None:
    a, b = by_labels(mine), by_labels(other)
    if len(a) != len(mine):
        return Difference("twice", "we answer one label set twice")
    if a.keys() != b.keys():
        text = f"only ours {sorted(a.keys() - b.keys())[:4]}, only theirs {sorted(b.keys() - a.keys())[:4]}"
        return Difference("series", text)
    inexact = None
    for labels, row in a.items():
        for of in (points_of, histograms_of):
            found = _points(of(row), of(b[labels]), tolerance, labels)
            if found and found.kind != "inexact":
                return found
            inexact = inexact or found
    return inexact


def _points(mine: list[Any], other: list[Any], tolerance: float, labels: str) -> Difference | None:
    if len(mine) != len(other):
        return Difference("points", f"{labels}: {len(mine)} / {len(other)}, {mine[:2]} / {other[:2]}")
    inexact = None
    for p, q in zip(mine, other, strict=True):
        found = _point(p, q, tolerance, labels)
        if found and found.kind != "inexact":
            return found
        inexact = inexact or found
    return inexact


def _order(mine: list[Any], other: list[Any]) -> Difference | None:
    """Rows of equal values may stand in any order."""
    ours, theirs = ([(points_of(row), histograms_of(row)) for row in rows] for rows in (mine, other))
    return None if ours == theirs else Difference("order", f"{list(by_labels(mine))} / {list(by_labels(other))}")


def by_labels(rows: list[Any]) -> dict[str, Any]:
    return {json.dumps(row["metric"], sort_keys=True, ensure_ascii=False): row for row in rows}


def points_of(row: Any) -> list[Any]:
    return [row["value"]] if "value" in row else row.get("values", [])


def histograms_of(row: Any) -> list[Any]:
    return [row["histogram"]] if "histogram" in row else row.get("histograms", [])


def _point(mine: Any, other: Any, tolerance: float, where: str) -> Difference | None:
    if mine == other:
        return None
    text = f"{where} {json.dumps(mine)} / {json.dumps(other)}"
    if mine[0] != other[0]:
        return Difference("time", text)
    return Difference("inexact" if _close(mine[1], other[1], tolerance) else "value", text)


def _close(mine: Any, other: Any, tolerance: float) -> bool:
    """Numbers in texts, and histograms of them."""
    if isinstance(mine, dict) and isinstance(other, dict):
        return mine.keys() == other.keys() and all(_close(mine[key], other[key], tolerance) for key in mine)
    if isinstance(mine, list) and isinstance(other, list):
        return len(mine) == len(other) and all(_close(a, b, tolerance) for a, b in zip(mine, other, strict=True))
    try:
        x, y = float(mine), float(other)
    except (TypeError, ValueError):
        return False
    return math.isclose(x, y, rel_tol=tolerance) or (math.isnan(x) and math.isnan(y))
