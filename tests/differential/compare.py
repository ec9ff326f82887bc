"""Is our answer the reference's? Values bit for bit, then within a tolerance that is told apart."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from tests.e2e.processes import Answer

Rows = dict[str, Any]
TOLERANCE = 1e-12

MERGED_HERE = "vector cannot contain metrics with the same labelset"
"""Said by Prometheus of the result of a range function also where series that have become equal never meet; as of other
results, and as in Mimir, they are one series here. Scripts in tests/promql hold where it must be said."""
NEWER_THAN_OLD = ("parse error", "invalid destination label name", "invalid label name")
"""What a Prometheus before the reference refuses: syntax and names of its future."""
CHECKED_BY_NEW = ("grouping labels must ensure unique matches", "many-to-one matching must be explicit")
"""What it lets pass where a filter removes the sample."""


class Text(str):
    """A JSON number as it was written."""

    __slots__ = ()


def decoded(answer: Answer) -> Any:
    return json.loads(answer.body, parse_float=Text, parse_int=Text)


def difference(ours: Answer, theirs: Answer, *, messages: bool, tolerance: float = TOLERANCE) -> str:
    """ "" when equal, "inexact: …" when equal within the tolerance, else what differs.

    messages: compare error texts and annotations too.
    """
    a, b = decoded(ours), decoded(theirs)
    if not messages and theirs.status >= 400 and any(text in b["error"] for text in NEWER_THAN_OLD):
        return ""
    if MERGED_HERE in b.get("error", "") and MERGED_HERE not in a.get("error", ""):
        return ""
    if ours.status != theirs.status:
        if not messages and any(text in a.get("error", "") for text in CHECKED_BY_NEW):
            return ""
        return f"status {ours.status} / {theirs.status}: {a.get('error', '')} / {b.get('error', '')}"
    if a["status"] == "error":
        if a["errorType"] != b["errorType"]:
            return f"errorType {a['errorType']} / {b['errorType']}"
        mine, other = _settled(a["error"]), _settled(b["error"])
        return f"error {mine} / {other}" if messages and mine != other else ""
    if messages:
        for kind in ("warnings", "infos"):
            mine, other = _annotations(a, kind), _annotations(b, kind)
            if mine != other and not (len(mine) == len(other) > 10):
                return f"{kind} {mine} / {other}"
    x, y = a["data"], b["data"]
    if x["resultType"] != y["resultType"]:
        return f"resultType {x['resultType']} / {y['resultType']}"
    if x["result"] == y["result"]:
        return ""
    if x["resultType"] in ("scalar", "string"):
        return _point(x["result"], y["result"], tolerance, "")
    return _rows(x["result"], y["result"], tolerance)


def _settled(text: str) -> str:
    """Prometheus tells where duration arithmetic fails by two offsets in bytes, others by line and column. Which of
    several duplicates it names depends on the order of a map."""
    text = re.sub(r"(found duplicate series) for the match group.*", r"\1", text)
    return re.sub(r": \d+:\d+: (?=duration|division|modulo)", ": ", text)


def _annotations(answer: Any, kind: str) -> list[str]:
    """The count of samples that a histogram info names grows with the square of the steps in Prometheus; subqueries
    lose their position on the way to the function that remarks on their metric's name."""
    texts = [re.sub(r"over -?\d+ samples", "over samples", text) for text in answer.get(kind, [])]
    return sorted(re.sub(r"(not be a counter.*) \(\d+:\d+\)$", r"\1", text) for text in texts)


def _rows(mine: list[Any], other: list[Any], tolerance: float) -> str:
    a, b = _by_labels(mine), _by_labels(other)
    if len(a) != len(mine):
        return "we answer one label set twice"
    if a.keys() != b.keys():
        return f"series only ours {sorted(a.keys() - b.keys())[:4]}, only theirs {sorted(b.keys() - a.keys())[:4]}"
    worst = ""
    for labels, row in a.items():
        mine_points, their_points = _points(row), _points(b[labels])
        if len(mine_points) != len(their_points):
            return f"{labels}: {len(mine_points)} / {len(their_points)} points"
        for p, q in zip(mine_points, their_points, strict=True):
            found = _point(p, q, tolerance, labels)
            if found and not found.startswith("inexact"):
                return found
            worst = worst or found
    if worst:
        return worst
    if [_points(row) for row in mine] == [_points(row) for row in other]:
        return ""  # equal values in any order
    return "order of the result" if list(a) != list(b) else ""


def _by_labels(rows: list[Any]) -> dict[str, Rows]:
    return {json.dumps(row["metric"], sort_keys=True, ensure_ascii=False): row for row in rows}


def _points(row: Rows) -> list[Any]:
    return row["values"] if "values" in row else [row["value"]]


def _point(mine: list[str], other: list[str], tolerance: float, where: str) -> str:
    if mine == other:
        return ""
    text = f"{where} {mine} / {other}"
    if mine[0] != other[0]:
        return f"time {text}"
    try:
        x, y = float(mine[1]), float(other[1])
    except ValueError:
        return f"value {text}"
    close = math.isclose(x, y, rel_tol=tolerance) or (math.isnan(x) and math.isnan(y))
    return f"inexact: {text}" if close else f"value {text}"
