"""histogram_quantile, histogram_quantiles, histogram_fraction: on classic buckets, float series with an `le` label, and
on native histograms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mimir_rw import _native
from mimir_rw._native import LabelFrame
from mimir_rw.model.errors import QueryFailed
from mimir_rw.promql.ast import Call, Expr
from mimir_rw.promql.exec import histogram_native
from mimir_rw.promql.exec.annotations import Extent, wrapped
from mimir_rw.promql.exec.evaluation import Evaluation, is_label_name
from mimir_rw.promql.exec.histogram_native import metric_suffix
from mimir_rw.promql.exec.matching import presence
from mimir_rw.promql.exec.number_text import general, openmetrics, parse_float
from mimir_rw.promql.exec.values import (
    BoolMatrix,
    FloatMatrix,
    Rows,
    Vector,
    concat_vectors,
    drop_names,
    empty_vector,
    merge_equal_rows,
)
from mimir_rw.promql.quoting import quote

_FORCED = (
    "input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)


@dataclass(slots=True)
class Forced:
    """Buckets whose counts fall and were raised to those before them, in one call, for all of its quantiles.

    found: per quantile, see the kernel: histogram, step, lowest and highest bound and largest difference of each.
    """

    labels: LabelFrame
    found: list[tuple[Rows, Rows, FloatMatrix, FloatMatrix, FloatMatrix]] = field(default_factory=list)

    def tell(self, ev: Evaluation, node: Expr) -> None:
        """One info for each metric name."""
        found = [np.concatenate(part) for part in zip(*self.found, strict=True)]
        # Theirs raises the counts where they are: a further quantile of the same call finds them raised.
        first = np.sort(np.unique(np.stack(found[:2]), axis=1, return_index=True)[1])
        groups, steps, lowest, highest, difference = (part[first] for part in found)
        suffixes = {group: metric_suffix(ev, self.labels, group) for group in np.unique(groups).tolist()}
        for suffix in dict.fromkeys(suffixes.values()):
            rows = np.isin(groups, [group for group, text in suffixes.items() if text == suffix])
            times = ev.steps.times()[[steps[rows].min(), steps[rows].max()]]
            extent = Extent(
                buckets=(float(lowest[rows].min()), float(highest[rows].max())),
                difference=float(difference[rows].max()),
                samples=told_samples(np.bincount(steps[rows], minlength=ev.steps.count)),
                times_ms=(int(times[0]), int(times[1])),
            )
            ev.annotations.info_of(_FORCED + suffix, node.span, extent)


def told_samples(forced: NDArray[np.int64]) -> int:
    """The number that Prometheus tells of so many at each step: a later step adds its own to what there is, then what
    there is to itself."""
    first = int((forced > 0).argmax())
    told = int(forced[first])
    for count in forced[first + 1 :].tolist():
        told = wrapped(2 * (told + count))
    return told


@dataclass(frozen=True, slots=True)
class Buckets:
    """Rows that are buckets, and the histogram each belongs to (-1: to none, its `le` is no number).

    labels, unnamed: of the histograms. bounds: the upper bound of each row.
    """

    labels: LabelFrame
    unnamed: BoolMatrix | None
    groups: Rows
    bounds: NDArray[np.float64]
    values: FloatMatrix
    mask: BoolMatrix

    def quantile(self, quantile: NDArray[np.float64], forced: Forced) -> Vector:
        (values, mask), found = _native.histogram_quantile(
            quantile, self.groups, len(self.labels), self.bounds, self.values, self.mask
        )
        forced.found.append(found)
        return Vector(self.labels, values, mask, self.unnamed)

    def fraction(self, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Vector:
        values, mask = _native.histogram_fraction(
            lower, upper, self.groups, len(self.labels), self.bounds, self.values, self.mask
        )
        return Vector(self.labels, values, mask, self.unnamed)


@dataclass(frozen=True, slots=True)
class Histograms:
    """What an argument has of both kinds; native: the rows that have native ones, None for no row.

    At no step a histogram is there in both forms: such are left out, with a warning.
    """

    classic: Buckets
    native: Vector | None

    def quantiles(self, ev: Evaluation, quantiles: list[NDArray[np.float64]], node: Expr) -> list[list[Vector]]:
        """Both kinds, for each quantile. node: where they come from, for annotations."""
        forced = Forced(self.classic.labels)
        results = []
        for quantile in quantiles:
            classic = self.classic.quantile(quantile, forced)
            native = [] if self.native is None else [histogram_native.quantile(ev, self.native, quantile, node)]
            results.append([*native, classic])
        forced.tell(ev, node)
        return results


def collect_histograms(ev: Evaluation, node: Expr) -> Histograms:
    vector = ev.vector(node)
    if vector.histograms is None:
        return Histograms(_collect_buckets(ev, node, vector), None)
    classic = _collect_buckets(ev, node, vector.floats())
    native = vector.take(np.flatnonzero(vector.histograms.present().any(axis=1)))
    return _without_mixed(ev, node, classic, native)


def _without_mixed(ev: Evaluation, node: Expr, classic: Buckets, native: Vector) -> Histograms:
    assert native.histograms is not None, "the caller has histograms"
    classic_ids, native_ids, count = classic.labels.match_ids(native.labels, [], True)
    cells = native.histograms
    has_classic = presence(classic_ids[classic.groups], count, classic.mask)
    both = has_classic & presence(native_ids, count, cells.present())
    if both.any():
        for row in np.flatnonzero((cells.present() & both[native_ids]).any(axis=1)).tolist():
            text = "vector contains a mix of classic and native histograms" + metric_suffix(ev, native.labels, row)
            ev.annotations.warn(text, node.span)
        native = native.where(~both[native_ids])
        classic = replace(classic, mask=classic.mask & ~both[classic_ids[classic.groups]])
    return Histograms(classic, native)


def _collect_buckets(ev: Evaluation, node: Expr, vector: Vector) -> Buckets:
    """Warns of rows without a readable `le`."""
    parsed = [parse_float(text) for text in vector.labels.dictionary("le")]
    codes = vector.labels.codes("le")
    readable = np.array([*(bound is not None for bound in parsed), False])[codes]
    for row in np.flatnonzero(~readable & vector.mask.any(axis=1)).tolist():
        text = f'bucket label "le" is missing or has a malformed value of "{vector.labels.row(row).get("le", "")}"'
        ev.annotations.warn(text + metric_suffix(ev, vector.labels, row), node.span)
    if not readable.all():
        vector, codes = vector.take(np.flatnonzero(readable)), codes[readable]
    groups, labels = vector.labels.group(["le"], True)
    unnamed = None
    if vector.unnamed is not None:
        unnamed = np.zeros(len(labels), dtype=np.bool_)
        unnamed[groups] = vector.unnamed
    bounds = np.array([np.nan if bound is None else bound for bound in [*parsed, None]])[codes]
    return Buckets(labels, unnamed, groups, bounds, vector.values, vector.mask)


def histogram_quantile(ev: Evaluation, node: Call) -> Vector:
    quantile = ev.scalar(node.args[0])
    histograms = collect_histograms(ev, node.args[1])
    check_quantiles(ev, quantile, node.args[0])
    return _joined(ev, histograms.quantiles(ev, [quantile], node.args[1])[0])


def histogram_quantiles(ev: Evaluation, node: Call) -> Vector:
    """histogram_quantiles(v, "label", q...): a result per quantile, told apart by the label."""
    histograms = collect_histograms(ev, node.args[0])
    quantiles = [ev.scalar(arg) for arg in node.args[2:]]
    for quantile, arg in zip(quantiles, node.args[2:], strict=True):
        check_quantiles(ev, quantile, arg)
    name = ev.any_string(node.args[1])
    parts = [empty_vector(ev.steps)]
    for quantile, results in zip(quantiles, histograms.quantiles(ev, quantiles, node.args[0]), strict=True):
        for part in results:
            parts += _labelled(part, name, quantile)
    vector = concat_vectors(parts).compact()
    if len(vector.labels) and not is_label_name(name):
        raise QueryFailed(f"invalid label name {quote(name)}")
    if not (ev.delayed_name_removal and ev.is_of_one_time):
        # Prometheus looks for equal label sets at the end; but over several times it makes series of them here.
        vector = merge_equal_rows(vector)
    return drop_names(vector, delayed=ev.delayed_name_removal)


def histogram_fraction(ev: Evaluation, node: Call) -> Vector:
    lower, upper = ev.scalar(node.args[0]), ev.scalar(node.args[1])
    histograms = collect_histograms(ev, node.args[2])
    parts = [histograms.classic.fraction(lower, upper)]
    if histograms.native is not None:
        parts.insert(0, histogram_native.fraction(ev, histograms.native, lower, upper, node.args[2]))
    return _joined(ev, parts)


def _joined(ev: Evaluation, parts: list[Vector]) -> Vector:
    vector = concat_vectors(parts)
    if len(parts) > 1:
        vector = merge_equal_rows(vector)
    return drop_names(vector, delayed=ev.delayed_name_removal)


def _labelled(vector: Vector, name: str, quantile: NDArray[np.float64]) -> list[Vector]:
    """The label says which quantile; one that varies over the steps makes rows for each of its values."""
    zeros = np.zeros(len(vector.labels), dtype=np.int32)
    texts = np.array([openmetrics(float(q)) for q in quantile])
    return [
        replace(vector, labels=vector.labels.with_column(name, [text], zeros), mask=vector.mask & (texts == text))
        for text in dict.fromkeys(texts.tolist())
    ]


def check_quantiles(ev: Evaluation, quantile: NDArray[np.float64], node: Expr) -> None:
    """Warn of quantiles that are none."""
    for q in np.unique(quantile[~((quantile >= 0) & (quantile <= 1))]).tolist():
        ev.annotations.warn(f"quantile value should be between 0 and 1, got {general(q)}", node.span)
