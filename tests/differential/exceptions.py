"""Where an answer may differ from the reference's: each rule says on which section of the specification it rests.

A rule looks at one difference and is as narrow as it can be told. Together they may match under one in a hundred
queries; `run.py` counts them and says so.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mimir_rw.promql import ast
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.parser import parse_expression
from tests.differential.compare import Difference, histograms_of, points_of
from tests.differential.generator import Request

SHARE_MAX = 0.01


@dataclass(frozen=True, slots=True)
class Case:
    """One difference. ours, theirs: decoded answers. expr: None where the query does not parse."""

    request: Request
    ours: Any
    theirs: Any
    found: Difference
    expr: ast.Expr | None

    @classmethod
    def of(cls, request: Request, ours: Any, theirs: Any, found: Difference) -> Case:
        try:
            expr = parse_expression(request.query)
        except ParseError:
            expr = None
        return cls(request, ours, theirs, found, expr)

    def nodes(self) -> Iterator[ast.Expr]:
        return ast.walk(self.expr) if self.expr is not None else iter(())

    def calls(self, *names: str) -> bool:
        return any(isinstance(node, ast.Call) and node.func.name in names for node in self.nodes())

    def aggregates(self, *names: str) -> bool:
        return any(isinstance(node, ast.AggregateExpr) and node.op.value in names for node in self.nodes())

    def operates(self, *names: str) -> bool:
        return any(isinstance(node, ast.BinaryExpr) and node.op.value in names for node in self.nodes())


@dataclass(frozen=True, slots=True)
class Rule:
    """section: of the specification."""

    name: str
    section: str
    why: str
    holds: Callable[[Case], bool]


_CRASHES = ("runtime error: index out of range", "histograms with custom buckets have no zero bucket")


def _crashes(case: Case) -> bool:
    said = str(case.theirs.get("error", ""))
    return any(text in said for text in _CRASHES)


def _summed_in_another_order(case: Case) -> bool:
    """Compensated sums differ in a last bit, Welford's moments more often."""
    summed = case.aggregates("sum", "avg", "stddev", "stdvar") or case.calls("sum_over_time", "avg_over_time")
    return case.found.kind == "inexact" and summed and (case.request.is_range or _reordered(case))


def _reordered(case: Case) -> bool:
    """Below, rows pass through a map, or come from a match that fills in: matched and filled rows have no order."""
    return case.calls("info") or any(isinstance(node, ast.SubqueryExpr) or _fills(node) for node in case.nodes())


def _fills(node: ast.Expr) -> bool:
    matching = node.matching if isinstance(node, ast.BinaryExpr) else None
    return matching is not None and (matching.fill_left is not None or matching.fill_right is not None)


def _library(case: Case) -> bool:
    return case.found.kind == "inexact" and (case.calls(*_MATHEMATICAL) or case.operates("^", "atan2"))


def _library_told_apart(case: Case) -> bool:
    telling = case.calls(*_TELLING) or case.aggregates("count_values", "topk", "bottomk") or case.operates(*_COMPARING)
    mathematical = case.calls(*_MATHEMATICAL) or case.operates("^", "atan2")
    return case.found.kind in ("series", "points", "value", "order") and mathematical and telling


def _absent_twice(case: Case) -> bool:
    """A label that two matchers speak of, in absent: which of them is seen first."""
    if case.found.kind != "series":
        return False
    for node in case.nodes():
        if isinstance(node, ast.Call) and node.func.name in ("absent", "absent_over_time"):
            inner = node.args[0].selector if isinstance(node.args[0], ast.MatrixSelector) else node.args[0]
            names = [matcher.name for matcher in getattr(inner, "matchers", ())]
            if len(set(names)) < len(names):
                return True
    return False


def _chosen_among_equals(case: Case) -> bool:
    """In a range query, or below an operator that keeps rows in a map, which of several equal rows comes first."""
    if not case.aggregates("topk", "bottomk", "limitk") or case.found.kind not in ("series", "points", "value"):
        return False
    outer = case.expr
    while isinstance(outer, ast.ParenExpr):
        outer = outer.expr
    if isinstance(outer, ast.AggregateExpr) and outer.op.value in ("topk", "bottomk"):
        return case.found.kind == "value" or _per_time(case.ours) == _per_time(case.theirs)
    return case.request.is_range or case.aggregates("count_values")


