import pytest

from mimir_rw.components.query_frontend.core import (
    check_expression_size,
    check_total_range,
    retry_delay_s,
    worth_another_try,
)
from mimir_rw.config.limits import TenantLimits
from mimir_rw.model.errors import BadRequest, Internal, LimitExceeded, QueryTimeout, RateLimited, Unavailable

HOUR = 3_600_000


def test_expression_size_counts_bytes():
    limits = TenantLimits(max_query_expression_size_bytes=4)
    check_expression_size("éé", limits)
    with pytest.raises(BadRequest, match=r"query size: 6, limit: 4.*err-mimir-max-query-expression-size-bytes"):
        check_expression_size("ééé", limits)
    check_expression_size("x" * 1000, TenantLimits())


def test_total_range():
    check_total_range(0, 10 * HOUR, TenantLimits())
    check_total_range(0, HOUR, TenantLimits(max_total_query_length=HOUR))
    with pytest.raises(BadRequest, match=r"query length: 2h, limit: 1h.*err-mimir-max-total-query-length"):
        check_total_range(0, 2 * HOUR, TenantLimits(max_total_query_length=HOUR))


def test_what_is_tried_again():
    assert all(worth_another_try(error("x")) for error in (Unavailable, Internal))
    assert not any(worth_another_try(error("x")) for error in (BadRequest, LimitExceeded, RateLimited, QueryTimeout))


def test_pauses_between_tries_grow_to_a_bound():
    longest = [retry_delay_s(tries, 0.0) for tries in range(1, 12)]
    assert longest[:3] == [0.05, 0.1, 0.2]
    assert longest[-1] == 1.0
    assert 0.5 < retry_delay_s(11, 0.999) < 0.51
