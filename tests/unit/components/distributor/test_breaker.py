from __future__ import annotations

from mimir_rw.components.distributor.breaker import BreakerState, CircuitBreaker

MIDDLE = 0.5
"""The chance that leaves the cooldown as it is set."""


def failed(breaker: CircuitBreaker, times: int, now_s: float = 0.0) -> None:
    for _ in range(times):
        breaker.failed(now_s, MIDDLE)


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = CircuitBreaker(failures_max=3, cooldown_s=10)
    failed(breaker, 2)
    breaker.succeeded()
    failed(breaker, 2)
    assert breaker.allows(0.0)
    failed(breaker, 1)
    assert not breaker.allows(9.9)
    assert breaker.refuses(9.9)


def test_after_the_cooldown_one_probe_is_let_through() -> None:
    breaker = CircuitBreaker(failures_max=1, cooldown_s=10)
    failed(breaker, 1)
    assert not breaker.refuses(10.0)
    assert breaker.allows(10.0)
    assert breaker.state is BreakerState.PROBING
    assert not breaker.allows(10.0)
    assert breaker.refuses(10.0)
    breaker.succeeded()
    assert breaker.allows(10.0)
    assert breaker.allows(10.0)


def test_a_failed_probe_opens_it_again_whatever_the_count() -> None:
    breaker = CircuitBreaker(failures_max=5, cooldown_s=10)
    failed(breaker, 5)
    assert breaker.allows(10.0)
    failed(breaker, 1, 10.0)
    assert not breaker.allows(19.9)
    assert breaker.allows(20.0)


def test_chance_spreads_the_probes() -> None:
    def opens_at(chance: float) -> float:
        breaker = CircuitBreaker(failures_max=1, cooldown_s=10)
        breaker.failed(0.0, chance)
        return next(t / 10 for t in range(200) if not breaker.refuses(t / 10))

    assert (opens_at(0.0), opens_at(0.5), opens_at(1.0)) == (7.5, 10.0, 12.5)


def test_it_can_be_switched_off() -> None:
    breaker = CircuitBreaker(failures_max=0, cooldown_s=10)
    failed(breaker, 100)
    assert breaker.allows(0.0)
