"""What a query did, as the plain data that clients get in `data.explain`. Times in Unix seconds, durations in seconds.
Pure."""

from __future__ import annotations

from mimir_rw.promql.explain import Explanation, OperatorTrace, SelectTrace


def explanation_object(explanation: Explanation) -> dict[str, object]:
    """plan: the operators as a tree, None where the query is itself a range vector: then nothing but selects ran."""
    return {
        "rewrites": explanation.rewrites,
        "selects": [_select(select) for select in explanation.selects],
        "plan": None if explanation.root is None else _operator(explanation.root),
    }


def _select(select: SelectTrace) -> dict[str, object]:
    return {
        "matchers": select.matchers,
        "start": select.mint / 1000,
        "end": select.maxt / 1000,
        "series": select.series,
        "samples": select.samples,
    }


def _operator(operator: OperatorTrace) -> dict[str, object]:
    return {
        "operator": operator.kind,
        "expression": operator.text,
        "evaluations": operator.evaluations,
        "steps": operator.steps,
        "rowsIn": operator.rows_in,
        "rowsOut": operator.rows_out,
        "samples": operator.samples,
        "bytes": operator.bytes,
        "peakBytes": operator.peak_bytes,
        "seconds": operator.seconds,
        "ownSeconds": operator.own_seconds,
        "notes": operator.notes,
        "children": [_operator(child) for child in operator.children],
    }
