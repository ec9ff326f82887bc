"""Runs seeds of a scenario that a test has broken."""

from __future__ import annotations

from mimir_rw.testing.seeds import SCENARIOS, run_seed

SEEDS = range(1, 9)


def seen(scenario: str, complaint: str) -> bool:
    """Whether one of a few seeds complains so. Which of them does changes with whatever changes the order of events."""
    return any(complaint in text for seed in SEEDS for text in run_seed(SCENARIOS[scenario], seed).complaints)
