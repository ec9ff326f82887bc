"""What the query-frontend decides without touching anything: limits of what clients send, and retries. Pure."""

from __future__ import annotations

from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.values import format_duration
from mimir_rw.model.errors import BadRequest, DataDamaged, Internal, MimirError, Overloaded, Unavailable

RETRY_DELAY_S = 0.05
RETRY_DELAY_S_MAX = 1.0


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


def check_total_range(start_ms: int, end_ms: int, limits: TenantLimits) -> None:
    """Raises BadRequest for a range over the tenant's total query length."""
    length = end_ms - start_ms
    if 0 < limits.max_total_query_length < length:
        raise BadRequest(
            f"the query time range exceeds the limit (query length: {format_duration(length)}, limit: "
            f"{format_duration(limits.max_total_query_length)}); to change the limit, set "
            "-query-frontend.max-total-query-length or contact your service administrator",
            error_id="max-total-query-length",
        )


def worth_another_try(error: MimirError) -> bool:
    """Whether another querier, or the same a moment later, may answer what ended like this."""
    return isinstance(error, Unavailable | Overloaded | DataDamaged | Internal)


def retry_delay_s(tries: int, chance: float) -> float:
    """Pause before the next try, after so many of them; doubles, and is cut by up to a half. chance: in [0, 1)."""
    longest = min(RETRY_DELAY_S_MAX, RETRY_DELAY_S * float(1 << min(tries - 1, 10)))
    return longest * (1.0 - chance / 2)
