from __future__ import annotations

import pytest

from mimir_rw.components.distributor.core import (
    KNOWN_SERIES_MAX,
    KNOWN_SERIES_MIN,
    TenantRates,
    known_series_max,
    merge_rejections,
    refusal,
    retry_after_s,
    unpacked_bytes,
)
from mimir_rw.components.distributor.retry_after import RetryAfter
from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.tree import RetryAfterConfig
from mimir_rw.kit.moving_rate import MovingRate
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.model.errors import RateLimited
from mimir_rw.rpc.contracts.distributor import Written
from mimir_rw.rpc.contracts.ingester import Rejection


@pytest.mark.parametrize(
    ("body", "bytes_"),
    [
        (b"", 0),
        (b"\x05abc", 5),
        (b"\x01abc", 4),
        (b"\x80\x08" + b"x" * 3, 1024),
        (b"\xff\xff\xff\xff\x0f", 5000),
        (b"\xff" * 20, 5000),
    ],
)
def test_unpacked_bytes_is_what_the_block_declares_within_bounds(body: bytes, bytes_: int) -> None:
    assert unpacked_bytes(body, 5000) == bytes_


@pytest.mark.parametrize(
    ("series", "entries"),
    [(0, KNOWN_SERIES_MAX), (10, KNOWN_SERIES_MIN), (1_500_000, 1_875_000), (10**9, KNOWN_SERIES_MAX)],
)
def test_known_series_follow_the_series_limit(series: int, entries: int) -> None:
    assert known_series_max(TenantLimits(max_global_series_per_user=series)) == entries


def test_merged_rejections_keep_order_and_first_text() -> None:
    groups = [[Rejection("a", 1, "first a"), Rejection("b", 2, "first b")], [Rejection("a", 3, "later a")]]
    assert merge_rejections(groups) == [Rejection("a", 4, "first a"), Rejection("b", 2, "first b")]


@pytest.mark.parametrize(
    ("rejections", "received", "text"),
    [
        ([Rejection("x", 1, "bad")], 1, "bad (err-mimir-x)"),
        (
            [Rejection("x", 2, "bad")],
            5,
            "bad; 2 of 5 samples and metadata entries were refused, the others stored (err-mimir-x)",
        ),
        ([Rejection("x", 5, "bad")], 5, "bad; all 5 samples and metadata entries were refused (err-mimir-x)"),
        (
            [Rejection("x", 2, "bad"), Rejection("y", 1, "worse")],
            5,
            "bad; 3 of 5 samples and metadata entries were refused, the others stored: 2 x, 1 y (err-mimir-x)",
        ),
    ],
)
def test_refusal_names_the_first_and_how_many(rejections: list[Rejection], received: int, text: str) -> None:
    error = refusal(rejections, received, Written(), each=False)
    assert (str(error), error.error_id) == (text, rejections[0].error_id)


def test_item_rate_and_burst() -> None:
    rates = TenantRates(TenantLimits(ingestion_rate=100, ingestion_burst_size=300), distributors=1, now_s=0.0)
    rates.take_items(0.0, 200, 0, 100)
    with pytest.raises(RateLimited, match="err-mimir-tenant-max-ingestion-rate"):
        rates.take_items(0.5, 51, 0, 0)
    rates.take_items(0.5, 50, 0, 0)
    with pytest.raises(RateLimited):
        rates.take_items(1e6, 301, 0, 0)


def test_burst_factor_overrides_the_burst_size() -> None:
    limits = TenantLimits(ingestion_rate=100, ingestion_burst_size=1, ingestion_burst_factor=2)
    TenantRates(limits, distributors=1, now_s=0.0).take_items(0.0, 200, 0, 0)


def test_request_rate() -> None:
    rates = TenantRates(TenantLimits(request_rate=2, request_burst_size=3), distributors=1, now_s=0.0)
    for _ in range(3):
        rates.take_request(0.0)
    with pytest.raises(RateLimited, match="err-mimir-tenant-max-request-rate"):
        rates.take_request(0.4)
    rates.take_request(0.5)


def test_rates_are_divided_by_the_distributors_and_bursts_are_not() -> None:
    limits = TenantLimits(ingestion_rate=100, ingestion_burst_size=300, request_rate=10, request_burst_size=20)
    rates = TenantRates(limits, distributors=4, now_s=0.0)
    rates.take_items(0.0, 300, 0, 0)
    rates.take_items(4.0, 100, 0, 0)
    with pytest.raises(RateLimited, match="ingestion rate of 100 a second"):
        rates.take_items(4.0, 1, 0, 0)
    rates.follow(limits, distributors=2, now_s=4.0)
    rates.take_items(6.0, 100, 0, 0)
    for _ in range(20):
        rates.take_request(0.0)
    with pytest.raises(RateLimited):
        rates.take_request(0.0)


def test_rates_of_zero_are_no_limit() -> None:
    rates = TenantRates(
        TenantLimits(request_rate=0, ingestion_rate=0, ingestion_burst_size=0), distributors=1, now_s=0.0
    )
    for _ in range(1000):
        rates.take_request(0.0)
        rates.take_items(0.0, 10**6, 0, 0)


def test_rates_follow_new_limits_without_refilling() -> None:
    rates = TenantRates(TenantLimits(ingestion_rate=100, ingestion_burst_size=300), distributors=1, now_s=0.0)
    rates.take_items(0.0, 300, 0, 0)
    rates.follow(TenantLimits(ingestion_rate=1000, ingestion_burst_size=300), distributors=1, now_s=0.0)
    with pytest.raises(RateLimited):
        rates.take_items(0.0, 1, 0, 0)
    rates.take_items(0.25, 250, 0, 0)


def test_moving_rate_starts_at_the_first_tick_and_decays() -> None:
    rate = MovingRate()
    rate.add(100)
    rate.tick(1.0)
    assert rate.per_second == 100
    rate.tick(1.0)
    assert rate.per_second == pytest.approx(80)


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"),
    [(0, 0.5, 6), (1, 0.5, 6), (2, 0.5, 12), (3, 0.5, 24), (5, 0.5, 96), (6, 0.5, 96), (10**9, 0.5, 96),
     (1, 0.0, 3), (1, 0.999, 9), (9, 0.0, 48), (9, 0.999, 144)],
)  # fmt: skip
def test_retry_after_doubles_within_bounds_and_jitters_by_half(attempt: int, chance: float, seconds: int) -> None:
    assert retry_after_s(attempt, backoff_s_min=6, backoff_s_max=96, chance=chance) == seconds


def test_retry_after_rule_speaks_only_where_a_retry_helps() -> None:
    rule = RetryAfter(config=RetryAfterConfig(), rng=seeded_rng(1))
    assert [rule(status, 1) is not None for status in (200, 400, 413, 429, 500, 503, 529)] == [False] * 3 + [True] * 4
    off = RetryAfter(config=RetryAfterConfig(enabled=False), rng=seeded_rng(1))
    assert off(429, 1) is None
