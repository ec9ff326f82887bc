"""What the querier decides without touching anything: limits of a query and of a metadata request. Pure."""

from __future__ import annotations

from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.values import format_duration
from mimir_rw.model.errors import BadRequest, LimitExceeded
from mimir_rw.promql.parser import ParserOptions

_ALL = "all"


def check_expression_size(query: str, limits: TenantLimits) -> None:
    """Raises BadRequest for a longer text than the tenant may send."""
    size = len(query.encode("utf-8", "surrogatepass"))
    if 0 < limits.max_query_expression_size_bytes < size:
        raise BadRequest(
            f"the raw query size in bytes exceeds the limit (query size: {size}, limit: "
            f"{limits.max_query_expression_size_bytes}); to change the limit, set "
            "-query-frontend.max-query-expression-size-bytes or contact your service administrator",
            error_id="max-query-expression-size-bytes",
        )


def check_range(start_ms: int, end_ms: int, limits: TenantLimits) -> None:
    """Raises BadRequest for a range over the tenant's total query length, LimitExceeded over the partial one."""
    length = end_ms - start_ms
    if 0 < limits.max_total_query_length < length:
        raise BadRequest(
            _too_long(length, limits.max_total_query_length, "-query-frontend.max-total-query-length"),
            error_id="max-total-query-length",
        )
    if 0 < limits.max_partial_query_length < length:
        raise LimitExceeded(
            _too_long(length, limits.max_partial_query_length, "-querier.max-partial-query-length"),
            error_id="max-query-length",
        )


def _too_long(length: int, limit: int, flag: str) -> str:
    return (
        f"the query time range exceeds the limit (query length: {format_duration(length)}, limit: "
        f"{format_duration(limit)}); to change the limit, set {flag} or contact your service administrator"
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


def syntax(limits: TenantLimits) -> ParserOptions:
    """What the tenant's queries may use."""
    names = limits.enabled_promql_experimental_functions
    return ParserOptions(experimental_functions=None if _ALL in names else frozenset(names))
