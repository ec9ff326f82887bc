"""What the ingester decides, as plain functions: limits of a group, texts about what was refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from mimir_rw._native import LabelFrame, Looks, RefusedSamples, SampleColumns
from mimir_rw.config.limits import TenantLimits
from mimir_rw.rpc.contracts.ingester import PushResult, Rejection, U32Column
from mimir_rw.tsdb.head import AppendLimits

_ADJUST = "to change the limit, set -{flag} or the tenant's override, or contact your service administrator"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SAMPLE_TEXTS = {
    "sample-timestamp-too-old": "the sample is older than the ingester still accepts",
    "sample-out-of-order": "the series has a newer sample already and samples out of order are not accepted",
    "sample-duplicate-timestamp": "the series has another value at the same timestamp already",
}
DISCARD_REASONS = {
    "sample-duplicate-timestamp": "new-value-for-timestamp",
    "max-series-per-user": "per_user_series_limit",
    "max-series-per-metric": "per_metric_series_limit",
}
"""Mimir's values of the label `reason` where they are not the error id."""


def append_limits(limits: TenantLimits, *, series: int, instance_room: int | None) -> AppendLimits:
    """Limits of the next group. limits: this ingester's part. series: what the tenant has of its own here.
    instance_room: series that the process may still add over all tenants, None for any number."""
    series_max = limits.max_global_series_per_user
    if instance_room is not None:
        # To the head 0 means no limit; a tenant's first push is refused by the caller before it comes to that.
        reachable = max(series + max(instance_room, 0), 1)
        series_max = min(series_max or reachable, reachable)
    return AppendLimits(
        series_max=series_max,
        series_per_metric_max=limits.max_global_series_per_metric,
        ooo_window_ms=limits.out_of_order_time_window,
        exemplars_max=limits.max_global_exemplars_per_user,
    )


def push_result(
    stored: int,
    refused: Iterable[RefusedSamples],
    limits: TenantLimits,
    more: Iterable[Rejection],
    unresolved: U32Column,
) -> PushResult:
    """The outcome of a push: samples, then whatever else was refused. limits: as the tenant has them."""
    samples = (Rejection(r.error_id, r.count, refused_text(r, limits), r.rows) for r in refused)
    return PushResult(stored, (*samples, *more), unresolved)


def refused_text(refused: RefusedSamples, limits: TenantLimits) -> str:
    """What the sender reads about samples refused for one reason, without the id."""
    if refused.error_id == "max-series-per-user":
        bound = limits.max_global_series_per_user
        return limit_text("series per tenant", bound, "ingester.max-global-series-per-user", refused.labels)
    if refused.error_id == "max-series-per-metric":
        bound = limits.max_global_series_per_metric
        return limit_text("series per metric", bound, "ingester.max-global-series-per-metric", refused.labels)
    text = _SAMPLE_TEXTS[refused.error_id]
    return f"{text}; it is at {timestamp_text(refused.time_ms)} in series {refused.labels}"


def limit_text(what: str, limit: int, flag: str, subject: str) -> str:
    return f"the limit of {limit} {what} keeps {subject} out; {_ADJUST.format(flag=flag)}"


def timestamp_text(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds where there are any; plain milliseconds beyond the calendar."""
    try:
        time = _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return f"{ms} ms"
    digits = "milliseconds" if ms % 1000 else "seconds"
    return time.isoformat(timespec=digits).replace("+00:00", "Z")


class EmptySeriesSet:
    """A storage.contract.SeriesSet without series: what an unknown tenant has."""

    @property
    def labels(self) -> LabelFrame:
        return LabelFrame.empty_rows(0)

    def decode(self, start_row: int, end_row: int, mint: int, maxt: int, looks: Looks | None = None) -> SampleColumns:
        assert start_row == end_row == 0, "there are no rows"
        return SampleColumns(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))

    def sample_count_max(self, start_row: int, end_row: int) -> int:
        return 0


def replay_text(tenant: str, done: int, total: int, *, tenants_done: int, tenants: int) -> str:
    """Progress of a replay for the log and /ready."""
    mib = 1 << 20
    percent = 100 * done // max(total, 1)
    of = f"; {tenants_done} of {tenants} tenants done" if tenants > 1 else ""
    return f"replaying WAL of tenant {tenant}: {percent} % ({done / mib:.1f} of {total / mib:.1f} MiB{of})"


def largest_first(sizes: Sequence[tuple[str, int]]) -> list[str]:
    """Tenants in the order in which to replay: the largest logs first, so that none is left alone at the end."""
    return [tenant for tenant, _ in sorted(sizes, key=lambda s: (-s[1], s[0]))]
