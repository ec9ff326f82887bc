"""info(): adds the labels of info series with the same instance and job.

Which info series describes a base series may change from step to step, so a base series becomes one row for each
combination of info series that it meets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw._native import CompiledMatcher, LabelFrame
from mimir_rw.model.errors import QueryFailed
from mimir_rw.model.labels import METRIC_NAME, Matcher
from mimir_rw.promql.ast import Call, VectorSelector
from mimir_rw.promql.exec.evaluation import Evaluation
from mimir_rw.promql.exec.memory import CELL_BYTES
from mimir_rw.promql.exec.selectors import select_times, select_vector
from mimir_rw.promql.exec.values import Rows, Vector, concat_vectors, merge_equal_rows

_IDENTIFYING = ["instance", "job"]
_NONE = -1


def info(ev: Evaluation, node: Call) -> Vector:
    """info(v, selector), the selector completed by the planner."""
    selector = node.args[1]
    assert isinstance(selector, VectorSelector), "the planner completes the call"
    base = ev.vector(node.args[0])
    described = _matches_names(base.labels, selector.matchers)
    plain, rest = base.take(np.flatnonzero(described)), base.take(np.flatnonzero(~described))
    infos = select_vector(ev, selector)
    if infos.histograms is not None and (infos.histograms.present() & base.steps_present()).any():
        raise QueryFailed("info sample should be float")
    wanted = [m for m in selector.matchers if m.name != METRIC_NAME]
    enriched = _enrich(ev, rest, infos, select_times(ev, selector), wanted)
    return merge_equal_rows(concat_vectors([plain, enriched]))


def _matches_names(labels: LabelFrame, matchers: tuple[Matcher, ...]) -> NDArray[np.bool_]:
    """Rows that are info series themselves."""
    tests = [CompiledMatcher(*m.as_tuple()) for m in matchers if m.name == METRIC_NAME]
    passes = [all(test.matches(name) for test in tests) for name in [*labels.dictionary(METRIC_NAME), ""]]
    return np.array(passes, dtype=np.bool_)[labels.codes(METRIC_NAME)]


def _enrich(ev: Evaluation, base: Vector, infos: Vector, times: Vector, wanted: list[Matcher]) -> Vector:
    if len(base.labels) == 0:
        return base
    chosen = _chosen(base, infos, times)
    rows, steps = np.nonzero(base.present())
    met = np.concatenate([rows[:, np.newaxis], chosen[:, rows, steps].T], axis=1)
    combinations, cell = np.unique(met, axis=0, return_inverse=True)
    source, found = combinations[:, 0], combinations[:, 1:]
    ev.memory.take(len(combinations) * ev.steps.count * CELL_BYTES)
    here = np.zeros((len(combinations), base.mask.shape[1]), dtype=np.bool_)
    here[cell.reshape(-1), steps] = True
    vector = base.take(source).where(here)
    labels = vector.labels
    for name in infos.labels.names:
        if name not in (METRIC_NAME, *_IDENTIFYING) and (not wanted or any(m.name == name for m in wanted)):
            labels = _add_label(labels, name, infos.labels, found)
    vector = replace(vector, labels=labels)
    if any(not CompiledMatcher(*m.as_tuple()).matches("") for m in wanted):
        vector = vector.take(np.flatnonzero((found != _NONE).any(axis=1)))
    return vector.compact()


def _chosen(base: Vector, infos: Vector, times: Vector) -> NDArray[np.int64]:
    """(info metrics, base rows, steps): the row of `infos` that describes the base row, -1 where there is none."""
    newest, group_labels = _newest(infos, times)
    names = np.unique(group_labels.codes(METRIC_NAME))
    base_ids, group_ids, count = base.labels.match_ids(group_labels, _IDENTIFYING, False)
    chosen = np.full((len(names), *base.mask.shape), _NONE, dtype=np.int64)
    for i, name in enumerate(names):
        groups = np.flatnonzero(group_labels.codes(METRIC_NAME) == name)
        group_of_id = np.full(count, _NONE, dtype=np.int64)
        group_of_id[group_ids[groups]] = groups
        group = group_of_id[base_ids]
        chosen[i] = np.where((group != _NONE)[:, np.newaxis], newest[group], _NONE)
    return chosen


def _newest(infos: Vector, times: Vector) -> tuple[NDArray[np.int64], LabelFrame]:
    """Per info metric and identity, the row with the newest sample at each step, -1 for none; and their labels.

    Raises QueryFailed where two rows are equally new.
    """
    groups, labels = infos.labels.group([METRIC_NAME, *_IDENTIFYING], False)
    newest = np.full((len(labels), infos.mask.shape[1]), _NONE, dtype=np.int64)
    newest_time = np.full(newest.shape, -np.inf)
    alone = np.bincount(groups, minlength=len(labels))[groups] == 1
    newest[groups[alone]] = np.where(infos.mask[alone], np.flatnonzero(alone)[:, np.newaxis], _NONE)
    for row in np.flatnonzero(~alone).tolist():
        group, present = groups[row], infos.mask[row]
        if (present & (times.values[row] == newest_time[group])).any():
            raise QueryFailed(
                f"found duplicate series for info metric: existing {infos.labels.format_row(_first(newest[group]))}, "
                f"new {infos.labels.format_row(row)}"
            )
        newer = present & (times.values[row] > newest_time[group])
        newest[group] = np.where(newer, row, newest[group])
        newest_time[group] = np.where(newer, times.values[row], newest_time[group])
    return newest, labels


def _first(rows: Rows) -> int:
    return int(rows[rows != _NONE][0])


def _add_label(labels: LabelFrame, name: str, infos: LabelFrame, found: NDArray[np.int64]) -> LabelFrame:
    """`name` from the info rows of each result row, where the row has no such label itself.

    Raises QueryFailed when info rows disagree.
    """
    own = labels.codes(name)
    info_codes = np.append(infos.codes(name), np.int32(-1))[found]
    added = info_codes.max(axis=1, initial=-1)
    disagree = ((info_codes >= 0) & (info_codes != added[:, np.newaxis])).any(axis=1)
    if disagree.any():
        raise QueryFailed(f"conflicting label: {name}")
    dictionary = [*labels.dictionary(name), *infos.dictionary(name)]
    shifted = np.where(added < 0, -1, added + len(labels.dictionary(name)))
    return labels.with_column(name, dictionary, np.where(own >= 0, own, shifted).astype(np.int32))