def _per_time(answer: Any) -> Any:
    """How often each value is there at each time, whatever the labels."""
    if answer["status"] != "success":
        return None
    rows = answer["data"]["result"]
    return Counter(json.dumps(p) for row in rows for p in (*points_of(row), *histograms_of(row)))


_SAME_LABELS = "vector cannot contain metrics with the same labelset"


def _merged_rows(case: Case) -> bool:
    """Series that are equal without their names, but at no time both there."""
    return case.ours["status"] == "success" and _SAME_LABELS in case.theirs.get("error", "")


def _info_keeps_names(case: Case) -> bool:
    """The rows are the same but for names, or their names are all that tells theirs apart."""
    if not case.calls("info"):
        return False
    if _SAME_LABELS in case.ours.get("error", "") and case.theirs["status"] == "success":
        rows = [json.dumps(_without_name(row["metric"]), sort_keys=True) for row in case.theirs["data"]["result"]]
        return len(set(rows)) < len(rows)
    same: bool = case.found.kind == "series" and _nameless(case.ours) == _nameless(case.theirs)
    return same


def _info_elsewhere(case: Case) -> bool:
    """What is described was read at another time than that of the query."""
    if not case.calls("info") or case.found.kind not in ("series", "points"):
        return False
    read = [node for node in case.nodes() if isinstance(node, ast.VectorSelector | ast.SubqueryExpr)]
    return any(node.at is not None or node.offset_ms for node in read)


def _timestamp_forgets(case: Case) -> bool:
    """timestamp() of a selector that has both `@` and an offset."""
    if case.found.kind not in ("series", "points", "value"):
        return False
    for node in case.nodes():
        if isinstance(node, ast.Call) and node.func.name in ("timestamp", "start_timestamp"):
            inner = node.args[0]
            while isinstance(inner, ast.ParenExpr):
                inner = inner.expr
            if isinstance(inner, ast.VectorSelector) and inner.at is not None and inner.offset_ms:
                return True
    return False


def _merged_kinds(case: Case) -> bool:
    """Two rows of equal labels, a float and a histogram at one time: theirs shows the histogram."""
    refused = _SAME_LABELS in case.ours.get("error", "") and case.theirs["status"] == "success"
    return refused and any(isinstance(node, ast.VectorSelector) and node.name == "blended" for node in case.nodes())


def _nameless(answer: Any) -> Any:
    rows = answer["data"]["result"]
    labels = (_without_name(row["metric"]) for row in rows)
    return sorted(
        json.dumps([one, points_of(row), histograms_of(row)], sort_keys=True)
        for one, row in zip(labels, rows, strict=True)
    )


def _without_name(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != "__name__"}


def _reconciled_first(case: Case) -> bool:
    """Whether custom buckets are reconciled before exponential ones end the aggregation."""
    if case.found.kind != "infos" or not case.request.is_range or not case.aggregates("sum", "avg"):
        return False
    mine, other = (set(answer.get("infos", [])) for answer in (case.ours, case.theirs))
    return all("reconciled during aggregation" in text for text in mine ^ other) and "warnings" in case.theirs


def _which_duplicates(case: Case) -> bool:
    if case.found.kind != "error":
        return False
    mine, other = (_DUPLICATES.sub("", answer["error"]) for answer in (case.ours, case.theirs))
    return mine == other


def _place_of_nan(case: Case) -> bool:
    if case.found.kind != "infos":
        return False
    mine, other = ({_NAN.sub("", text) for text in answer.get("infos", [])} for answer in (case.ours, case.theirs))
    return mine == other


_NAN = re.compile(r"(?<=NaN observations, )(.*) \(\d+:\d+\)")


