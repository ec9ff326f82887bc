"""What the querier decides without touching anything: limits of a query and of a metadata request. Pure."""

from __future__ import annotations

from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.values import format_duration
from mimir_rw.model.errors import LimitExceeded


def check_partial_range(start_ms: int, end_ms: int, limits: TenantLimits) -> None:
    """Raises LimitExceeded for a range over the tenant's partial query length."""
    length = end_ms - start_ms
    if 0 < limits.max_partial_query_length < length:
        raise LimitExceeded(
            f"the query time range exceeds the limit (query length: {format_duration(length)}, limit: "
            f"{format_duration(limits.max_partial_query_length)}); to change the limit, set "
            "-querier.max-partial-query-length or contact your service administrator",
            error_id="max-query-length",
        )


def oldest_allowed_ms(now_ms: int, limits: TenantLimits) -> int | None:
    """Where the tenant's lookback ends; None without a limit."""
    return now_ms - limits.max_query_lookback if limits.max_query_lookback else None


def metadata_range(mint: int, maxt: int, now_ms: int, limits: TenantLimits) -> tuple[int, int]:
    """The range of a series or labels request, cut to the tenant's limits from its old end."""
    if (oldest := oldest_allowed_ms(now_ms, limits)) is not None:
        mint = max(mint, oldest)
    if limits.max_labels_query_length:
        mint = max(mint, min(maxt, now_ms) - limits.max_labels_query_length)
    return mint, maxt
