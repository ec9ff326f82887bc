"""What the distributor decides, as plain functions and objects: sizes, rates, texts. No clock, no chance, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mimir_rw._native import DecodedPush, PushLimits, WriteBatch
from mimir_rw.config.limits import TenantLimits
from mimir_rw.kit.rate_limiter import TokenBucket
from mimir_rw.model.errors import RateLimited
from mimir_rw.rpc.contracts.distributor import PartlyStored, Written
from mimir_rw.rpc.contracts.ingester import Rejection

KNOWN_SERIES_MIN = 1 << 16
KNOWN_SERIES_MAX = 1 << 22
RECENT_METADATA_MAX = 1 << 16
_ADJUST = "to change the limit, set -{flag} or the tenant's override, or contact your service administrator"
_RETRY_JITTER = 0.5


def unpacked_bytes(body: bytes, bytes_max: int) -> int:
    """Bytes that a snappy block says it unpacks to, at least its own and at most bytes_max (more is refused later)."""
    declared = 0
    for i, byte in enumerate(body[:5]):
        declared |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            break
    return min(max(declared, len(body)), bytes_max)


def push_limits(limits: TenantLimits) -> PushLimits:
    """The part of a tenant's limits that the decoder checks."""
    past_grace_ms = limits.past_grace_period
    if past_grace_ms:
        past_grace_ms += limits.out_of_order_time_window
    return PushLimits(
        label_names_max=limits.max_label_names_per_series,
        info_label_names_max=max(limits.max_label_names_per_info_series, limits.max_label_names_per_series),
        label_name_bytes_max=limits.max_label_name_length,
        label_value_bytes_max=limits.max_label_value_length,
        metadata_bytes_max=limits.max_metadata_length,
        future_grace_ms=limits.creation_grace_period,
        past_grace_ms=past_grace_ms,
        utf8_names=limits.name_validation_scheme == "utf8",
        histograms=limits.native_histograms_ingestion_enabled,
        histogram_buckets_max=limits.max_native_histogram_buckets,
        reduce_histograms=limits.reduce_native_histogram_over_max_buckets,
        exemplars=limits.max_global_exemplars_per_user > 0,
        type_and_unit_labels=limits.type_and_unit_labels_enabled,
    )