def _which_failure(case: Case) -> bool:
    """Different steps of a range fail in different ways; theirs looks at them one after the other."""
    texts = case.ours.get("error", ""), case.theirs.get("error", "")
    failures = ("found duplicate series for the match group", "multiple matches for labels")
    return case.request.is_range and all(text.startswith(failures) for text in texts)


def _spoilt_buckets(case: Case) -> bool:
    """The job "twice" has two buckets of one bound."""
    return case.found.kind == "value" and case.calls("histogram_quantiles") and '"job": "twice"' in case.found.text


def _sorted_without_label(case: Case) -> bool:
    """A row without a label that rows are sorted by: to the reference it comes after every other, and they after it."""
    if case.found.kind != "order":
        return False
    calls = [n for n in case.nodes() if isinstance(n, ast.Call) and n.func.name.startswith("sort_by_label")]
    names = {arg.value for call in calls for arg in call.args[1:] if isinstance(arg, ast.StringLiteral)}
    return any(name not in row["metric"] for name in names for row in case.theirs["data"]["result"])


_DUPLICATES = re.compile(r"for the match group .* operation: \[.*\]")
_MATHEMATICAL = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "ln", "log2", "log10", "sin", "sinh",
    "tan", "tanh",
)  # fmt: skip
_TELLING = ("floor", "ceil", "round", "sgn", "changes", "resets", "histogram_quantile", "sort", "sort_desc")
_COMPARING = ("==", "!=", "<", ">", "<=", ">=", "%")

RULES = (
    Rule(
        "order of a sum",
        "9",
        "rows are added in input order, which in a range query is that of a map",
        _summed_in_another_order,
    ),
    Rule("chosen among equals", "9", "the order of input that decides is that of a map", _chosen_among_equals),
    Rule("theirs crashes", "7", "an anchored range without samples, the text of custom buckets times NaN", _crashes),
    Rule("info forgets", "15", "what a function took the name of has none, info or not", _info_keeps_names),
    Rule("info elsewhere", "15", "info series are read where their base is, not at the query's time", _info_elsewhere),
    Rule("timestamp forgets", "11", "theirs leaves the offset beside @ out of account", _timestamp_forgets),
    Rule("absent, a label twice", "11", "such a label is left out; theirs depends on sorting", _absent_twice),
    Rule("merged rows", "1", "an error only where two equal label sets meet at one timestamp", _merged_rows),
    Rule("merged kinds", "1", "the same error where one of the two is a histogram", _merged_kinds),
    Rule("place of NaN infos", "17", "the scripts have the vector's place, the binary the quantile's", _place_of_nan),
    Rule("reconciled first", "9", "in what order histograms are added up is that of a map", _reconciled_first),
    Rule(
        "sorted without the label", "11", "its comparison with an empty value contradicts itself", _sorted_without_label
    ),
    Rule("double buckets", "12", "theirs adds equal bounds up again for each further quantile", _spoilt_buckets),
    Rule("which duplicates", "8", "two of several duplicates are named, in the order of a map", _which_duplicates),
    Rule("which failure", "8", "one of several errors of matching, each at steps of its own", _which_failure),
)


def _refused_by_older(case: Case) -> bool:
    said = case.theirs.get("error", "")
    return any(text in said for text in ("parse error", "invalid destination label name", "invalid label name"))


def _checked_since(case: Case) -> bool:
    said = case.ours.get("error", "")
    return any(text in said for text in ("grouping labels must ensure", "many-to-one matching must be explicit"))


OLDER_RULES = (
    *RULES,
    Rule("mathematical library", "11", "another compiler rounds transcendental functions otherwise", _library),
    Rule("told apart by a last bit", "11", "comparisons of such results, and what jumps", _library_told_apart),
    Rule("newer language", "21", "syntax and names of its future are refused by an older release", _refused_by_older),
    Rule("newer checks", "8", "an older release lets pass where a filter removes the sample", _checked_since),
)
"""For a reference before 3.14, of which only floats and the older language are asked."""


def excused(case: Case, *, older: bool = False) -> str:
    """The name of the first rule that covers the difference, else ""."""
    return next((rule.name for rule in (OLDER_RULES if older else RULES) if rule.holds(case)), "")