def known_series_max(limits: TenantLimits) -> int:
    """Entries of the tenant's set of known series: what it may hold in memory and a quarter more for those that come
    and go, within bounds of our own."""
    series = limits.max_global_series_per_user
    return min(max(series + series // 4, KNOWN_SERIES_MIN), KNOWN_SERIES_MAX) if series else KNOWN_SERIES_MAX


class TenantRates:
    """The token buckets of one tenant in one of several distributors, which has its part of the tenant's rates and the
    whole of its bursts. They follow a change of its limits, and of the number of distributors, without losing their
    fill."""

    __slots__ = ("_items", "_limits", "_requests")

    def __init__(self, limits: TenantLimits, distributors: int, now_s: float) -> None:
        self._limits = limits
        self._requests = TokenBucket(**_requests(limits, distributors), now_s=now_s)
        self._items = TokenBucket(**_items(limits, distributors), now_s=now_s)

    def follow(self, limits: TenantLimits, distributors: int, now_s: float) -> None:
        self._limits = limits
        self._requests.reconfigure(**_requests(limits, distributors), now_s=now_s)
        self._items.reconfigure(**_items(limits, distributors), now_s=now_s)

    def take_request(self, now_s: float) -> None:
        """Raises RateLimited when the tenant sends too many requests."""
        rate = self._limits.request_rate
        if rate and not self._requests.allow(now_s):
            raise RateLimited(
                f"the tenant's push requests are over its rate of {rate:g} a second with a burst of "
                f"{self._requests.burst:g}; {_ADJUST.format(flag='distributor.request-rate-limit')}",
                error_id="tenant-max-request-rate",
            )

    def take_items(self, now_s: float, samples: int, exemplars: int, metadata: int) -> None:
        """Raises RateLimited when all together are more than may come now; then none is counted. samples: floats and
        histograms."""
        rate = self._limits.ingestion_rate
        if rate and not self._items.allow(now_s, samples + exemplars + metadata):
            raise RateLimited(
                f"{samples} samples, {exemplars} exemplars and {metadata} metadata entries are over the tenant's "
                f"ingestion rate of {rate:g} a second with a burst of {self._items.burst:g}; nothing of "
                "the request was stored; "
                f"{_ADJUST.format(flag='distributor.ingestion-rate-limit')}",
                error_id="tenant-max-ingestion-rate",
            )


def _requests(limits: TenantLimits, distributors: int) -> dict[str, float]:
    burst = float(limits.request_burst_size or max(1.0, limits.request_rate))
    return {"rate": limits.request_rate / distributors, "burst": burst}


def _items(limits: TenantLimits, distributors: int) -> dict[str, float]:
    rate = limits.ingestion_rate / distributors
    factor = limits.ingestion_burst_factor
    return {"rate": rate, "burst": rate * factor if factor >= 1 else float(limits.ingestion_burst_size)}


def decode_rejections(push: DecodedPush, limits: TenantLimits) -> list[Rejection]:
    """What the decoder refused and the sender is to hear of."""
    return [
        Rejection(error_id, count, first)
        for error_id, count, first in push.rejections
        if limits.enforce_metadata_metric_name or error_id != "metadata-missing-metric-name"
    ]


def merge_rejections(groups: Iterable[Sequence[Rejection]]) -> list[Rejection]:
    """One rejection per id, in order of first appearance; counts added, the first text kept."""
    merged: dict[str, Rejection] = {}
    for rejection in (r for group in groups for r in group):
        seen = merged.get(rejection.error_id)
        if seen is None:
            merged[rejection.error_id] = rejection
        else:
            merged[rejection.error_id] = Rejection(seen.error_id, seen.count + rejection.count, seen.first)
    return list(merged.values())


def written(batch: WriteBatch, rejections: Iterable[Rejection], exemplars_refused: int) -> Written:
    """What of a batch is stored. Of a row with floats and histograms of which some were refused it is taken that as
    large a part of either was; senders do not mix them."""
    samples, histograms = batch.sample_count, batch.histogram_count
    about_series = [r for r in rejections if len(r.rows)]
    if about_series:
        floats_of_row, histograms_of_row = batch.row_counts()
        for r in about_series:
            floats, others = int(floats_of_row[r.rows].sum()), int(histograms_of_row[r.rows].sum())
            refused = round(r.count * others / max(floats + others, 1))
            samples, histograms = samples - (r.count - refused), histograms - refused
    exemplars = batch.exemplar_count - exemplars_refused
    return Written(max(samples, 0), max(histograms, 0), max(exemplars, 0))


def refusal(rejections: Sequence[Rejection], received: int, stored: Written, *, each: bool) -> PartlyStored:
    """The error for a push of which a part was refused and the rest stored.

    rejections: merged, not empty. received: samples and metadata entries in the push. each: tell the first of each
    reason, not of one.
    """
    first = rejections[0]
    refused = sum(r.count for r in rejections)
    text = "; ".join(r.first for r in rejections) if each else first.first
    if received > 1 and refused:
        what = f"all {received}" if refused >= received else f"{refused} of {received}"
        others = "" if refused >= received else ", the others stored"
        text += f"; {what} samples and metadata entries were refused{others}"
    if len(rejections) > 1:
        text += ": " + ", ".join(f"{r.count} {r.error_id or 'series without samples'}" for r in rejections)
    return PartlyStored(text, error_id=first.error_id or None, written=stored)


def retry_after_s(attempt: int, *, backoff_s_min: float, backoff_s_max: float, chance: float) -> int:
    """Seconds for Retry-After: doubles with each attempt from the first (1) on, up to the maximum, then up to half of
    it more or less by `chance`, uniform in [0, 1)."""
    doublings = min(max(attempt, 1) - 1, 62)
    delay = min(backoff_s_min * 2.0**doublings, backoff_s_max)
    return max(1, round(delay * (1 - _RETRY_JITTER + 2 * _RETRY_JITTER * chance)))
